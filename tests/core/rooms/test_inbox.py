"""The inbox of an actor: bounded, emptied whole, safe to cancel."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.rooms.inbox import Inbox, InboxClosed


async def test_it_is_emptied_whole_in_order(autojump_clock: MockClock) -> None:
    inbox: Inbox[int] = Inbox(10)
    for number in range(5):
        await inbox.put(number)
    assert await inbox.drain() == [0, 1, 2, 3, 4]
    assert inbox.drain_nowait() == []


async def test_a_full_inbox_makes_who_puts_wait(autojump_clock: MockClock) -> None:
    inbox: Inbox[int] = Inbox(2)

    async def put(number: int) -> None:
        await inbox.put(number)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(put, number)
        await wait_all_tasks_blocked()
        assert len(inbox) == 2
        inbox.put_unbounded(9)
        assert len(inbox) == 3
        taken: list[int] = []
        while len(taken) < 6:
            taken += await inbox.drain()
            assert len(inbox) <= 3
    assert sorted(taken) == [0, 1, 2, 3, 4, 9]


async def test_who_waits_to_put_may_give_up(autojump_clock: MockClock) -> None:
    inbox: Inbox[str] = Inbox(1)
    await inbox.put("first")
    with trio.move_on_after(1) as waiting:
        await inbox.put("second")
    assert waiting.cancelled_caught
    assert inbox.drain_nowait() == ["first"]


async def test_who_waits_to_drain_loses_nothing_by_giving_up(autojump_clock: MockClock) -> None:
    inbox: Inbox[str] = Inbox(1)
    with trio.move_on_after(1) as waiting:
        await inbox.drain()
    assert waiting.cancelled_caught
    await inbox.put("late")
    with trio.move_on_after(0):
        await inbox.drain()
    assert await inbox.drain() == ["late"]


async def test_a_closed_inbox_takes_nothing_and_gives_what_waited(autojump_clock: MockClock) -> None:
    inbox: Inbox[str] = Inbox(1)
    await inbox.put("last")

    async def refused() -> None:
        with pytest.raises(InboxClosed):
            await inbox.put("too late")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused)
        await wait_all_tasks_blocked()
        assert inbox.close() == ["last"]
    with pytest.raises(InboxClosed):
        inbox.put_unbounded("too late")
    assert inbox.closed
