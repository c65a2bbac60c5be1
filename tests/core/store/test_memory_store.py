"""The store in memory under virtual time, and its switches for faults."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.errors import StoreUnavailable
from evanesce.model import milliseconds
from evanesce.store.memory import MemoryServer, MemoryStore, memory_store
from evanesce.store.memory.server import ANSWER_SECONDS
from evanesce.store.message_log import LogEntry, RoomClosed, Stored
from tests.core.store.backends import draft

ROOM = "room"


async def live(store: MemoryStore) -> int:
    history = await store.messages.history(ROOM, None, 100, 10_000)
    assert not isinstance(history, RoomClosed)
    return len(history.messages)


async def test_a_message_expires_at_its_deadline_to_the_moment(autojump_clock: MockClock) -> None:
    store = memory_store(ttl=60)
    async with store.events.follow(ROOM, 10) as feed:
        await store.messages.append(ROOM, [draft(ROOM)])
        [given] = await feed.next()
    assert isinstance(given, LogEntry)
    assert given.deadline == trio.current_time() + 60
    await trio.sleep_until(given.deadline - 0.001)
    assert await live(store) == 1
    assert store.clock.now() < milliseconds(given.message.expires_at)
    await trio.sleep_until(given.deadline)
    assert await live(store) == 0
    assert store.clock.now() == milliseconds(given.message.expires_at)


async def test_a_held_answer_leaves_the_outcome_unknown(autojump_clock: MockClock) -> None:
    server = MemoryServer()
    store = memory_store(server=server)
    server.hold_answers()
    started = trio.current_time()
    mine = draft(ROOM)
    with pytest.raises(StoreUnavailable):
        await store.messages.append(ROOM, [mine])
    assert trio.current_time() - started == ANSWER_SECONDS
    server.release_answers()
    again = await store.messages.append(ROOM, [mine])
    assert not isinstance(again, RoomClosed)
    assert isinstance(again[0], Stored)
    assert again[0].duplicate


async def test_a_held_answer_comes_when_it_is_released(autojump_clock: MockClock) -> None:
    server = MemoryServer()
    store = memory_store(server=server)
    server.hold_answers()
    answers: list[object] = []

    async def send() -> None:
        answers.append(await store.messages.append(ROOM, [draft(ROOM)]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        assert not answers
        server.release_answers()
    assert len(answers) == 1
