"""Coming back into a room, in virtual time: what was missed, exactly, and what is missed for good."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.config.model import LimitsTable, MessagesTable
from evanesce.model import Draft
from evanesce.rooms import backlog, subscription
from evanesce.store.memory import MemoryServer
from evanesce.testing.server import memory_server
from tests.core.rooms.clients import QUICK, contents, join_room


async def test_resume_gives_exactly_what_was_missed(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("send", roomId=room, content="received")
        cursor = (await bob.until("message"))["cursor"]
        bob.leave()
        await bob.end()
        sent = [await ada.ask("send", roomId=room, content=str(number)) for number in range(5)]
        await ada.ask("unsend", roomId=room, messageId=sent[1]["messageId"])
        back = await server.sign_in("Bob")
        joined = await back.ask("join", roomId=room, since=cursor)
        assert [message["content"] for message in joined["messages"]] == ["0", "2", "3", "4"]
        assert (joined["missed"], joined["more"]) == (1, False)
        assert joined["cursor"] == joined["messages"][-1]["cursor"]
        await ada.ask("send", roomId=room, content="live")
        await wait_all_tasks_blocked()
        assert contents(back.waiting()) == ["live"]


async def test_missed_counts_what_expired(autojump_clock: MockClock) -> None:
    async with memory_server(messages=MessagesTable(ttl=10), limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        cursor = (await bob.ask("join", roomId=room))["cursor"]
        bob.leave()
        await bob.end()
        for number in range(8):
            await ada.ask("send", roomId=room, content=str(number))
            await trio.sleep(2)
        joined = await (await server.sign_in("Bob")).ask("join", roomId=room, since=cursor)
        live = [message["content"] for message in joined["messages"]]
        assert live == [str(number) for number in range(8)][-len(live) :]
        assert 0 < len(live) < 8
        assert joined["missed"] == 8 - len(live)


async def test_messages_unsent_since_are_named(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        first = await ada.ask("send", roomId=room, content="first")
        await ada.ask("send", roomId=room, content="second")
        await bob.until("message", content="first")
        cursor = (await bob.until("message"))["cursor"]
        bob.leave()
        await ada.ask("unsend", roomId=room, messageId=first["messageId"])
        joined = await (await server.sign_in("Bob")).ask("join", roomId=room, since=cursor)
        assert (joined["unsent"], joined["missed"], joined["messages"]) == ([first["messageId"]], 0, [])


@pytest.mark.parametrize("since", ["nonsense", "e9-1767225600000-0-0"])
async def test_a_cursor_that_is_not_of_this_room(autojump_clock: MockClock, since: str) -> None:
    async with memory_server() as server:
        room, [ada] = await join_room(server, "Ada")
        await ada.ask("send", roomId=room, content="x")
        joined = await (await server.sign_in("Bob")).ask("join", roomId=room, since=since)
        assert joined["missed"] is None
        assert [message["content"] for message in joined["messages"]] == ["x"]


async def test_a_long_history_follows_in_pages_before_anything_newer(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "PAGE_MESSAGES", 7)
    async with memory_server(messages=MessagesTable(history=10), limits=QUICK) as server:
        room, [ada] = await join_room(server, "Ada")
        for number in range(50):
            await ada.ask("send", roomId=room, content=str(number))
        bob = await server.sign_in("Bob")
        bob.say("join", roomId=room)
        for number in range(50, 60):
            ada.say("send", roomId=room, content=str(number))
        joined = await bob.until("joined")
        assert joined["more"]
        assert len(joined["messages"]) == 10
        await trio.sleep(1)
        received = [message["content"] for message in joined["messages"]] + contents(bob.waiting())
        assert received == [str(number) for number in range(60)]


async def test_no_history_is_given_at_once_where_none_is_wanted(autojump_clock: MockClock) -> None:
    async with memory_server(messages=MessagesTable(history=0)) as server:
        room, [ada] = await join_room(server, "Ada")
        await ada.ask("send", roomId=room, content="x")
        bob = await server.sign_in("Bob")
        joined = await bob.ask("join", roomId=room)
        assert (joined["messages"], joined["more"]) == ([], True)
        assert (await bob.until("message"))["content"] == "x"


async def test_one_who_cannot_keep_up_while_catching_up_reads_on_in_the_store(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "HELD", 5)
    memory = MemoryServer()
    async with memory_server(limits=QUICK, memory=memory) as server:
        room, [ada] = await join_room(server, "Ada")
        bob = await server.sign_in("Bob")
        memory.hold_answers()
        bob.say("join", roomId=room)
        await wait_all_tasks_blocked()
        other = server.store
        for number in range(20):
            draft = Draft(
                message_id=str(uuid.uuid4()), room_id=room, sender_id="u", sender_name="n", content=str(number)
            )
            with trio.move_on_after(0.001):
                await other.messages.append(room, [draft])
        memory.release_answers()
        await trio.sleep(1)
        events = bob.waiting()
        [joined] = [event for event in events if event["type"] == "joined"]
        received = [message["content"] for message in joined["messages"]] + contents(events)
        assert received == [str(number) for number in range(20)]
        assert contents(ada.waiting()) == received


async def test_what_expires_before_it_is_read_on_is_said(autojump_clock: MockClock) -> None:
    async with memory_server(messages=MessagesTable(history=5, ttl=10), limits=QUICK) as server:
        room, [ada] = await join_room(server, "Ada")
        for number in range(50):
            await ada.ask("send", roomId=room, content=str(number))
        bob = await server.sign_in("Bob")
        bob.waiting_bytes = 1_000_000
        joined = await bob.ask("join", roomId=room)
        assert (joined["messages"], joined["more"], joined["missed"]) == ([], True, 0)
        await trio.sleep(11)
        bob.waiting_bytes = 0
        await ada.ask("send", roomId=room, content="new")
        assert (await bob.until("skipped"))["count"] == 50
        assert (await bob.until("message"))["content"] == "new"


async def test_a_large_history_comes_in_parts_that_a_slow_network_has_taken_before_they_expire(
    autojump_clock: MockClock,
) -> None:
    texts = [f"{number} {'x' * 2000}" for number in range(60)]
    async with memory_server(limits=QUICK) as server:
        room, [ada] = await join_room(server, "Ada")
        for text in texts:
            await ada.ask("send", roomId=room, content=text)
        bob = await server.sign_in("Bob")
        bob.say("join", roomId=room)
        joined = await bob.until("joined")
        assert joined["more"]
        assert len(json.dumps(joined["messages"])) < 36_000
        await trio.sleep(1)
        assert [message["content"] for message in joined["messages"]] + contents(bob.waiting()) == texts


async def test_an_unsent_message_is_named_once(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "PAGE_MESSAGES", 3)
    async with memory_server(messages=MessagesTable(history=5), limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        first = await ada.ask("send", roomId=room, content="first")
        cursor = (await bob.until("message"))["cursor"]
        bob.leave()
        for number in range(30):
            await ada.ask("send", roomId=room, content=str(number))
        await ada.ask("unsend", roomId=room, messageId=first["messageId"])
        back = await server.sign_in("Bob")
        joined = await back.ask("join", roomId=room, since=cursor)
        assert joined["unsent"] == [first["messageId"]]
        await trio.sleep(1)
        assert [event["type"] for event in back.waiting()] == ["message"] * 25
        again = await back.ask("join", roomId=room, since=cursor)
        assert again["unsent"] == [first["messageId"]], "each join is answered whole"


async def test_a_frame_with_joined_is_never_too_large(autojump_clock: MockClock) -> None:
    limits = LimitsTable(
        messages_per_second=10_000, burst=10_000, commands_per_second=10_000, sign_ins_per_minute=1_000
    )
    async with memory_server(limits=limits) as server:
        room, [ada] = await join_room(server, "Ada")
        for number in range(199):
            client = await server.sign_in(f"{number:03d}" + "\U0001f600" * 61)
            await client.ask("join", roomId=room)
        taken_back = [await ada.ask("send", roomId=room, content="oops") for _ in range(1_000)]
        cursor = (await ada.ask("join", roomId=room))["cursor"]
        for _ in range(100):
            await ada.ask("send", roomId=room, content='"' * 2_000)
        for sent in taken_back:
            await ada.ask("unsend", roomId=room, messageId=sent["messageId"])
        await wait_all_tasks_blocked()
        before = len(ada.frames)
        ada.waiting()
        joined = await ada.ask("join", roomId=room, since=cursor)
        await trio.sleep(1)
        assert max(len(frame) for frame in ada.frames[before:]) <= 256 * 1024
        events = ada.waiting()
        assert joined["more"]
        assert len(joined["messages"]) + len(contents(events)) == 100
        named = joined["unsent"] + [event["messageId"] for event in events if event["type"] == "unsent"]
        assert sorted(named) == sorted(sent["messageId"] for sent in taken_back)


async def test_a_join_that_fails_takes_nothing_from_who_is_catching_up(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(messages=MessagesTable(history=5), limits=QUICK, memory=memory) as server:
        room, [ada] = await join_room(server, "Ada")
        for number in range(50):
            await ada.ask("send", roomId=room, content=str(number))
        bob = await server.sign_in("Bob")
        bob.waiting_bytes = 1_000_000
        await bob.ask("join", roomId=room)
        memory.go_down()
        assert (await bob.ask("join", roomId=room))["code"] == "store_unavailable"
        memory.come_back()
        bob.waiting_bytes = 0
        await ada.ask("send", roomId=room, content="50")
        await trio.sleep(2)
        assert contents(bob.waiting()) == [str(number) for number in range(51)]


@pytest.mark.parametrize("steps", range(12))
async def test_leaving_or_joining_a_room_while_it_closes(autojump_clock: MockClock, steps: int) -> None:
    async with memory_server() as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("leave", roomId=room)
        ada.say("close_room", roomId=room)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        bob.say("join" if steps % 2 else "leave", roomId=room, ref=1)
        await trio.sleep(1)
        types = [event["type"] for event in bob.waiting()]
        assert "room_closed" in types or "left" in types
        assert bob.closed is None
        assert not re.search(r"^evanesce_faults_total\{.*\} [1-9]", server.gateway.metrics(), re.MULTILINE)


@pytest.mark.parametrize("steps", range(10))
async def test_leave_join_send_in_one_breath(autojump_clock: MockClock, steps: int) -> None:
    async with memory_server() as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        bob.say("leave", roomId=room, ref=1)
        bob.say("join", roomId=room, ref=2)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        bob.say("send", roomId=room, content="back", ref=3)
        await trio.sleep(1)
        answers = {event["ref"]: event["type"] for event in bob.waiting() if "ref" in event}
        assert answers == {1: "left", 2: "joined", 3: "sent"}
        assert contents(ada.waiting()) == ["back"]


@pytest.mark.parametrize("steps", range(10))
async def test_nobody_stays_who_has_gone(autojump_clock: MockClock, steps: int) -> None:
    async with memory_server() as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        bob.say("leave", roomId=room)
        bob.say("join", roomId=room)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        bob.leave()
        await bob.end()
        await trio.sleep(1)
        assert (await ada.ask("members", roomId=room))["memberCount"] == 1
        assert (await ada.ask("room", roomId=room))["memberCount"] == 1


async def test_many_who_catch_up_are_read_for_together(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_server(messages=MessagesTable(history=5), limits=QUICK) as server:
        room, [ada] = await join_room(server, "Ada")
        for number in range(1_000):
            await ada.ask("send", roomId=room, content=str(number))
        clients = [await server.sign_in(f"user {number}") for number in range(20)]
        history = server.store.messages.history
        asked = 0

        async def counted(*arguments: Any) -> Any:
            nonlocal asked
            asked += 1
            return await history(*arguments)

        monkeypatch.setattr(server.store.messages, "history", counted)
        for client in clients:
            client.say("join", roomId=room)
        await trio.sleep(1)
        for client in clients:
            events = client.waiting()
            [joined] = [event for event in events if event["type"] == "joined"]
            received = [message["content"] for message in joined["messages"]] + contents(events)
            assert received == [str(number) for number in range(1_000)]
        assert asked < 60, "20 clients, 10 pages each"


async def test_who_joins_anew_after_a_gap_gets_all_messages(autojump_clock: MockClock) -> None:
    """Also those that do not fit into `joined`, and that the same connection received before."""
    memory = MemoryServer()
    async with memory_server(memory=memory, messages=MessagesTable(history=2), limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        memory.go_down()
        memory.come_back(with_memory=False)
        await bob.until("gap")
        for number in range(5):
            await ada.ask("send", roomId=room, content=str(number))
        await wait_all_tasks_blocked()
        bob.waiting()
        joined = await bob.ask("join", roomId=room)
        assert [message["content"] for message in joined["messages"]] == ["0", "1"]
        assert joined["more"]
        await trio.sleep(1)
        assert contents(bob.waiting()) == ["2", "3", "4"]
