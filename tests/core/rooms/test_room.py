"""Rooms in virtual time: one order, each message once, exact resume, and faults that stay where they are."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.config.model import LimitsTable, MessagesTable, RoomsTable
from evanesce.errors import Rejected
from evanesce.hookspecs import hookimpl
from evanesce.model import ChatRoom, Draft, milliseconds
from evanesce.rooms import attendance, seat
from evanesce.rooms.membership import Membership
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.memory_store import MemoryServer
from evanesce.testing.server import TestServer, memory_server

NOWHERE = "00000000-0000-4000-8000-000000000000"
QUICK = LimitsTable(messages_per_second=10_000, burst=10_000)


async def together(server: TestServer, *names: str) -> tuple[str, list[MemoryConnection]]:
    """Sign people in, and bring them into a room that the first one has opened."""
    connections = [await server.sign_in(name) for name in names]
    room = await server.open_room(connections[0])
    for connection in connections:
        assert (await connection.ask("join", roomId=room))["type"] == "joined"
    await wait_all_tasks_blocked()
    for connection in connections:
        connection.waiting()
    return room, connections


def contents(events: list[dict[str, Any]]) -> list[str]:
    return [event["content"] for event in events if event["type"] == "message"]


async def test_everyone_hears_everything_in_one_order(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, people = await together(server, "Ada", "Bob", "Cyd")
        for number in range(100):
            people[number % 3].say("send", roomId=room, content=str(number), ref=number)
        await wait_all_tasks_blocked()
        heard = [person.waiting() for person in people]
        assert contents(heard[0]) == contents(heard[1]) == contents(heard[2])
        assert sorted(contents(heard[0]), key=int) == [str(number) for number in range(100)]
        for person, events in zip(people, heard, strict=True):
            assert all(event["type"] in ("message", "sent") for event in events)
            refs = [event["ref"] for event in events if event["type"] == "sent"]
            assert refs == [number for number in range(100) if people[number % 3] is person]


async def test_a_burst_goes_to_the_store_in_groups_and_to_members_in_few_frames(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(limits=QUICK, memory=memory) as server:
        room, [ada, bob] = await together(server, "Ada", "Bob")
        before = len(bob.frames)
        memory.hold_answers()
        for number in range(200):
            ada.say("send", roomId=room, content=str(number))
        await wait_all_tasks_blocked()
        memory.release_answers()
        await wait_all_tasks_blocked()
        assert contents(bob.waiting()) == [str(number) for number in range(200)]
        assert len(bob.frames) - before == 2
        assert "evanesce_commit_groups_total 2.0" in server.gateway.metrics()
        assert "evanesce_messages_accepted_total 200.0" in server.gateway.metrics()


async def test_a_room_that_was_busy_waits_for_what_follows_on_the_first(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob] = await together(server, "Ada", "Bob")

        async def groups_for(burst: int) -> float:
            before = groups()
            for number in range(burst):
                ada.say("send", roomId=room, content=str(number))
            await wait_all_tasks_blocked()
            assert contents(bob.waiting()) == [str(number) for number in range(burst)]
            return groups() - before

        def groups() -> float:
            return float(server.gateway.metrics().split("\nevanesce_commit_groups_total ")[1].split()[0])

        assert 2 <= await groups_for(50) < 10  # nobody knows that the first is the first of many
        assert await groups_for(50) == 1
        assert await groups_for(1) == 1


async def test_sent_has_the_life_of_the_message(autojump_clock: MockClock) -> None:
    async with memory_server(messages=MessagesTable(ttl=2.5)) as server:
        room, [ada, bob] = await together(server, "Ada", "Bob")
        message_id = str(uuid.uuid4())
        sent = await ada.ask("send", roomId=room, content="  spaces stay  ", messageId=message_id)
        assert (sent["messageId"], sent["duplicate"]) == (message_id, False)
        assert milliseconds(sent["expiresAt"]) - milliseconds(sent["createdAt"]) == 2500
        message = await bob.until("message")
        assert message["content"] == "  spaces stay  "
        assert (message["createdAt"], message["expiresAt"]) == (sent["createdAt"], sent["expiresAt"])


async def test_a_repeated_message_id_is_stored_and_told_once(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, [ada, bob] = await together(server, "Ada", "Bob")
        message_id = str(uuid.uuid4())
        first = await ada.ask("send", roomId=room, content="once", messageId=message_id)
        again = await ada.ask("send", roomId=room, content="once", messageId=message_id)
        assert again["duplicate"]
        assert (again["createdAt"], again["expiresAt"]) == (first["createdAt"], first["expiresAt"])
        assert (await bob.ask("send", roomId=room, content="mine", messageId=message_id))["code"] == "conflict"
        await ada.ask("unsend", roomId=room, messageId=message_id)
        assert (await ada.ask("send", roomId=room, content="once", messageId=message_id))["code"] == "conflict"
        await wait_all_tasks_blocked()
        assert contents(bob.waiting()) in ([], ["once"])


@pytest.mark.parametrize(
    ("content", "code"), [("", "content_empty"), (" \n\t", "content_empty"), ("é" * 2049, "content_too_long")]
)
async def test_content_has_bounds(autojump_clock: MockClock, content: str, code: str) -> None:
    async with memory_server() as server:
        room, [ada] = await together(server, "Ada")
        assert (await ada.ask("send", roomId=room, content=content))["code"] == code
        assert (await ada.ask("send", roomId=room, content="é" * 2048))["type"] == "sent"


async def test_outside_a_room_nothing_is_told_apart(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, _ = await together(server, "Ada")
        stranger = await server.sign_in("Eve")
        for room_id in (room, NOWHERE):
            for command, fields in [
                ("send", {"content": "x"}),
                ("unsend", {"messageId": NOWHERE}),
                ("typing", {}),
                ("members", {}),
                ("leave", {}),
            ]:
                assert (await stranger.ask(command, roomId=room_id, **fields))["code"] == "not_member"
        assert (await stranger.ask("join", roomId=NOWHERE))["code"] == "room_not_found"
        assert (await stranger.ask("close_room", roomId=room))["code"] == "forbidden"


async def test_unsend(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, [ada, bob] = await together(server, "Ada", "Bob")
        sent = await ada.ask("send", roomId=room, content="oops")
        message_id = sent["messageId"]
        assert (await bob.ask("unsend", roomId=room, messageId=message_id))["code"] == "forbidden"
        assert (await ada.ask("unsend", roomId=room, messageId=message_id))["type"] == "ok"
        assert (await bob.until("unsent"))["messageId"] == message_id
        assert (await ada.ask("unsend", roomId=room, messageId=message_id))["code"] == "message_not_found"
        late = await server.sign_in("Cyd")
        assert (await late.ask("join", roomId=room))["messages"] == []


async def test_members_come_and_go(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, [ada] = await together(server, "Ada")
        bob, also_bob = await server.sign_in("Bob"), await server.sign_in("Bob")
        joined = await bob.ask("join", roomId=room)
        assert [member["displayName"] for member in joined["members"]] == ["Ada", "Bob"]
        event = await ada.until("member_joined")
        assert (event["displayName"], event["memberCount"]) == ("Bob", 2)
        await also_bob.ask("join", roomId=room)
        again = await bob.ask("join", roomId=room)
        assert again["sessionId"] == joined["sessionId"]
        assert (await bob.ask("members", roomId=room))["memberCount"] == 2
        assert (await bob.ask("leave", roomId=room))["type"] == "left"
        await wait_all_tasks_blocked()
        assert ada.waiting() == []
        also_bob.leave()
        assert (await ada.until("member_left"))["memberCount"] == 1
        assert bob.waiting() == []


async def test_commands_of_one_connection_take_effect_in_order(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, [ada] = await together(server, "Ada")
        bob = await server.sign_in("Bob")
        bob.say("join", roomId=room, ref=1)
        bob.say("send", roomId=room, content="at once", ref=2)
        bob.say("leave", roomId=room, ref=3)
        bob.say("send", roomId=room, content="too late", ref=4)
        await wait_all_tasks_blocked()
        answers = {event["ref"]: event for event in bob.waiting() if "ref" in event}
        assert [answers[ref]["type"] for ref in (1, 2, 3)] == ["joined", "sent", "left"]
        assert answers[4]["code"] == "not_member"
        assert contents(ada.waiting()) == ["at once"]


async def test_typing_is_told_to_the_others_not_too_often(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, [ada, bob] = await together(server, "Ada", "Bob")
        ada.say("typing", roomId=room)
        assert (await ada.ask("typing", roomId=room))["type"] == "ok"
        await trio.sleep(1)
        await ada.ask("typing", roomId=room)
        assert [event["type"] for event in bob.waiting()] == ["typing"]
        assert ada.waiting() == []
        await trio.sleep(2)
        await ada.ask("typing", roomId=room)
        assert (await bob.hear())["type"] == "typing"


async def test_a_full_room(autojump_clock: MockClock) -> None:
    async with memory_server(rooms=RoomsTable(capacity=2)) as server:
        room, [ada, bob] = await together(server, "Ada", "Bob")
        cyd, also_ada = await server.sign_in("Cyd"), await server.sign_in("Ada")
        assert (await cyd.ask("join", roomId=room))["code"] == "room_full"
        assert (await cyd.ask("send", roomId=room, content="x"))["code"] == "not_member"
        assert (await also_ada.ask("join", roomId=room))["memberCount"] == 2
        await bob.ask("leave", roomId=room)
        assert (await cyd.ask("join", roomId=room))["memberCount"] == 2
        assert ada.closed is None


async def test_too_many_rooms(autojump_clock: MockClock) -> None:
    async with memory_server(limits=LimitsTable(rooms_per_connection=2, rooms_per_user=3)) as server:
        ada = await server.sign_in("Ada")
        rooms = [await server.open_room(ada) for _ in range(3)]
        assert (await ada.ask("create_room"))["code"] == "too_many_rooms"
        for room in rooms[:2]:
            await ada.ask("join", roomId=room)
        assert (await ada.ask("join", roomId=rooms[2]))["code"] == "too_many_rooms"
        assert (await ada.ask("join", roomId=rooms[0]))["type"] == "joined"
        await ada.ask("leave", roomId=rooms[0])
        assert (await ada.ask("join", roomId=rooms[2]))["type"] == "joined"


async def test_large_rooms_tell_counts_once_a_second(autojump_clock: MockClock) -> None:
    async with memory_server(rooms=RoomsTable(roster_size=3)) as server:
        room, [ada, *_] = await together(server, "Ada", "Bob", "Cyd")
        crowd = [await server.sign_in(f"user {number}") for number in range(20)]
        for person in crowd:
            joined = await person.ask("join", roomId=room)
            assert "members" not in joined
        assert joined["memberCount"] == 23
        await trio.sleep(0.5)
        first = ada.waiting()
        assert [event["type"] for event in first] == ["member_count"]
        await trio.sleep(1)
        assert ada.waiting()[-1] == {"type": "member_count", "roomId": room, "memberCount": 23}
        assert "members" not in await ada.ask("members", roomId=room)
        for person in crowd:
            await person.ask("leave", roomId=room)
        await trio.sleep(2)
        reply = await ada.ask("members", roomId=room)
        assert sorted(member["displayName"] for member in reply["members"]) == ["Ada", "Bob", "Cyd"]


async def test_closing_a_room_ends_it_for_everyone(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, [ada, bob] = await together(server, "Ada", "Bob")
        await ada.ask("send", roomId=room, content="soon gone")
        assert (await ada.ask("close_room", roomId=room))["type"] == "ok"
        assert (await bob.until("room_closed"))["reason"]
        assert (await bob.ask("send", roomId=room, content="x"))["code"] == "not_member"
        for command in ("join", "room", "close_room"):
            assert (await bob.ask(command, roomId=room))["code"] == "room_not_found"
        logs = server.repository.session_logs.values()
        await trio.sleep(2)
        assert len(logs) == 2
        assert all(log.leave_time is not None for log in logs)


# --- resume ---------------------------------------------------------------------------------------------------------


async def test_resume_gives_exactly_what_was_missed(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob] = await together(server, "Ada", "Bob")
        await ada.ask("send", roomId=room, content="heard")
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
        room, [ada, bob] = await together(server, "Ada", "Bob")
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


async def test_withdrawals_since_are_named(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, [ada, bob] = await together(server, "Ada", "Bob")
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
        room, [ada] = await together(server, "Ada")
        await ada.ask("send", roomId=room, content="x")
        joined = await (await server.sign_in("Bob")).ask("join", roomId=room, since=since)
        assert joined["missed"] is None
        assert [message["content"] for message in joined["messages"]] == ["x"]


async def test_a_long_history_follows_in_pages_before_anything_newer(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attendance, "PAGE_MESSAGES", 7)
    async with memory_server(messages=MessagesTable(history=10), limits=QUICK) as server:
        room, [ada] = await together(server, "Ada")
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
        heard = [message["content"] for message in joined["messages"]] + contents(bob.waiting())
        assert heard == [str(number) for number in range(60)]


async def test_no_history_is_given_at_once_where_none_is_wanted(autojump_clock: MockClock) -> None:
    async with memory_server(messages=MessagesTable(history=0)) as server:
        room, [ada] = await together(server, "Ada")
        await ada.ask("send", roomId=room, content="x")
        bob = await server.sign_in("Bob")
        joined = await bob.ask("join", roomId=room)
        assert (joined["messages"], joined["more"]) == ([], True)
        assert (await bob.until("message"))["content"] == "x"


async def test_one_who_cannot_keep_up_while_catching_up_reads_on_in_the_store(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seat, "HELD", 5)
    memory = MemoryServer()
    async with memory_server(limits=QUICK, memory=memory) as server:
        room, [ada] = await together(server, "Ada")
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
                await other.append(room, [draft])
        memory.release_answers()
        await trio.sleep(1)
        events = bob.waiting()
        [joined] = [event for event in events if event["type"] == "joined"]
        heard = [message["content"] for message in joined["messages"]] + contents(events)
        assert heard == [str(number) for number in range(20)]
        assert contents(ada.waiting()) == heard


async def test_what_expires_before_it_is_read_on_is_said(autojump_clock: MockClock) -> None:
    async with memory_server(messages=MessagesTable(history=5, ttl=10), limits=QUICK) as server:
        room, [ada] = await together(server, "Ada")
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
        room, [ada] = await together(server, "Ada")
        for text in texts:
            await ada.ask("send", roomId=room, content=text)
        bob = await server.sign_in("Bob")
        bob.say("join", roomId=room)
        joined = await bob.until("joined")
        assert joined["more"]
        assert len(json.dumps(joined["messages"])) < 36_000
        await trio.sleep(1)
        assert [message["content"] for message in joined["messages"]] + contents(bob.waiting()) == texts


async def test_a_withdrawal_is_named_once(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attendance, "PAGE_MESSAGES", 3)
    async with memory_server(messages=MessagesTable(history=5), limits=QUICK) as server:
        room, [ada, bob] = await together(server, "Ada", "Bob")
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
    limits = LimitsTable(messages_per_second=10_000, burst=10_000, sign_ins_per_minute=1_000)
    async with memory_server(limits=limits) as server:
        room, [ada] = await together(server, "Ada")
        for number in range(199):
            person = await server.sign_in(f"{number:03d}" + "\U0001f600" * 61)
            await person.ask("join", roomId=room)
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
        room, [ada] = await together(server, "Ada")
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
        room, [ada, bob] = await together(server, "Ada", "Bob")
        await ada.ask("leave", roomId=room)
        ada.say("close_room", roomId=room)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        bob.say("join" if steps % 2 else "leave", roomId=room, ref=1)
        await trio.sleep(1)
        types = [event["type"] for event in bob.waiting()]
        assert "room_closed" in types or "left" in types
        assert bob.closed is None
        assert "evanesce_faults_total{" not in server.gateway.metrics()


@pytest.mark.parametrize("steps", range(10))
async def test_leave_join_send_in_one_breath(autojump_clock: MockClock, steps: int) -> None:
    async with memory_server() as server:
        room, [ada, bob] = await together(server, "Ada", "Bob")
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
        room, [ada, bob] = await together(server, "Ada", "Bob")
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
        room, [ada] = await together(server, "Ada")
        for number in range(1_000):
            await ada.ask("send", roomId=room, content=str(number))
        crowd = [await server.sign_in(f"user {number}") for number in range(20)]
        history = server.store.history
        asked = 0

        async def counted(*arguments: Any) -> Any:
            nonlocal asked
            asked += 1
            return await history(*arguments)

        monkeypatch.setattr(server.store, "history", counted)
        for person in crowd:
            person.say("join", roomId=room)
        await trio.sleep(1)
        for person in crowd:
            events = person.waiting()
            [joined] = [event for event in events if event["type"] == "joined"]
            heard = [message["content"] for message in joined["messages"]] + contents(events)
            assert heard == [str(number) for number in range(1_000)]
        assert asked < 60, "20 people, 10 pages each"


# --- slow, broken, gone ---------------------------------------------------------------------------------------------


async def test_a_slow_member_is_cut_and_nobody_else_waits(autojump_clock: MockClock) -> None:
    async with memory_server(limits=LimitsTable(messages_per_second=10_000, burst=10_000)) as server:
        room, [ada, slow] = await together(server, "Ada", "Slow")
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
        room, [ada, bob] = await together(server, "Ada", "Bob")
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
        room, [ada, bob] = await together(server, "Ada", "Bob")
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
        room, [ada, bob, cyd] = await together(server, "Ada", "Bob", "Cyd")
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
        room, [ada, bob] = await together(server, "Ada", "Bob")
        memory.go_down()
        assert (await bob.ask("leave", roomId=room))["type"] == "left"
        memory.come_back()
        assert (await ada.until("member_left"))["memberCount"] == 1
        await trio.sleep(2)
        assert (await ada.ask("room", roomId=room))["memberCount"] == 1


async def test_a_fault_in_a_room_ends_its_members_and_nobody_else(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError

    async with memory_server() as server:
        room, [ada, bob] = await together(server, "Ada", "Bob")
        other = await server.sign_in("Cyd")
        elsewhere = await server.open_room(other)
        await other.ask("join", roomId=elsewhere)
        with monkeypatch.context() as patch:
            patch.setattr(Membership, "announce", broken)
            ada.say("typing", roomId=room)
            assert (await ada.end())[0] == 1011
            assert (await bob.end())[0] == 1011
        assert (await other.ask("send", roomId=elsewhere, content="fine"))["type"] == "sent"
        again = await server.sign_in("Ada")
        assert (await again.ask("join", roomId=room))["memberCount"] == 1


async def test_a_room_that_is_left_ends_and_begins_again(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, [ada] = await together(server, "Ada")
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
        room, [ada, bob] = await together(server, "Ada", "Bob")
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


# --- plugins --------------------------------------------------------------------------------------------------------


class Watcher:
    """Notes what it sees, and refuses or changes what it hears."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []

    @hookimpl
    async def evanesce_filter_message(self, draft: Draft) -> Draft | None:
        if draft.content == "rude":
            raise Rejected("Be kind.")
        if draft.content == "broken":
            raise ZeroDivisionError
        if draft.content == "slow":
            await trio.sleep_forever()
        return Draft(**{**_fields(draft), "content": draft.content.upper()}) if draft.content == "loud" else None

    @hookimpl
    async def evanesce_member_joined(self, room_id: str, user_id: str, display_name: str) -> None:
        self.seen.append(("joined", display_name))

    @hookimpl
    async def evanesce_member_left(self, room_id: str, user_id: str) -> None:
        self.seen.append(("left",))

    @hookimpl
    async def evanesce_room_opened(self, room: ChatRoom) -> None:
        self.seen.append(("opened",))
        raise ZeroDivisionError

    @hookimpl
    async def evanesce_room_closed(self, room_id: str) -> None:
        self.seen.append(("closed",))


def _fields(draft: Draft) -> dict[str, str]:
    return {name: getattr(draft, name) for name in draft.__struct_fields__}


async def test_plugins_may_refuse_change_and_watch(autojump_clock: MockClock) -> None:
    watcher = Watcher()
    async with memory_server(plugins={"watcher": watcher}) as server:
        room, [ada, bob] = await together(server, "Ada", "Bob")
        rejected = await ada.ask("send", roomId=room, content="rude")
        assert (rejected["code"], rejected["message"]) == ("rejected", "Be kind.")
        for content in ("broken", "slow"):
            assert (await ada.ask("send", roomId=room, content=content))["code"] == "internal"
        await ada.ask("send", roomId=room, content="loud")
        assert (await bob.until("message"))["content"] == "LOUD"
        await bob.ask("leave", roomId=room)
        await ada.ask("close_room", roomId=room)
        await trio.sleep(1)
        assert watcher.seen[:4] == [("opened",), ("joined", "Ada"), ("joined", "Bob"), ("left",)]
        assert sorted(watcher.seen[4:]) == [("closed",), ("left",)]
