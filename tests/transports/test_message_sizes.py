"""How large a message is: the same however the network cuts its frames, and never more than the limit gets through."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce_transports.limits import most_fragments
from evanesce_transports.trio_websocket.connection import MessageSizes
from tests.transports.serving import masked

LIMIT = 200
MOST = most_fragments(LIMIT)


def passed(data: bytes, cuts: list[int], limit: int = LIMIT) -> bytes:
    """Return what gets through of `data`, when it comes in pieces."""
    sizes = MessageSizes(limit)
    through = b""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(places):
        piece = data[start:end]
        accepted = sizes.accept(piece)
        through += piece[:accepted]
        if accepted < len(piece):
            break
    return through


@pytest.mark.parametrize(
    ("frames", "through"),
    [
        ([masked(1, b"x" * LIMIT)], 1),
        ([masked(1, b"x" * (LIMIT + 1))], 0),
        ([masked(2, b"x" * LIMIT), masked(1, b"x" * LIMIT), masked(9, b"ping")], 3),
        ([masked(1, b"x"), masked(2, b"x" * 70_000), masked(1, b"x")], 1),
        ([masked(1, b"x" * 150, fin=False), masked(9, b"x" * 100), masked(0, b"x" * 50)], 3),
        ([masked(1, b"x" * 150, fin=False), masked(0, b"x" * 51)], 1),
        ([masked(1, b"x" * 150), masked(0, b"x" * 150)], 2),  # a violation, which the library finds
        ([masked(1, b"x" * 150, fin=False), masked(1, b"x" * 150)], 1),
        ([masked(1, b"x", fin=False), *[masked(0, b"", fin=False)] * MOST, masked(0)], MOST),
        ([masked(1, b"x", fin=False), *[masked(0, b"", fin=False)] * (MOST - 1), masked(0)], MOST + 1),
        ([masked(1, b""), *[masked(1, b"")] * (2 * MOST)], 2 * MOST + 1),
        ([b"\x81\x05hello", masked(1, b"x")], 2),  # not masked
    ],
)
def test_frames(frames: list[bytes], through: int) -> None:
    data = b"".join(frames)
    begin = len(b"".join(frames[:through]))
    assert passed(data, []) == data[:begin]
    # In single bytes, no more of the frame that is too much gets through than a header that is not whole.
    assert begin <= len(passed(data, list(range(len(data))))) < begin + 14


FRAMES = st.lists(
    st.builds(masked, st.sampled_from([0, 1, 2, 8, 9, 10]), st.binary(max_size=300), fin=st.booleans()), max_size=8
)


@given(FRAMES, st.lists(st.integers(0, 5000)), st.integers(0, 400))
def test_cuts_change_nothing(frames: list[bytes], cuts: list[int], limit: int) -> None:
    data = b"".join(frames)
    whole, pieces = passed(data, [], limit), passed(data, cuts, limit)
    assert pieces.startswith(whole)
    assert len(pieces) - len(whole) < 14
    # By the payloads, one by one.
    size = fragments = at = 0
    for frame in frames:
        payload = len(frame) - (6 if frame[1] & 127 < 126 else 8)
        if frame[0] & 15 < 8:
            size, fragments = size + payload, fragments + (not frame[0] & 128)
            if size > limit or fragments > most_fragments(limit):
                break
            if frame[0] & 128:
                size = fragments = 0
        at += len(frame)
    assert len(whole) == at


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_noise_gets_through_or_not_and_raises_nothing(data: bytes, cuts: list[int]) -> None:
    assert data.startswith(passed(data, cuts))
