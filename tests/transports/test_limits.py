"""Slots for work, and the log lines about a shortage of descriptors."""

from __future__ import annotations

import functools
import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.listening.work import SLOT_SECONDS, SLOTS, DescriptorShortage, WorkSlots


async def test_a_shortage_is_logged_once_a_minute(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    shortage = DescriptorShortage()

    async def run_short(seconds: float) -> None:
        with trio.move_on_after(seconds):
            while True:
                await shortage.wait(0.1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shortage.report)
        await trio.sleep(500)
        assert not caplog.records
        await run_short(90)
        await trio.sleep(300)
        lines = [record.getMessage() for record in caplog.records]
        assert [line.partition(":")[0] for line in lines] == [
            "no descriptors are left for clients",
            "no descriptors were left for clients",
            "no descriptors were left for clients",
        ]
        assert "waited for 60 s of the last 60 s" in lines[1]
        assert "waited for 30 s of the last 60 s" in lines[2]
        caplog.clear()
        await run_short(1)
        await trio.sleep(300)
        lines = [record.getMessage() for record in caplog.records]
        assert len(lines) == 2, "the next one is told anew"
        nursery.cancel_scope.cancel()


async def test_a_slot_is_free_again_when_work_ends_or_takes_long(autojump_clock: MockClock) -> None:
    slots = WorkSlots()
    working = most = 0

    async def work(seconds: float) -> float:
        nonlocal working, most
        working += 1
        most = max(most, working)
        await trio.sleep(seconds)
        working -= 1
        return seconds

    async def crowd(count: int, seconds: float) -> list[float]:
        began, ended = trio.current_time(), list[float]()

        async def one() -> None:
            if await slots.run(functools.partial(work, seconds), deadline=began + 5) is not None:
                ended.append(trio.current_time() - began)

        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(one)
        return ended

    async with trio.open_nursery() as nursery:
        nursery.start_soon(slots.watch)
        ended = await crowd(2 * SLOTS, 0.01)
        assert most == SLOTS
        assert max(ended) == pytest.approx(0.02)
        ended = await crowd(2 * SLOTS, 10)  # something that waits elsewhere
        assert max(ended) == pytest.approx(10 + SLOT_SECONDS)
        ended = await crowd(SLOTS * 200, 10)
        assert SLOTS * 95 < len(ended) < SLOTS * 105, "the others were too late"
        with pytest.raises(ValueError, match="its own"):
            await slots.run(failing, deadline=trio.current_time() + 1)
        assert await crowd(SLOTS, 0) == [0] * SLOTS
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("cancelled", range(3))
async def test_who_is_cancelled_takes_no_slot_along(cancelled: int, autojump_clock: MockClock) -> None:
    """Neither one who works, nor the first or second who waits."""
    slots = WorkSlots()
    scopes = [trio.CancelScope() for _ in range(3)]
    ended: list[int] = []

    async def work(number: int) -> None:
        with scopes[number]:
            await slots.run(functools.partial(trio.sleep, SLOT_SECONDS / 2), deadline=trio.current_time() + 1)
            ended.append(number)

    async with trio.open_nursery() as nursery:
        for _ in range(SLOTS - 1):
            held = functools.partial(trio.sleep, SLOT_SECONDS * 0.9)
            nursery.start_soon(functools.partial(slots.run, held, deadline=math.inf))
        await wait_all_tasks_blocked()
        for number in range(3):
            nursery.start_soon(work, number)
            await wait_all_tasks_blocked()
        scopes[cancelled].cancel()
    assert sorted(ended) == [number for number in range(3) if number != cancelled]


async def test_work_that_never_waits_is_done_in_several_turns() -> None:
    slots = WorkSlots()
    turns: list[int] = []
    turn = 0

    async def count_turns() -> None:
        nonlocal turn
        while True:
            await trio.lowlevel.checkpoint()
            turn += 1

    async def work() -> None:
        turns.append(turn)

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as crowd:
            nursery.start_soon(count_turns)
            for _ in range(5 * SLOTS):
                crowd.start_soon(functools.partial(slots.run, work, deadline=math.inf))
        nursery.cancel_scope.cancel()
    # A task that counts runs before or after others of the same turn.
    assert max(turns.count(one) + turns.count(one + 1) for one in turns) <= 3 * SLOTS
    assert len(turns) == 5 * SLOTS


async def failing() -> None:
    await trio.lowlevel.checkpoint()
    raise ValueError("its own")
