"""What is taken without wsproto is what wsproto would have taken, whatever comes, in whichever pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, TextMessage

from evanesce_transports.quart.connection import PlainReader

LIMIT = 300
MASK = b"\x01\x80\xfe\x37"


def frame(first: int, payload: bytes, *, mask: bytes | None = MASK, long: bool = False) -> bytes:
    flag = 0 if mask is None else 0x80
    size = len(payload)
    head = bytes([first, flag | size]) if size < 126 and not long else bytes([first, flag | 126, size >> 8, size & 255])
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


texts = st.text(max_size=100).map(str.encode)
frames = st.one_of(
    texts.map(lambda text: frame(0x81, text)),
    st.binary(min_size=120, max_size=400).map(lambda data: frame(0x81, bytes(byte & 0x7F for byte in data))),
    texts.map(lambda text: frame(0x81, text)),
    st.sampled_from([0x89, 0x8A]).flatmap(lambda first: st.binary(max_size=20).map(lambda data: frame(first, data))),
    st.tuples(st.integers(0, 255), st.binary(max_size=20)).map(lambda made: frame(*made)),
    texts.map(lambda text: frame(0x81, text, mask=None)),
    texts.map(lambda text: frame(0x81, text, long=True)),
    st.binary(max_size=10),
)


def heard(events: list[Event]) -> list[str | int]:
    """Return the messages, fragments put together, up to the end."""
    said: list[str | int] = []
    message = ""
    for event in events:
        if isinstance(event, TextMessage):
            message += event.data
            if event.message_finished:
                said.append(message)
                message = ""
        elif isinstance(event, CloseConnection):
            return [*said, event.code]
    return said


def by_wsproto(pieces: list[bytes]) -> list[str | int]:
    library = Connection(ConnectionType.SERVER)
    events: list[Event] = []
    for piece in pieces:
        library.receive_data(piece)
        events += library.events()
        if any(isinstance(event, CloseConnection) for event in events):
            break
    return heard(events)


def by_both(pieces: list[bytes]) -> list[str | int]:
    library, plain = Connection(ConnectionType.SERVER), PlainReader(LIMIT)
    events: list[Event] = []
    for piece in pieces:
        if plain.disabled:
            library.receive_data(piece)
            events += library.events()
        else:
            plain.receive(piece)
        while not plain.disabled:
            message = plain.message()
            if message is not None:
                events.append(TextMessage(data=message))
                continue
            rest = plain.take_for_wsproto()
            if not rest:
                break
            library.receive_data(rest)
            events += library.events()
        if any(isinstance(event, CloseConnection) for event in events):
            break
    return heard(events)


@given(st.lists(frames, max_size=6), st.lists(st.integers(1, 40), max_size=30))
def test_both_hear_the_same(sent: list[bytes], sizes: list[int]) -> None:
    stream, pieces = b"".join(sent), []
    for size in sizes:
        pieces.append(stream[:size])
        stream = stream[size:]
    pieces = [piece for piece in [*pieces, stream] if piece]
    assert by_both(pieces) == by_wsproto(pieces)


def test_plain_messages_never_reach_wsproto() -> None:
    plain = PlainReader(LIMIT)
    plain.receive(frame(0x81, b"hello") + frame(0x89, b"?") + frame(0x81, "Grüße".encode() * 30)[:50])
    assert plain.message() == "hello"
    assert plain.message() is None
    assert plain.take_for_wsproto() == frame(0x89, b"?")
    assert plain.message() is None
    assert plain.take_for_wsproto() == b""
    plain.receive(frame(0x81, "Grüße".encode() * 30)[50:])
    assert plain.message() == "Grüße" * 30
    assert not plain.disabled


def test_what_is_too_large_is_not_waited_for() -> None:
    plain = PlainReader(LIMIT)
    head = frame(0x81, b"x" * (LIMIT + 1))[:8]
    plain.receive(head)
    assert plain.message() is None
    assert plain.take_for_wsproto() == head
    assert plain.disabled
