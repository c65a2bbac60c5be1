"""The queue of rooms for which something has to be done, in virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.errors import RateLimited
from evanesce.gate import Gate
from evanesce.rooms.room_queue import AT_ONCE, RETRY_SECONDS, RoomQueue


class Work:
    """Acts of rooms: those in `stuck` wait until they are let go, and those in `failing` fail."""

    def __init__(self) -> None:
        self.stuck: dict[str, trio.Event] = {}
        self.failing: set[str] = set()
        self.began: list[tuple[str, float]] = []
        self.running: set[str] = set()

    async def act(self, room_id: str) -> bool:
        assert room_id not in self.running, "one at a time for a room"
        self.running.add(room_id)
        self.began.append((room_id, trio.current_time()))
        await trio.lowlevel.checkpoint()
        if room_id in self.stuck:
            await self.stuck[room_id].wait()
        self.running.remove(room_id)
        return room_id not in self.failing


async def test_rooms_that_fail_or_wait_delay_no_others(autojump_clock: MockClock) -> None:
    work = Work()
    queue = RoomQueue(work.act, 100)
    stuck = [f"stuck {number}" for number in range(AT_ONCE - 1)]
    work.stuck = {room_id: trio.Event() for room_id in stuck}
    work.failing = {"failing"}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        for room_id in (*stuck, "failing", "a", "b"):
            queue.put(room_id)
        start = trio.current_time()
        await wait_all_tasks_blocked()
        assert [room_id for room_id, _ in work.began] == [*stuck, "failing", "a", "b"]
        await trio.sleep(2.5 * RETRY_SECONDS)
        again = [time - start for room_id, time in work.began if room_id == "failing"]
        assert again == pytest.approx([0, RETRY_SECONDS, 2 * RETRY_SECONDS])
        queue.put("stuck 0")
        await wait_all_tasks_blocked()
        before = len(work.began)
        work.stuck.pop("stuck 0").set()
        await wait_all_tasks_blocked()
        assert [room_id for room_id, _ in work.began[before:]] == ["stuck 0"], "what came meanwhile is done once more"
        nursery.cancel_scope.cancel()


async def test_so_many_rooms_run_at_once_and_so_many_wait(autojump_clock: MockClock) -> None:
    work = Work()
    queue = RoomQueue(work.act, 3)
    rooms = [str(number) for number in range(AT_ONCE)]
    work.stuck = {room_id: trio.Event() for room_id in rooms}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        for room_id in rooms:
            queue.put(room_id)
            await wait_all_tasks_blocked()
        for room_id in ("first", "second", "third", "second", "fourth"):
            queue.put(room_id)
        await wait_all_tasks_blocked()
        assert len(work.running) == AT_ONCE
        for event in work.stuck.values():
            event.set()
        await wait_all_tasks_blocked()
        assert [room_id for room_id, _ in work.began[AT_ONCE:]] == ["second", "third", "fourth"]
        nursery.cancel_scope.cancel()


async def test_a_room_that_comes_is_kept_though_others_fail(autojump_clock: MockClock) -> None:
    work = Work()
    queue = RoomQueue(work.act, 3)
    work.failing = {"first", "second", "third"}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        for room_id in ("first", "second", "third"):
            queue.put(room_id)
        await wait_all_tasks_blocked()
        queue.put("fourth")
        await wait_all_tasks_blocked()
        assert work.began[-1][0] == "fourth"
        before = len(work.began)
        await trio.sleep(1.5 * RETRY_SECONDS)
        assert [room_id for room_id, _ in work.began[before:]] == ["second", "third"], "the first was the oldest"
        nursery.cancel_scope.cancel()


async def test_a_gate_has_a_bound(autojump_clock: MockClock) -> None:
    gate, inside, go_on = Gate(2, 3, "Too many."), 0, trio.Event()

    async def enter() -> None:
        nonlocal inside
        async with gate:
            inside += 1
            assert inside <= 2
            await go_on.wait()
            inside -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(enter)
        await wait_all_tasks_blocked()
        with pytest.raises(RateLimited) as refused:
            await enter()
        assert refused.value.retry_after == 1.0
        go_on.set()
    async with gate:
        assert inside == 0
