"""Rooms in virtual time: one order, each message once, and who is in them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.config.model import LimitsTable, MessagesTable, RoomsTable
from evanesce.errors import Rejected
from evanesce.hookspecs import hookimpl
from evanesce.model import ChatRoom, Draft, milliseconds
from evanesce.rooms import joining
from evanesce.store.memory import MemoryServer, memory_store
from evanesce.store.message_log import RoomClosed
from evanesce.store.presence import Joiner, JoinOutcome, RulesMissing
from evanesce.store.rules import RoomRules
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import memory_server
from tests.core.rooms.clients import NOWHERE, QUICK, contents, join_room


async def test_everyone_hears_everything_in_one_order(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, clients = await join_room(server, "Ada", "Bob", "Cyd")
        for number in range(100):
            clients[number % 3].say("send", roomId=room, content=str(number), ref=number)
        await wait_all_tasks_blocked()
        received = [client.waiting() for client in clients]
        assert contents(received[0]) == contents(received[1]) == contents(received[2])
        assert sorted(contents(received[0]), key=int) == [str(number) for number in range(100)]
        for client, events in zip(clients, received, strict=True):
            assert all(event["type"] in ("message", "sent") for event in events)
            refs = [event["ref"] for event in events if event["type"] == "sent"]
            assert refs == [number for number in range(100) if clients[number % 3] is client]


async def test_a_burst_goes_to_the_store_in_groups_and_to_members_in_few_frames(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(limits=QUICK, memory=memory) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("send", roomId=room, content="before")  # with it comes the right to say more
        await wait_all_tasks_blocked()
        bob.waiting()
        before = len(bob.frames)
        memory.hold_answers()
        for number in range(200):
            ada.say("send", roomId=room, content=str(number))
        await wait_all_tasks_blocked()
        memory.release_answers()
        await wait_all_tasks_blocked()
        assert contents(bob.waiting()) == [str(number) for number in range(200)]
        assert len(bob.frames) - before == 2
        assert "evanesce_commit_groups_total 3.0" in server.gateway.metrics()
        assert "evanesce_messages_accepted_total 201.0" in server.gateway.metrics()


async def test_a_room_that_was_busy_waits_for_what_follows_on_the_first(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")

        async def groups_for(burst: int) -> float:
            before = groups()
            for number in range(burst):
                ada.say("send", roomId=room, content=str(number))
            await wait_all_tasks_blocked()
            assert contents(bob.waiting()) == [str(number) for number in range(burst)]
            return groups() - before

        def groups() -> float:
            return float(server.gateway.metrics().split("\nevanesce_commit_groups_total ")[1].split()[0])

        # Nobody knows that the first is the first of many, and Trio wakes tasks in a random order: mostly 3 to 8.
        assert 2 <= await groups_for(50) < 25
        assert await groups_for(50) == 1
        assert await groups_for(1) == 1


async def test_sent_has_the_life_of_the_message(autojump_clock: MockClock) -> None:
    async with memory_server(messages=MessagesTable(ttl=2.5)) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        message_id = str(uuid.uuid4())
        sent = await ada.ask("send", roomId=room, content="  spaces stay  ", messageId=message_id)
        assert (sent["messageId"], sent["duplicate"]) == (message_id, False)
        assert milliseconds(sent["expiresAt"]) - milliseconds(sent["createdAt"]) == 2500
        message = await bob.until("message")
        assert message["content"] == "  spaces stay  "
        assert (message["createdAt"], message["expiresAt"]) == (sent["createdAt"], sent["expiresAt"])


async def test_a_repeated_message_id_is_stored_and_told_once(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
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
        room, [ada] = await join_room(server, "Ada")
        assert (await ada.ask("send", roomId=room, content=content))["code"] == code
        assert (await ada.ask("send", roomId=room, content="é" * 2048))["type"] == "sent"


async def test_outside_a_room_nothing_is_told_apart(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, _ = await join_room(server, "Ada")
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
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
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
        room, [ada] = await join_room(server, "Ada")
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
        room, [ada] = await join_room(server, "Ada")
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
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        ada.say("typing", roomId=room)
        assert (await ada.ask("typing", roomId=room))["type"] == "ok"
        await trio.sleep(1)
        await ada.ask("typing", roomId=room)
        assert [event["type"] for event in bob.waiting()] == ["typing"]
        assert ada.waiting() == []
        await trio.sleep(2)
        await ada.ask("typing", roomId=room)
        assert (await bob.hear())["type"] == "typing"


async def test_typing_on_another_server_or_after_coming_back_is_not_told_more_often(autojump_clock: MockClock) -> None:
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(memory=memory, repository=repository) as first,
        memory_server(store=memory_store(server_id="second", server=memory), repository=repository) as second,
        memory_server(store=memory_store(server_id="third", server=memory), repository=repository) as third,
    ):
        room, [bob] = await join_room(first, "Bob")
        for server in (second, third, second):
            ada = await server.sign_in("Ada")
            await ada.ask("join", roomId=room)
            assert (await ada.ask("typing", roomId=room))["type"] == "ok"
            await ada.ask("leave", roomId=room)
        await wait_all_tasks_blocked()
        assert [event["type"] for event in bob.waiting()].count("typing") == 1
        await trio.sleep(3)
        await ada.ask("join", roomId=room)
        await ada.ask("typing", roomId=room)
        assert (await bob.until("typing"))["userId"]


async def test_a_full_room(autojump_clock: MockClock) -> None:
    async with memory_server(rooms=RoomsTable(capacity=2)) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
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
        room, [ada, *_] = await join_room(server, "Ada", "Bob", "Cyd")
        clients = [await server.sign_in(f"user {number}") for number in range(20)]
        for client in clients:
            joined = await client.ask("join", roomId=room)
            assert "members" not in joined
        assert joined["memberCount"] == 23
        await trio.sleep(0.5)
        first = ada.waiting()
        assert [event["type"] for event in first] == ["member_count"]
        await trio.sleep(1)
        assert ada.waiting()[-1] == {"type": "member_count", "roomId": room, "memberCount": 23}
        assert "members" not in await ada.ask("members", roomId=room)
        for client in clients:
            await client.ask("leave", roomId=room)
        await trio.sleep(2)
        reply = await ada.ask("members", roomId=room)
        assert sorted(member["displayName"] for member in reply["members"]) == ["Ada", "Bob", "Cyd"]


async def test_names_are_asked_for_once_and_not_at_every_join(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_server() as server:
        asked: list[int] = []
        join = server.store.presence.join

        async def noted(
            room_id: str, users: Sequence[Joiner], capacity: int, roster: int, rules: RoomRules, *, follows: bool
        ) -> JoinOutcome | RulesMissing | RoomClosed:
            asked.append(roster)
            return await join(room_id, users, capacity, roster, rules, follows=follows)

        monkeypatch.setattr(server.store.presence, "join", noted)
        room, [ada, *_] = await join_room(server, *(f"user {number}" for number in range(5)))
        assert asked == [200, 0, 0, 0, 0]
        late = await server.sign_in("late")
        joined = await late.ask("join", roomId=room)
        assert len(joined["members"]) == joined["memberCount"] == 6
        assert [event["memberCount"] for event in ada.waiting()] == [6]

        monkeypatch.setattr(joining, "ROSTER_SECONDS", 0.0)  # what is published does not arrive in time
        later = await server.sign_in("later")
        joined = await later.ask("join", roomId=room)
        assert len(joined["members"]) == joined["memberCount"] == 7


async def test_closing_a_room_ends_it_for_everyone(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
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


async def test_the_session_log_has_whether_a_connection_was_lost(autojump_clock: MockClock) -> None:
    names = ("ada", "left", "lost", "removed", "signed out", "in a room that is closed")
    repository = MemoryRepository()
    async with memory_server(repository=repository) as server:
        room, [ada, left, lost, removed, out, last] = await join_room(server, *names)
        users = {
            (await client.ask("profile"))["userId"]: name
            for client, name in zip((ada, left, lost, removed, out, last), names, strict=True)
        }
        await left.ask("leave", roomId=room)
        lost.leave()
        await ada.ask("remove_member", roomId=room, userId=next(one for one in users if users[one] == "removed"))
        await out.ask("sign_out")
        await wait_all_tasks_blocked()
        await ada.ask("close_room", roomId=room)
        other, [_] = await join_room(server, "is there when the server stops")
        await wait_all_tasks_blocked()
    logs = repository.session_logs.values()
    assert all(log.leave_time is not None for log in logs)
    found = {users.get(log.user_id, other): log.lost for log in logs}
    assert found == {name: name in ("lost", "signed out") for name in names} | {other: True}


class Watcher:
    """Notes what it sees, and refuses or changes messages."""

    evanesce_sees_content = True

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
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
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
