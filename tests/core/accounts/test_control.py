"""What could not be announced is announced later: once, the newest word alone, and in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.accounts import control
from evanesce.accounts.control import ControlPublisher, RoomClosing
from evanesce.errors import StoreUnavailable
from evanesce.store.control_bus import Notice, NoticesLost, TokenRevoked, UserErased, UserRenamed
from evanesce.store.memory import MemoryServer, memory_store


class Two:
    """A publisher on one server, and the notices that this server and another one get."""

    def __init__(self) -> None:
        self.memory = MemoryServer()
        self.store = memory_store(server_id="one", server=self.memory)
        self.other = memory_store(server_id="two", server=self.memory)
        self.notices_here: list[Notice] = []
        self.notices_there: list[Notice] = []
        self.publisher = ControlPublisher(self.store, self.notices_here.append)

    async def listen(self) -> None:
        while True:
            notice = await self.other.control.next_notice()
            if not isinstance(notice, NoticesLost):
                self.notices_there.append(notice)


def in_any_order(notices: Sequence[Notice]) -> list[str]:
    """Return notices so that they can be compared: one that the store did not take goes behind the others."""
    return sorted(map(repr, notices))


@pytest.fixture
async def two(autojump_clock: MockClock) -> AsyncIterator[Two]:
    two = Two()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(two.publisher.run)
        nursery.start_soon(two.listen)
        yield two
        nursery.cancel_scope.cancel()


async def test_all_servers_have_a_notice_when_publish_returns(autojump_clock: MockClock, two: Two) -> None:
    await two.publisher.publish(TokenRevoked("s"), RoomClosing("r", "because"))
    await wait_all_tasks_blocked()
    assert two.notices_here == two.notices_there == [TokenRevoked("s")]
    assert two.memory.rooms["r"].closed == "because"
    assert two.publisher.pending == 0


async def test_while_the_store_is_away_this_server_knows_and_the_others_learn_of_it_then(
    autojump_clock: MockClock, two: Two
) -> None:
    two.memory.go_down()
    await two.publisher.publish(TokenRevoked("s"), UserErased("u"), RoomClosing("r", "because"))
    two.publisher.publish_soon(UserRenamed("v", "Zoë"))
    assert two.notices_here == [TokenRevoked("s"), UserErased("u"), UserRenamed("v", "Zoë")]
    await trio.sleep(100)
    assert two.notices_there == []
    assert two.publisher.pending == 4
    two.memory.come_back()
    await trio.sleep(2 * control.RETRY_SECONDS)
    assert in_any_order(two.notices_there) == in_any_order(two.notices_here)
    assert two.memory.rooms["r"].closed == "because"
    assert two.publisher.pending == 0


async def test_a_room_that_cannot_be_closed_holds_up_no_notice(
    autojump_clock: MockClock, two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def close_room(room_id: str, reason: str) -> None:
        raise StoreUnavailable()  # the primary of this room is away, the others are there

    monkeypatch.setattr(two.store.messages, "close_room", close_room)
    two.publisher.publish_soon(RoomClosing("r", "because"), TokenRevoked("s"), UserErased("u"))
    await trio.sleep(4 * control.RETRY_SECONDS)
    assert in_any_order(two.notices_there) == in_any_order([TokenRevoked("s"), UserErased("u")])
    assert two.publisher.pending == 1


async def test_of_what_waits_about_one_person_the_newest_is_told_alone(autojump_clock: MockClock, two: Two) -> None:
    two.memory.go_down()
    for name in ("Ada", "Countess", "Ada King"):
        await two.publisher.publish(UserRenamed("u", name))
    await two.publisher.publish(UserRenamed("v", "Zoë"))
    two.memory.come_back()
    await trio.sleep(2 * control.RETRY_SECONDS)
    assert in_any_order(two.notices_there) == in_any_order([UserRenamed("u", "Ada King"), UserRenamed("v", "Zoë")])


async def test_a_cancelled_publish_leaves_its_announcements_to_run(autojump_clock: MockClock, two: Two) -> None:
    two.memory.hold_answers()
    with trio.move_on_after(0.5) as impatient:
        await two.publisher.publish(TokenRevoked("s"), TokenRevoked("t"))
    assert impatient.cancelled_caught
    two.memory.release_answers()
    await trio.sleep(2 * control.RETRY_SECONDS)
    assert TokenRevoked("t") in two.notices_there
    assert two.publisher.pending == 0


async def test_what_waits_is_bounded(
    autojump_clock: MockClock, two: Two, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(control, "MOST_PENDING", 3)
    two.memory.go_down()
    for number in range(5):
        two.publisher.publish_soon(TokenRevoked(f"{number}"))
    assert two.publisher.pending == 3
    assert "the oldest was dropped" in caplog.text
    two.memory.come_back()
    await trio.sleep(2 * control.RETRY_SECONDS)
    assert two.notices_there == [TokenRevoked(f"{number}") for number in (2, 3, 4)]
