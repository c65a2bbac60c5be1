"""Frames: encoded once, framed once, cut to the protocol's size, and without what expired."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from evanesce.delivery.frame import Frame, Outgoing, frames, without_expired
from evanesce.model import Access, Timestamp
from evanesce.protocol import codec
from evanesce.protocol.events import Event, Joined, Left, MessageEvent, Ok, Removed, RoomClosed, RoomOptions

ROOM = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
NOW = Timestamp("2026-11-22T05:42:00.123Z")


def message(content: str, room: str = ROOM) -> MessageEvent:
    return MessageEvent(
        room_id=room,
        message_id=ROOM,
        sender_id=ROOM,
        sender_name="Ada",
        content=content,
        created_at=NOW,
        expires_at=NOW,
        cursor="c",
    )


def joined(*contents: str) -> Joined:
    return Joined(
        room_id=ROOM,
        session_id=ROOM,
        member_count=1,
        messages=[message(content) for content in contents],
        more=False,
        cursor="c",
        missed=0,
        unsent=[],
        room=RoomOptions(message_ttl=60, access=Access.LINK, locked=False, encrypted=False),
    )


def read(many: list[Frame]) -> list[dict[str, Any]]:
    return [event for frame in many for event in json.loads(frame.payload)]


class Counting:
    def __init__(self, mark: bytes) -> None:
        self.mark = mark
        self.calls = 0

    def frame(self, payload: bytes) -> bytes:
        self.calls += 1
        return self.mark + payload


def test_is_framed_once_for_each_framing() -> None:
    one, two = Counting(b"1"), Counting(b"2")
    frame = Frame([Outgoing(Ok())])
    assert {frame.wire(one) for _ in range(5)} == {b'1[{"type":"ok"}]'}
    assert frame.wire(two) == b'2[{"type":"ok"}]'
    assert (one.calls, two.calls) == (1, 1)


def test_expires_with_the_first_of_its_messages() -> None:
    assert Frame([Outgoing(Ok())]).expires_at == math.inf
    assert Frame([Outgoing(message("a"), (5.0,)), Outgoing(message("b"), (3.0,))]).expires_at == 3.0
    assert Frame([Outgoing(joined("a", "b"), (7.0, 9.0)), Outgoing(Ok())]).expires_at == 7.0


def test_what_is_alive_goes_out_as_it_is() -> None:
    frame = Frame([Outgoing(message("a"), (5.0,))])
    assert without_expired([frame], 4.9) == ([frame], 0)


def test_in_place_of_what_expired_stands_one_skipped_for_each_room() -> None:
    waiting = [
        Frame([Outgoing(message("a"), (1.0,)), Outgoing(Ok(ref="r"))]),
        Frame([Outgoing(message("b", OTHER), (1.0,))]),
        Frame([Outgoing(message("c"), (9.0,)), Outgoing(message("d"), (1.0,))]),
    ]
    kept, dropped = without_expired(waiting, 1.0)
    events = read(kept)
    assert dropped == sum(event.get("count", 0) for event in events)
    assert [event.get("content", event["type"]) for event in events] == ["ok", "skipped", "c", "skipped"]
    assert [(event["roomId"], event["count"]) for event in (events[1], events[3])] == [(OTHER, 1), (ROOM, 2)]


LAST: dict[str, Event] = {
    "left": Left(room_id=ROOM),
    "closed": RoomClosed(room_id=ROOM, reason="The creator of the room has closed it."),
    "removed": Removed(room_id=ROOM, reason="creator"),
}
"""What a client hears last of a room."""


@pytest.mark.parametrize("last", LAST)
@pytest.mark.parametrize("together", [False, True])
def test_nothing_is_said_of_a_room_after_its_end(last: str, together: bool) -> None:
    items = [Outgoing(message("a"), (1.0,)), Outgoing(message("b"), (1.0,)), Outgoing(LAST[last])]
    kept, dropped = without_expired([Frame(items)] if together else [Frame([item]) for item in items], 1.0)
    assert [event["type"] for event in read(kept)] == ["skipped", str(LAST[last].__struct_config__.tag)]
    assert dropped == 2


def test_a_joined_keeps_its_live_messages() -> None:
    waiting = [Frame([Outgoing(joined("a", "b", "c"), (1.0, 2.0, 3.0))])]
    kept, _ = without_expired(waiting, 2.0)
    events = read(kept)
    assert [event["type"] for event in events] == ["joined", "skipped"]
    assert [each["content"] for each in events[0]["messages"]] == ["c"]
    assert events[1]["count"] == 2
    assert kept[0].expires_at == 3.0
    assert [event["type"] for event in read(without_expired(waiting, 3.0)[0])] == ["joined", "skipped"]


def test_packs_as_few_frames_as_the_size_allows() -> None:
    items = [Outgoing(message("x" * 4000), (float(number),)) for number in range(200)]
    packed = frames(items)
    assert all(len(frame.payload) <= codec.FRAME_BYTES for frame in packed)
    assert [len(json.loads(frame.payload)) for frame in packed] == [len(read([frame])) for frame in packed]
    assert len(packed) == math.ceil(200 / len(read(packed[:1])))
    assert packed[0].expires_at == 0.0
    assert packed[1].expires_at == float(len(read(packed[:1])))
    assert read(packed) == [json.loads(codec.encode_one(item.event)) for item in items]


def test_fills_a_frame_to_the_last_byte() -> None:
    empty = len(codec.encode_one(message("")))
    half = (codec.FRAME_BYTES - 3) // 2 - empty
    assert [len(frame.payload) for frame in frames([Outgoing(message("x" * half)), Outgoing(message("x" * half))])] == [
        2 * (empty + half) + 3
    ]
    rest = codec.FRAME_BYTES - 3 - (empty + half) - empty
    assert len(frames([Outgoing(message("x" * half)), Outgoing(message("x" * rest))])) == 1
    assert len(frames([Outgoing(message("x" * half)), Outgoing(message("x" * (rest + 1)))])) == 2


def test_nothing_makes_no_frame() -> None:
    assert frames([]) == []
    assert without_expired([], 0.0) == ([], 0)
