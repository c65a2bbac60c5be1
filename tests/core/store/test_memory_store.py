"""The store in memory under virtual time, and its switches for faults."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.errors import StoreUnavailable
from evanesce.model import milliseconds
from evanesce.store.base import Gone, Positioned, Stored
from evanesce.testing.memory_store import ANSWER_SECONDS, MemoryServer, MemoryStore
from tests.core.store.backends import draft

ROOM = "room"


async def live(store: MemoryStore) -> int:
    history = await store.history(ROOM, None, 100, 10_000)
    assert not isinstance(history, Gone)
    return len(history.messages)


async def test_a_message_expires_at_its_deadline_to_the_moment(autojump_clock: MockClock) -> None:
    store = MemoryStore(ttl=60)
    async with store.follow(ROOM, 10) as feed:
        await store.append(ROOM, [draft(ROOM)])
        [given] = await feed.next()
    assert isinstance(given, Positioned)
    assert given.deadline == trio.current_time() + 60
    await trio.sleep_until(given.deadline - 0.001)
    assert await live(store) == 1
    assert store.now() < milliseconds(given.message.expires_at)
    await trio.sleep_until(given.deadline)
    assert await live(store) == 0
    assert store.now() == milliseconds(given.message.expires_at)


async def test_a_held_answer_leaves_the_outcome_unknown(autojump_clock: MockClock) -> None:
    server = MemoryServer()
    store = MemoryStore(server=server)
    server.hold_answers()
    started = trio.current_time()
    mine = draft(ROOM)
    with pytest.raises(StoreUnavailable):
        await store.append(ROOM, [mine])
    assert trio.current_time() - started == ANSWER_SECONDS
    server.release_answers()
    again = await store.append(ROOM, [mine])
    assert not isinstance(again, Gone)
    assert isinstance(again[0], Stored)
    assert again[0].duplicate


async def test_a_held_answer_comes_when_it_is_released(autojump_clock: MockClock) -> None:
    server = MemoryServer()
    store = MemoryStore(server=server)
    server.hold_answers()
    answers: list[object] = []

    async def send() -> None:
        answers.append(await store.append(ROOM, [draft(ROOM)]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        assert not answers
        server.release_answers()
    assert len(answers) == 1
