"""Rooms in virtual time, with members that are slow or gone, a store that fails, and faults of a room's own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.config.model import LimitsTable
from evanesce.rooms.membership import Membership
from evanesce.rooms.messages import Messages
from evanesce.rooms.requests import Reply
from evanesce.rooms.subscription import Deliverable, Subscription
from evanesce.store.memory import MemoryServer
from evanesce.store.memory.message_log import MemoryMessageLog
from evanesce.store.message_log import MessageUnsent
from evanesce.testing.server import memory_server
from tests.core.rooms.clients import NOWHERE, QUICK, contents, join_room


async def test_a_slow_member_is_cut_and_nobody_else_waits(autojump_clock: MockClock) -> None:
    async with memory_server(limits=LimitsTable(messages_per_second=10_000, burst=10_000)) as server:
        room, [ada, slow] = await join_room(server, "Ada", "Slow")
        slow.stalled = True
        for _ in range(300):
            ada.say("send", roomId=room, content="x" * 4096)
        assert (await slow.end())[0] == 4413
        await wait_all_tasks_blocked()
        assert len(contents(ada.waiting())) == 300
        assert (await ada.ask("members", roomId=room))["memberCount"] == 1


async def test_the_store_down(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(memory=memory) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        memory.go_down()
        refused = await ada.ask("send", roomId=room, content="lost")
        assert (refused["code"], refused["retry"]) == ("store_unavailable", True)
        assert (await ada.ask("unsend", roomId=room, messageId=NOWHERE))["code"] == "store_unavailable"
        assert (await ada.ask("typing", roomId=room))["code"] == "store_unavailable"
        assert (await ada.ask("join", roomId=room))["code"] == "store_unavailable"
        assert (await ada.ask("room", roomId=room))["code"] == "store_unavailable"
        assert (await ada.ask("members", roomId=room))["memberCount"] == 2
        late = await server.sign_in("Cyd")
        other = await server.open_room(ada)
        assert (await late.ask("join", roomId=other))["code"] == "store_unavailable"
        memory.come_back()
        assert (await ada.ask("send", roomId=room, content="again"))["type"] == "sent"
        assert (await bob.until("message"))["content"] == "again"
        assert ada.closed is None
        assert bob.closed is None


async def test_a_store_that_lost_its_memory_shows_as_a_gap_and_knows_who_is_here(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(memory=memory) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("send", roomId=room, content="before")
        cursor = (await bob.until("message"))["cursor"]
        memory.go_down()
        memory.come_back(with_memory=False)
        gap = await bob.until("gap")
        assert gap["since"] == cursor
        joined = await bob.ask("join", roomId=room, since=gap["since"])
        assert joined["missed"] is None
        assert joined["memberCount"] == 2
        await trio.sleep(2)
        assert not [event for event in ada.waiting() if event["type"].startswith("member")]
        await ada.ask("send", roomId=room, content="after")
        assert (await bob.until("message"))["content"] == "after"


async def test_after_a_gap_nothing_is_given_twice(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(memory=memory, limits=QUICK) as server:
        room, [ada, bob, cyd] = await join_room(server, "Ada", "Bob", "Cyd")
        memory.go_down()
        memory.come_back(with_memory=False)
        gap = await bob.until("gap")
        await ada.ask("send", roomId=room, content="between")
        assert (await bob.until("message"))["content"] == "between"
        joined = await bob.ask("join", roomId=room, since=gap["since"])
        assert (joined["messages"], joined["missed"]) == ([], None)
        await ada.ask("send", roomId=room, content="after")
        await wait_all_tasks_blocked()
        assert contents(bob.waiting()) == ["after"]
        assert contents(cyd.waiting()) == ["between", "after"]
        joined = await bob.ask("join", roomId=room)
        assert [message["content"] for message in joined["messages"]] == ["between", "after"], "asked for without since"


async def test_who_left_while_the_store_was_down_has_left(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(memory=memory) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        memory.go_down()
        assert (await bob.ask("leave", roomId=room))["type"] == "left"
        memory.come_back()
        assert (await ada.until("member_left"))["memberCount"] == 1
        await trio.sleep(2)
        assert (await ada.ask("room", roomId=room))["memberCount"] == 1


@pytest.mark.parametrize(
    ("owner", "method", "command"),
    [(Membership, "deliver", "send"), (Messages, "_settle", "send"), (Membership, "announce", "typing")],
    ids=["an event", "an answer", "a notice"],
)
async def test_a_fault_in_what_is_handled_as_it_arrives_ends_the_room_alone(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, owner: type, method: str, command: str
) -> None:
    """Answers and events are handled in the task that receives them for all rooms, which must go on."""

    def broken(*args: object) -> None:
        raise ZeroDivisionError

    async with memory_server() as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        other = await server.sign_in("Cyd")
        elsewhere = await server.open_room(other)
        await other.ask("join", roomId=elsewhere)
        with monkeypatch.context() as patch:
            patch.setattr(owner, method, broken)
            ada.say(command, roomId=room, **({"content": "x"} if command == "send" else {}))
            assert (await ada.end())[0] == 1011
            assert (await bob.end())[0] == 1011
        assert 'evanesce_faults_total{where="room"} 1.0' in server.gateway.metrics()
        assert (await other.ask("send", roomId=elsewhere, content="fine"))["type"] == "sent"
        again = await server.sign_in("Ada")
        assert (await again.ask("join", roomId=room))["memberCount"] == 1


async def test_nothing_is_delivered_after_what_could_not_be(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a client that comes back, with the cursor of the second message, would never get the first."""
    deliver, calls = Membership.deliver, 0

    def broken_once(
        members: Membership, entries: Sequence[Deliverable], reply: Reply | None
    ) -> tuple[int, list[Subscription]]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ZeroDivisionError
        return deliver(members, entries, reply)

    memory = MemoryServer()
    async with memory_server(memory=memory) as server:
        room, [_, bob] = await join_room(server, "Ada", "Bob")
        monkeypatch.setattr(Membership, "deliver", broken_once)
        memory.rooms[room].publish([MessageUnsent("first", 1_000)])
        memory.rooms[room].publish([MessageUnsent("second", 1_001)])
        assert (await bob.end())[0] == 1011
        assert not [event for event in bob.waiting() if event["type"] == "unsent"]


async def test_a_defect_at_sending_does_not_block_the_room(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise TypeError

    async with memory_server() as server:
        room, [ada, _] = await join_room(server, "Ada", "Bob")
        with monkeypatch.context() as patch:
            patch.setattr(MemoryMessageLog, "append_one", broken)
            assert (await ada.ask("send", roomId=room, content="x"))["code"] == "internal"
        assert (await ada.ask("send", roomId=room, content="fine"))["type"] == "sent"
        assert (await ada.ask("members", roomId=room))["memberCount"] == 2


async def test_an_answer_that_comes_after_a_fault_is_nobodys(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError

    memory = MemoryServer()
    async with memory_server(memory=memory) as server:
        room, [ada, _] = await join_room(server, "Ada", "Bob")
        memory.hold_answers()
        ada.say("send", roomId=room, content="x")
        await wait_all_tasks_blocked()
        with monkeypatch.context() as patch:
            patch.setattr(Membership, "deliver", broken)
            memory.rooms[room].publish([MessageUnsent(NOWHERE, 1_000)])
            assert (await ada.end())[0] == 1011
        memory.release_answers()
        await wait_all_tasks_blocked()
        assert 'evanesce_faults_total{where="room"} 1.0' in server.gateway.metrics()
        again = await server.sign_in("Ada")
        assert (await again.ask("join", roomId=room))["memberCount"] == 1


async def test_what_is_asked_after_a_message_is_done_after_it(autojump_clock: MockClock) -> None:
    """A message goes to the store alone; what the same client asks next waits until it is there."""
    memory = MemoryServer()
    async with memory_server(memory=memory, limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        for ask in ("unsend", "leave", "join", "members"):
            memory.hold_answers()
            ada.say("send", roomId=room, content="x", messageId=NOWHERE, ref="first")
            ada.say(ask, roomId=room, ref="second", **({"messageId": NOWHERE} if ask == "unsend" else {}))
            await wait_all_tasks_blocked()
            assert not [event for event in ada.waiting() if event.get("ref") in ("first", "second")]
            memory.release_answers()
            await wait_all_tasks_blocked()
            replies = [event for event in ada.waiting() if event.get("ref") in ("first", "second")]
            assert [event["ref"] for event in replies] == ["first", "second"], ask
            if ask == "unsend":
                assert replies[1]["type"] == "ok"
            if ask == "leave":
                assert replies[0]["type"] == "error", "an unsent message's id is taken"
                await ada.ask("join", roomId=room)
        assert bob.closed is None


async def test_a_room_that_is_left_ends_and_begins_again(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, [ada] = await join_room(server, "Ada")
        for _ in range(3):
            await ada.ask("leave", roomId=room)
            ada.say("join", roomId=room, ref="again")
            assert (await ada.until("joined"))["memberCount"] == 1
        await ada.ask("leave", roomId=room)
        await wait_all_tasks_blocked()
        assert "evanesce_rooms 0.0" in server.gateway.metrics()
        await trio.sleep(2)
        assert not server.repository.chat_rooms[room].active


async def test_sessions_are_logged_and_active_is_true_while_someone_is_in(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await trio.sleep(2)
        assert server.repository.chat_rooms[room].active
        logs = server.repository.session_logs
        assert len(logs) == 2
        assert all(log.leave_time is None for log in logs.values())
        bob.leave()
        await bob.end()
        await trio.sleep(2)
        assert sorted(log.leave_time is None for log in logs.values()) == [False, True]
        assert server.repository.chat_rooms[room].active
        await ada.ask("leave", roomId=room)
        await trio.sleep(2)
        assert not server.repository.chat_rooms[room].active
        assert all(log.leave_time is not None and log.leave_time >= log.join_time for log in logs.values())
