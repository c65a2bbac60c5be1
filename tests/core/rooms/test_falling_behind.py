"""Members whose connections do not take all that a room says: they read on in the store, or are ended after a while."""

from __future__ import annotations

import random
import uuid
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.config.model import LimitsTable, MessagesTable
from evanesce.errors import CloseCode
from evanesce.model import Draft
from evanesce.rooms import backlog
from evanesce.store.memory import MemoryServer
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.server import TestServer, memory_server
from tests.core.rooms.clients import QUICK, contents, join_room

pytestmark = pytest.mark.slow

OUTBOX = QUICK.outbox_bytes
TEXT = 4_000


def drafts(room: str, first: int, count: int) -> list[Draft]:
    return [
        Draft(
            message_id=str(uuid.uuid4()),
            room_id=room,
            sender_id="u",
            sender_name="n",
            content=f"{number} ".ljust(TEXT, "x"),
        )
        for number in range(first, first + count)
    ]


def numbers(events: list[dict[str, Any]]) -> list[int]:
    """Return the numbers of the messages of `drafts`, those of `joined` among them."""
    told: list[str] = []
    for event in events:
        if event["type"] == "joined":
            told += [message["content"] for message in event["messages"]]
        else:
            told += contents([event])
    return [int(content.split()[0]) for content in told]


async def say(server: TestServer, room: str, first: int, count: int) -> None:
    """Store messages as one group: the room is told all of them in one turn."""
    await server.store.messages.append(room, drafts(room, first, count))


async def test_a_group_larger_than_the_outbox_reaches_who_reads_a_moment_later(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        bob.stalled = True
        await say(server, room, 0, 400)
        await wait_all_tasks_blocked()
        assert bob.closed is None
        assert OUTBOX // 4 < bob.waiting_bytes <= OUTBOX
        bob.take()
        await trio.sleep(1)
        assert numbers(bob.waiting()) == numbers(ada.waiting()) == list(range(400))
        await say(server, room, 400, 1)
        await wait_all_tasks_blocked()
        assert numbers(bob.waiting()) == [400]


async def test_a_full_outbox_has_room_for_replies(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, [_, bob] = await join_room(server, "Ada", "Bob")
        bob.stalled = True
        for first in range(0, 400, 20):
            await say(server, room, first, 20)
        for _ in range(50):
            bob.say("members", roomId=room)
        await wait_all_tasks_blocked()
        assert bob.closed is None
        bob.take()
        await trio.sleep(1)
        assert numbers(bob.waiting()) == list(range(400))


async def test_who_takes_nothing_is_ended_within_5_s_of_the_bound(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        bob.stalled = True
        most = first = 0
        full_at = trio.current_time()
        while bob.closed is None:
            await say(server, room, first, 20)
            first += 20
            if bob.waiting_bytes < OUTBOX // 2:
                full_at = trio.current_time()
            most = max(most, bob.waiting_bytes)
            assert trio.current_time() - full_at <= 5
            await trio.sleep(0.1)
        assert bob.closed[0] == CloseCode.TOO_SLOW
        assert most <= OUTBOX
        assert numbers(ada.waiting()) == list(range(first))


async def test_who_takes_a_little_now_and_then_is_ended(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, [_, bob] = await join_room(server, "Ada", "Bob")
        bob.stalled = True
        for first in range(0, 400):
            await say(server, room, first, 1)
        began = trio.current_time()
        while bob.closed is None:
            await trio.sleep(2)
            bob.take(1)
            assert trio.current_time() - began < 10
        assert bob.closed[0] == CloseCode.TOO_SLOW


async def test_who_reads_slowly_but_steadily_stays(autojump_clock: MockClock) -> None:
    async with memory_server(messages=MessagesTable(ttl=600)) as server:
        room, [_, bob] = await join_room(server, "Ada", "Bob")
        bob.stalled = True
        for first in range(0, 400):
            await say(server, room, first, 1)
        received: list[dict[str, Any]] = []
        while len(numbers(received)) < 400:
            await trio.sleep(0.4)
            bob.take(5)  # 50 KB/s
            received += bob.waiting()
            assert bob.closed is None
        assert numbers(received) == list(range(400))


async def test_what_expires_while_somebody_is_behind_is_said(autojump_clock: MockClock) -> None:
    async with memory_server(messages=MessagesTable(ttl=2)) as server:
        room, [_, bob] = await join_room(server, "Ada", "Bob")
        bob.stalled = True
        await say(server, room, 0, 400)
        await trio.sleep(2.5)
        bob.take()
        await say(server, room, 400, 1)
        await trio.sleep(1)
        events = bob.waiting()
        told = numbers(events)
        assert told == [*range(len(told) - 1), 400]
        assert sum(event["count"] for event in events if event["type"] == "skipped") == 400 - (len(told) - 1)


async def test_who_falls_behind_right_after_a_join_reads_on_from_there(autojump_clock: MockClock) -> None:
    """All that the room has delivered since it runs here is an `unsent`: it has no message to read on from."""
    async with memory_server() as server:
        ada = await server.sign_in("Ada")
        room = await server.open_room(ada)
        old = drafts(room, 0, 3)
        await server.store.messages.append(room, old)
        bob = await server.sign_in("Bob")
        joined = await bob.ask("join", roomId=room)
        assert numbers([joined]) == [0, 1, 2]
        await server.store.messages.unsend(room, old[1].message_id, "u")
        assert (await bob.until("unsent"))["messageId"] == old[1].message_id
        bob.waiting_bytes = OUTBOX
        await say(server, room, 3, 3)
        await wait_all_tasks_blocked()
        bob.waiting_bytes = 0
        await trio.sleep(1)
        events = bob.waiting()
        assert numbers(events) == [3, 4, 5]
        assert [event["type"] for event in events] == ["message"] * 3, "the `unsent` was delivered already"


async def test_histories_of_many_rooms_come_as_the_outbox_drains(autojump_clock: MockClock) -> None:
    """Joining again after a reconnect: 50 rooms have 50 pages of history."""
    async with memory_server(limits=LimitsTable(outbox_bytes=524_288)) as server:
        ada = await server.sign_in("Ada")
        rooms = [await server.open_room(ada) for _ in range(50)]
        for room in rooms:
            await say(server, room, 0, 20)
        bob = await server.sign_in("Bob", outbox_bytes=524_288)
        bob.stalled = True
        for room in rooms:
            bob.say("join", roomId=room)
        await wait_all_tasks_blocked()
        assert bob.closed is None
        bob.take()
        await trio.sleep(5)
        told = bob.waiting()
        for room in rooms:
            of_room = [event for event in told if event.get("roomId") == room]
            assert of_room[0]["type"] == "joined"
            assert numbers(of_room) == list(range(20))


async def test_a_join_again_that_the_store_cannot_answer_ends_nobody(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was held back meanwhile was too much: it is read in the store instead."""
    memory = MemoryServer()
    async with memory_server(memory=memory) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await say(server, room, 0, 1)
        history, asked = server.store.messages.history, trio.Event()

        async def fails(*arguments: Any) -> Any:
            monkeypatch.setattr(server.store.messages, "history", history)
            await asked.wait()
            memory.go_down()
            try:
                return await history(*arguments)
            finally:
                memory.come_back()

        monkeypatch.setattr(server.store.messages, "history", fails)
        bob.say("join", roomId=room, ref="again")
        await wait_all_tasks_blocked()
        for first in range(1, 1_101, 100):
            await say(server, room, first, 100)
        await wait_all_tasks_blocked()
        asked.set()
        await trio.sleep(2)
        events = bob.waiting()
        assert [event["code"] for event in events if event["type"] == "error"] == ["store_unavailable"]
        assert bob.closed is None
        assert numbers(events) == numbers(ada.waiting()) == list(range(1_101))


@pytest.mark.parametrize("seed", range(60))
async def test_order_and_once_whatever_the_connections_take(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Groups, unsent messages, gaps and joins, while connections take what they are given at random."""
    dice = random.Random(seed)
    monkeypatch.setattr(backlog, "PAGE_MESSAGES", dice.choice([3, 40, 100]))
    memory = MemoryServer()
    async with memory_server(memory=memory, messages=MessagesTable(ttl=3_600), limits=QUICK) as server:
        room, clients = await join_room(server, "Ada", "Bob", "Cyd", "Dan")
        delivered: dict[MemoryConnection, list[dict[str, Any]]] = {client: [] for client in clients}
        sent: list[Draft] = []
        lost_memory = False
        for _ in range(60):
            client = dice.choice(clients[1:])
            action = dice.random()
            if action < 0.45:
                group = drafts(room, len(sent), dice.choice([1, 3, 30, 90]))
                await server.store.messages.append(room, group)
                sent += group
            elif action < 0.55 and sent:
                await server.store.messages.unsend(room, dice.choice(sent[-20:]).message_id, "u")
            elif action < 0.7:
                client.stalled = True
            elif action < 0.97:
                client.take(dice.choice([1, 3, None, None]))
            elif action < 0.985:
                memory.go_down()
                memory.come_back(with_memory=dice.random() < 0.5)
                lost_memory = True
            await trio.sleep(dice.choice([0, 0, 0.01, 0.5]))
            for one in clients:
                events = one.waiting()
                delivered[one] += events
                for gap in (event for event in events if event["type"] == "gap"):
                    one.say("join", roomId=room, since=gap["since"])
        for one in clients:
            one.take()
        await trio.sleep(5)
        for one in clients:
            delivered[one] += one.waiting()
        delivered_to = {one: numbers(events) for one, events in delivered.items()}
        assert any(len(received) for received in delivered_to.values())
        for one in clients:
            if one.closed is not None:
                assert one.closed[0] == CloseCode.TOO_SLOW
            assert delivered_to[one] == sorted(set(delivered_to[one])), "in order, each once"
        if not lost_memory:
            whole = delivered_to[clients[0]]
            unsent = {event["messageId"] for event in delivered[clients[0]] if event["type"] == "unsent"}
            indices = {int(draft.content.split()[0]) for draft in sent if draft.message_id in unsent}
            assert whole == list(range(len(sent)))
            for one in clients:
                if one.closed is None:
                    assert set(range(len(sent))) - set(delivered_to[one]) <= indices, "all but the unsent ones"
                    named = [event["messageId"] for event in delivered[one] if event["type"] == "unsent"]
                    assert len(named) == len(set(named)), "each `unsent` once"
