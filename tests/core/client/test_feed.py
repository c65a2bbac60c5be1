"""What a room gives to the application: in order, once, never after its end, and an end for each message."""

from __future__ import annotations

import pytest

from evanesce.client import feed as module
from evanesce.client.clock import ServerClock
from evanesce.client.events import (
    Event,
    Expired,
    Joined,
    JoinedReply,
    Left,
    MemberCount,
    Message,
    Missed,
    RoomClosed,
    Typing,
    Unsent,
)
from evanesce.client.feed import WAITING_EVENTS, RoomFeed
from evanesce.model import timestamp

ROOM = "00000000-0000-4000-8000-000000000001"
NOW = 2_000_000_000


class Time:
    """Two clocks that are set by hand, and the server's clock that is made of them."""

    def __init__(self) -> None:
        self.monotonic = 5.0
        self.wall = 77.0
        self.server = ServerClock(lambda: self.monotonic, lambda: self.wall)
        self.server.set(timestamp(NOW * 1000))

    def pass_seconds(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds


def message(number: int, life: float = 60.0) -> Message:
    return Message(
        room_id=ROOM,
        message_id=str(number),
        sender_id="ben",
        sender_name="Ben",
        content=f"text {number}",
        created_at=timestamp(NOW * 1000),
        expires_at=timestamp(round((NOW + life) * 1000)),
        cursor=f"cursor {number}",
    )


def unsent(number: int) -> Unsent:
    return Unsent(room_id=ROOM, message_id=str(number))


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def feed(time: Time) -> RoomFeed:
    return RoomFeed(ROOM, time.server, lambda message: message)


def given(feed: RoomFeed) -> list[str]:
    """Return what the feed gives now, in short."""
    events: list[str] = []
    while (event := feed.next()) is not None:
        events.append(short(event))
    return events


def short(event: Event) -> str:
    match event:
        case Message() | Unsent() | Expired():
            return f"{type(event).__name__} {event.message_id}"
        case Missed():
            return f"Missed {event.count} {event.reason}"
        case _:
            return type(event).__name__


def test_what_joined_has_comes_in_order(feed: RoomFeed) -> None:
    reply = JoinedReply(room_id=ROOM, cursor="c", missed=None, unsent=["9"], messages=[message(1), message(2)])
    feed.joined(reply, resumed=True)
    assert given(feed) == ["Joined", "Missed None resume", "Unsent 9", "Message 1", "Message 2"]


def test_a_joined_says_who_is_there_and_whether_it_goes_on(feed: RoomFeed) -> None:
    feed.joined(JoinedReply(room_id=ROOM, cursor="c", member_count=3), resumed=True)
    event = feed.next()
    assert isinstance(event, Joined)
    assert (event.member_count, event.members, event.resumed) == (3, None, True)
    assert feed.next() is None


def test_a_message_is_given_once(feed: RoomFeed) -> None:
    feed.take([message(1), message(1)])
    feed.joined(JoinedReply(room_id=ROOM, cursor="c", messages=[message(1), message(2)]), resumed=True)
    assert given(feed) == ["Message 1", "Joined", "Message 2"]


def test_a_late_double_of_an_expired_message_is_not_missed(feed: RoomFeed, time: Time) -> None:
    feed.take([message(1, life=10)])
    time.pass_seconds(1)
    assert given(feed) == ["Message 1"]
    time.pass_seconds(10)
    assert given(feed) == ["Expired 1"]
    feed.take([message(1, life=10)])
    assert given(feed) == []


def test_messages_that_are_over_when_they_come_are_one_missed(feed: RoomFeed) -> None:
    feed.take([message(1, life=0), message(2), message(3, life=-5)])
    assert given(feed) == ["Message 2", "Missed 2 expired"]


def test_messages_that_expire_before_they_are_read_are_missed(feed: RoomFeed, time: Time) -> None:
    feed.take([message(1, life=10), message(2, life=11), message(3)])
    time.pass_seconds(20)
    assert given(feed) == ["Missed 2 expired", "Message 3"]


def test_a_message_that_was_given_expires_once_at_its_end(feed: RoomFeed, time: Time) -> None:
    feed.take([message(1, life=20), message(2, life=10)])
    assert given(feed) == ["Message 1", "Message 2"]
    assert feed.wait_seconds() == 10
    time.pass_seconds(9.999)
    assert given(feed) == []
    time.pass_seconds(0.001)
    assert given(feed) == ["Expired 2"]
    time.pass_seconds(100)
    assert given(feed) == ["Expired 1"]
    time.pass_seconds(100)
    assert given(feed) == []
    assert feed.wait_seconds() is None


def test_expiry_comes_before_what_waits(feed: RoomFeed, time: Time) -> None:
    feed.take([message(1, life=10)])
    assert given(feed) == ["Message 1"]
    feed.take([Typing(room_id=ROOM, user_id="ben")])
    time.pass_seconds(10)
    assert given(feed) == ["Expired 1", "Typing"]


@pytest.mark.parametrize(
    "end", [unsent(1), RoomClosed(room_id=ROOM, reason="closed"), Left(room_id=ROOM, reason="left")]
)
def test_what_ended_otherwise_does_not_expire(feed: RoomFeed, time: Time, end: Unsent | RoomClosed | Left) -> None:
    feed.take([message(1, life=10), end])
    assert given(feed) == ["Message 1", short(end)]
    time.pass_seconds(10)
    assert given(feed) == []


def test_what_was_taken_back_is_told_once_and_not_given_later(feed: RoomFeed) -> None:
    feed.take([unsent(1), unsent(1), message(1)])
    assert given(feed) == ["Unsent 1"]


@pytest.mark.parametrize("clock", ["monotonic", "wall"])
def test_either_clock_makes_messages_expire(feed: RoomFeed, time: Time, clock: str) -> None:
    feed.take([message(1, life=10)])
    assert given(feed) == ["Message 1"]
    setattr(time, clock, getattr(time, clock) + 10)  # the other one stood still
    assert given(feed) == ["Expired 1"]


def test_a_time_of_day_that_is_set_back_delays_nothing(feed: RoomFeed, time: Time) -> None:
    feed.take([message(1, life=10)])
    assert given(feed) == ["Message 1"]
    time.pass_seconds(10)
    time.wall -= 3600
    assert given(feed) == ["Expired 1"]


def test_the_answer_of_the_server_ends_the_doubt(feed: RoomFeed, time: Time) -> None:
    time.wall += 3600
    time.server.set(timestamp(NOW * 1000))
    feed.take([message(1)])
    assert given(feed) == ["Message 1"]


def test_a_time_of_the_server_is_half_a_round_trip_old(time: Time) -> None:
    asked_at = time.server.mark()
    time.pass_seconds(0.5)
    time.server.set(timestamp(NOW * 1000), asked_at)
    assert time.server.now() == NOW + 0.25


def test_it_is_full_until_something_is_read(feed: RoomFeed) -> None:
    event = MemberCount(room_id=ROOM, member_count=2)
    feed.take([event] * (WAITING_EVENTS - 1))
    assert not feed.full
    feed.take([event])
    assert feed.full
    feed.next()
    assert not feed.full


def test_of_too_many_messages_the_first_to_expire_is_told_early(
    feed: RoomFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KNOWN_MESSAGES", 2)
    feed.take([message(1, life=30), message(2, life=20)])
    assert given(feed) == ["Message 1", "Message 2"]
    feed.take([message(3)])
    assert given(feed) == ["Expired 2", "Message 3"]


@pytest.mark.parametrize("time_text", ["", "soon", "2026-11-22T05:42:00.12xZ", "2026-99-22T05:42:00.123Z"])
def test_a_message_without_a_time_is_an_error_of_the_server(feed: RoomFeed, time_text: str) -> None:
    fields = {**{name: getattr(message(1), name) for name in message(1).__struct_fields__}, "expires_at": time_text}
    with pytest.raises(ValueError, match=r"."):
        feed.take([Message(**fields)])
