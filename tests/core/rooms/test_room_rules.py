"""Rooms with rules in virtual time: what members are told, and who may join, stay and write."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.config.model import MessagesTable
from evanesce.errors import PersistenceUnavailable, StoreUnavailable
from evanesce.hookspecs import hookimpl
from evanesce.model import Draft, milliseconds
from evanesce.rooms import policy
from evanesce.rooms.admissions import REDEMPTIONS
from evanesce.store.events import PresenceChanged, RulesUncertain
from evanesce.store.memory import MemoryServer
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import TestServer, memory_server
from tests.core.rooms.clients import QUICK, join_room
from tests.promises.ledger import Ledger

PLAIN = {"messageTtl": 60.0, "access": "link", "locked": False, "encrypted": False}


def of_type(client: MemoryConnection, kind: str) -> list[dict[str, Any]]:
    """Return the events of a type that wait for a client, without `type`; the others are gone too."""
    return [
        {name: value for name, value in event.items() if name != "type"}
        for event in client.waiting()
        if event["type"] == kind
    ]


async def user_id(client: MemoryConnection) -> str:
    found: str = (await client.ask("profile"))["userId"]
    return found


async def refusal(client: MemoryConnection, kind: str, **fields: Any) -> tuple[str, float | None]:
    """Ask for what is refused; return the code, and when it may be tried again."""
    error = await client.ask(kind, **fields)
    assert error["type"] == "error", error
    return error["code"], error.get("retryAfter")


async def come_in(server: TestServer, name: str, room: str, **fields: Any) -> MemoryConnection:
    """Sign in and join; the caller hears the answer."""
    client = await server.sign_in(name)
    assert (await client.ask("join", roomId=room, **fields))["type"] == "joined"
    return client


async def test_members_are_told_new_rules_once_and_who_joins_gets_them(autojump_clock: MockClock) -> None:
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(memory=memory, repository=repository, limits=QUICK) as one,
        memory_server(memory=memory, repository=repository, limits=QUICK) as two,
    ):
        room, [ada, bob] = await join_room(one, "Ada", "Bob")
        cyd = await two.sign_in("Cyd")
        assert (await cyd.ask("join", roomId=room))["room"] == PLAIN
        reply = await ada.ask("update_room", roomId=room, messageTtl=5, locked=True)
        assert {name: reply[name] for name in PLAIN} == PLAIN | {"messageTtl": 5.0, "locked": True}
        await wait_all_tasks_blocked()
        told = {"roomId": room, "messageTtl": 5.0, "access": "link", "locked": True}
        for client in (bob, cyd):
            assert of_type(client, "room_updated") == [told]
        again = await cyd.ask("join", roomId=room)
        assert again["room"] == PLAIN | {"messageTtl": 5.0, "locked": True}
        sent = await cyd.ask("send", roomId=room, content="short")
        await ada.ask("update_room", roomId=room)  # changes nothing
        await wait_all_tasks_blocked()
        assert of_type(bob, "room_updated") == []
        assert sent["expiresAt"][17:19] != sent["createdAt"][17:19]


async def test_a_message_lives_as_long_as_its_room_or_its_sender_says(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK, messages=MessagesTable(shortest_ttl=2.0)) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("update_room", roomId=room, messageTtl=10)
        await bob.ask("send", roomId=room, content="ten")
        await bob.ask("send", roomId=room, content="three", ttl=3)
        for wrong in (1.9, 10.1, -1, 0):
            error = await bob.ask("send", roomId=room, content="wrong", ttl=wrong)
            assert (error["code"], error["field"]) == ("bad_request", "ttl")
        await trio.sleep(3.5)
        cyd = await server.sign_in("Cyd")
        joined = await cyd.ask("join", roomId=room)
        assert [message["content"] for message in joined["messages"]] == ["ten"]
        await trio.sleep(7)
        joined = await cyd.ask("join", roomId=room)
        assert joined["messages"] == []


async def test_a_reply_names_the_message_that_it_answers(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        first = await ada.ask("send", roomId=room, content="question")
        await wait_all_tasks_blocked()
        ada.waiting()
        await bob.ask("send", roomId=room, content="answer", replyTo=first["messageId"])
        await wait_all_tasks_blocked()
        assert [message.get("replyTo") for message in of_type(ada, "message")] == [first["messageId"]]
        joined = await ada.ask("join", roomId=room)
        assert [message.get("replyTo") for message in joined["messages"]] == [None, first["messageId"]]


async def test_a_locked_room_admits_its_creator_and_who_comes_back_in_time(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob, cyd, dan] = await join_room(server, "Ada", "Bob", "Cyd", "Dan")
        await ada.ask("update_room", roomId=room, locked=True)
        eve = await server.sign_in("Eve")
        assert (await refusal(eve, "join", roomId=room))[0] == "room_locked"
        bob.leave()  # the connection is lost
        dan.leave()
        assert (await cyd.ask("leave", roomId=room))["type"] == "left"
        assert (await refusal(cyd, "join", roomId=room))[0] == "room_locked"
        await trio.sleep(30)
        await come_in(server, "Bob", room)
        await ada.ask("leave", roomId=room)
        assert (await ada.ask("join", roomId=room))["type"] == "joined"
        await trio.sleep(31)
        late = await server.sign_in("Dan")
        assert (await refusal(late, "join", roomId=room))[0] == "room_locked"
        await ada.ask("update_room", roomId=room, locked=False)
        assert (await late.ask("join", roomId=room))["type"] == "joined"


async def test_a_removed_person_is_out_on_all_connections_and_servers(autojump_clock: MockClock) -> None:
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(memory=memory, repository=repository, limits=QUICK) as one,
        memory_server(memory=memory, repository=repository, limits=QUICK) as two,
    ):
        room, [ada, bob] = await join_room(one, "Ada", "Bob")
        elsewhere = await come_in(two, "Bob", room)
        cyd = await come_in(two, "Cyd", room)
        cyd.waiting()
        ada.waiting()
        bobs = await user_id(bob)
        ada.say("remove_member", roomId=room, userId=bobs, banSeconds=60)
        await wait_all_tasks_blocked()
        for client in (bob, elsewhere):
            [told] = of_type(client, "removed")
            assert (told["reason"], "until" in told) == ("creator", True)
            assert (await refusal(client, "send", roomId=room, content="still here?"))[0] == "not_member"
        for client in (ada, cyd):
            [left] = of_type(client, "member_left")
            assert left == {"roomId": room, "userId": bobs, "memberCount": 2, "removed": True}
        code, wait = await refusal(elsewhere, "join", roomId=room)
        assert code == "banned"
        assert wait is not None
        assert 59 < wait <= 60
        await trio.sleep(60)
        assert (await bob.ask("join", roomId=room))["type"] == "joined"


async def test_a_person_who_is_removed_without_a_ban_may_come_back(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob, cyd] = await join_room(server, "Ada", "Bob", "Cyd")
        await ada.ask("remove_member", roomId=room, userId=await user_id(bob))
        await wait_all_tasks_blocked()
        assert of_type(bob, "removed") == [{"roomId": room, "reason": "creator"}]
        assert (await bob.ask("join", roomId=room))["memberCount"] == 3
        await bob.ask("leave", roomId=room)
        await wait_all_tasks_blocked()
        assert [left.get("removed", False) for left in of_type(cyd, "member_left")] == [True, False]


async def test_a_muted_person_neither_writes_nor_types(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob, cyd] = await join_room(server, "Ada", "Bob", "Cyd")
        bobs = await user_id(bob)
        await ada.ask("mute", roomId=room, userId=bobs, seconds=20)
        await wait_all_tasks_blocked()
        for client in (cyd, bob):
            [told] = of_type(client, "member_muted")
            assert (told["userId"], "until" in told) == (bobs, True)
        for command in ({"kind": "send", "content": "hello"}, {"kind": "typing"}):
            code, wait = await refusal(bob, **command, roomId=room)
            assert code == "muted"
            assert wait is not None
            assert 19 < wait <= 20
        await ada.ask("mute", roomId=room, userId=bobs, seconds=0)
        await wait_all_tasks_blocked()
        assert of_type(cyd, "member_muted") == [{"roomId": room, "userId": bobs}]
        assert (await bob.ask("send", roomId=room, content="again"))["type"] == "sent"
        await ada.ask("mute", roomId=room, userId=bobs, seconds=20)
        await trio.sleep(20)
        assert (await bob.ask("send", roomId=room, content="later"))["type"] == "sent"
        assert (await bob.ask("typing", roomId=room))["type"] == "ok"


async def test_who_joins_hears_the_votes_and_mutes_that_run(autojump_clock: MockClock) -> None:
    """On the server that has told of them, and on one that has just begun to follow the room."""
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(limits=QUICK, memory=memory, repository=repository) as one,
        memory_server(limits=QUICK, memory=memory, repository=repository) as two,
    ):
        room, [ada, bob, cyd, dan, eve] = await join_room(one, "Ada", "Bob", "Cyd", "Dan", "Eve")
        bobs, cyds, dans = [await user_id(client) for client in (bob, cyd, dan)]
        for who, seconds in ((bobs, 100), (cyds, 200)):
            await ada.ask("mute", roomId=room, userId=who, seconds=seconds)
        await ada.ask("leave", roomId=room)
        ballot = await bob.ask("vote_remove", roomId=room, userId=dans)
        fields = ("roomId", "userId", "votes", "needed", "expiresAt")
        for server, name, votes, outcome in ((one, "Fay", 2, None), (two, "Gus", 3, "removed")):
            client = await server.sign_in(name)
            assert (await client.ask("join", roomId=room))["type"] == "joined"
            told = client.waiting()
            [vote] = [event for event in told if event["type"] == "vote"]
            assert {field: vote[field] for field in fields} == {field: ballot[field] for field in fields}
            assert "outcome" not in vote
            muted = {event["userId"]: event["until"] for event in told if event["type"] == "member_muted"}
            assert muted.keys() == {bobs, cyds}
            assert (await client.ask("join", roomId=room))["type"] == "joined"
            assert client.waiting() == [], "who is in the room already has heard it"
            bob.waiting()
            ballot = await client.ask("vote_remove", roomId=room, userId=dans)
            await wait_all_tasks_blocked()
            assert (ballot["votes"], ballot["needed"]) == (votes, 3)
            assert [event.get("outcome") for event in of_type(bob, "vote")] == [outcome]
        hal = await come_in(two, "Hal", room)
        assert [event["type"] for event in hal.waiting()] == ["member_muted", "member_muted"], "that vote has ended"
        await eve.ask("vote_remove", roomId=room, userId=cyds)
        ivy = await come_in(two, "Ivy", room)
        await wait_all_tasks_blocked()
        await trio.sleep(61)
        assert [event.get("outcome") for event in of_type(ivy, "vote")] == [None, "expired"]


async def test_who_joins_hears_of_the_own_mute_and_of_so_many_others(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "MOST_TOLD", 2)
    async with memory_server(limits=QUICK) as server:
        room, [ada, *others] = await join_room(server, "Ada", "Bob", "Cyd", "Dan", "Eve")
        ids = [await user_id(client) for client in others]
        for one in ids:
            await ada.ask("mute", roomId=room, userId=one, seconds=100)
        await others[0].ask("leave", roomId=room)
        others[0].waiting()
        await others[0].ask("join", roomId=room)
        assert [event["userId"] for event in of_type(others[0], "member_muted")] == [ids[0], ids[-1]]


async def test_a_room_remembers_so_many_mutes(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of a server holds no more, however many were muted; the store refuses their messages all the same."""
    monkeypatch.setattr(policy, "MOST_MUTES", 3)
    names = ["Bob", "Cyd", "Dan", "Eve", "Fay"]
    async with memory_server(limits=QUICK) as server:
        room, [ada, *others] = await join_room(server, "Ada", *names)
        running = server.hub.running(room)
        assert running is not None
        for number, client in enumerate(others):
            seconds = 1 if number < 3 else 100 + number
            await ada.ask("mute", roomId=room, userId=await user_id(client), seconds=seconds)
        await wait_all_tasks_blocked()
        known = running._policy._mutes
        assert len(known) == 3
        assert {await user_id(client) for client in others[3:]} <= known.keys(), "the first to end go"
        for client in others:
            assert (await refusal(client, "send", roomId=room, content="hello"))[0] == "muted"
        await trio.sleep(2)
        for seconds in (200, 300):
            await ada.ask("mute", roomId=room, userId=await user_id(others[0]), seconds=seconds)
        await wait_all_tasks_blocked()
        assert {await user_id(client) for client in (others[0], *others[3:])} == running._policy._mutes.keys()


async def test_a_vote_ends_after_a_minute_or_with_the_removal(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob, cyd, dan] = await join_room(server, "Ada", "Bob", "Cyd", "Dan")
        dans = await user_id(dan)
        assert (await refusal(bob, "vote_remove", roomId=room, userId=dans))[0] == "forbidden"  # Ada is here
        await ada.ask("leave", roomId=room)
        vote = await bob.ask("vote_remove", roomId=room, userId=dans)
        assert (vote["votes"], vote["needed"]) == (1, 2)
        again = await bob.ask("vote_remove", roomId=room, userId=dans)  # one person, one vote
        assert (again["votes"], again["expiresAt"]) == (1, vote["expiresAt"])
        await trio.sleep(61)
        for client in (bob, cyd, dan):
            assert [told.get("outcome") for told in of_type(client, "vote")][-1] == "expired"
        await bob.ask("vote_remove", roomId=room, userId=dans)
        last = await cyd.ask("vote_remove", roomId=room, userId=dans)
        assert (last["votes"], last["needed"]) == (2, 2)
        await wait_all_tasks_blocked()
        told = dan.waiting()
        assert [vote.get("outcome") for vote in told if vote["type"] == "vote"] == [None, "removed"]
        assert [removed["reason"] for removed in told if removed["type"] == "removed"] == ["vote"]
        bob.waiting()
        code, wait = await refusal(dan, "join", roomId=room)
        assert code == "banned"
        assert wait is not None
        assert 3590 < wait <= 3600
        await trio.sleep(61)
        assert of_type(bob, "vote") == []  # the vote has ended: nothing expires
        assert [ban["userId"] for ban in (await ada.ask("bans", roomId=room))["bans"]] == [dans]


@pytest.mark.parametrize("missed", ["the removal", "the first vote"])
async def test_what_was_missed_of_a_vote_is_read_in_the_store(missed: str, autojump_clock: MockClock) -> None:
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(limits=QUICK, memory=memory, repository=repository) as one,
        memory_server(limits=QUICK, memory=memory, repository=repository) as two,
    ):
        room, [ada, bob, cyd, dan] = await join_room(one, "Ada", "Bob", "Cyd", "Dan")
        eve = await come_in(two, "Eve", room)
        fay = await come_in(two, "Fay", room)
        await ada.ask("leave", roomId=room)
        dans = await user_id(dan)
        if missed == "the removal":
            for client in (bob, cyd):
                await client.ask("vote_remove", roomId=room, userId=dans)
        await wait_all_tasks_blocked()
        [deaf] = [feed for feed in memory.rooms[room].feeds if feed is not memory.rooms[room].feeds[0]]
        memory.rooms[room].feeds.remove(deaf)
        last = await eve.ask("vote_remove", roomId=room, userId=dans)
        assert last["votes"] == (3 if missed == "the removal" else 1)
        await wait_all_tasks_blocked()
        memory.rooms[room].feeds.append(deaf)
        deaf.give([PresenceChanged(memory.rooms[room].presence(10)), RulesUncertain()])
        await trio.sleep(61)
        outcomes = [vote.get("outcome") for vote in of_type(fay, "vote")]
        assert outcomes == ([None, None, "removed"] if missed == "the removal" else [None, "expired"])


async def test_who_was_admitted_stays_admitted(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("update_room", roomId=room, access="invite")
        cyd = await server.sign_in("Cyd")
        assert (await refusal(cyd, "join", roomId=room))[0] == "invite_required"
        assert (await refusal(cyd, "join", roomId=room, invite="wrong"))[0] == "invite_spent"
        invite = await ada.ask("invite", roomId=room, people=1)
        secret = invite["link"].partition("#invite=")[2]
        assert (await cyd.ask("join", roomId=room, invite=secret))["type"] == "joined"
        await cyd.ask("leave", roomId=room)
        assert (await cyd.ask("join", roomId=room, invite=secret))["type"] == "joined"  # no second place is taken
        dan = await server.sign_in("Dan")
        assert (await refusal(dan, "join", roomId=room, invite=secret))[0] == "invite_spent"
        await bob.ask("leave", roomId=room)  # was there when it became a room for those who are invited
        assert (await bob.ask("join", roomId=room))["type"] == "joined"
        await ada.ask("leave", roomId=room)
        assert (await ada.ask("join", roomId=room))["type"] == "joined"


class SlowRepository(MemoryRepository):
    """A repository that answers whether a user was admitted only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = trio.Event()
        self.answer = trio.Event()
        self.down = False

    async def admitted(self, admissions: Any) -> Any:
        self.asked.set()
        await self.answer.wait()
        if self.down:
            raise PersistenceUnavailable
        return await super().admitted(admissions)


async def test_no_message_waits_for_the_database_with_a_join(autojump_clock: MockClock) -> None:
    repository = SlowRepository()
    async with memory_server(limits=QUICK, repository=repository) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("update_room", roomId=room, access="invite")
        secret = (await ada.ask("invite", roomId=room))["link"].partition("#invite=")[2]
        cyd, dan = await server.sign_in("Cyd"), await server.sign_in("Dan")
        cyd.say("join", roomId=room, invite=secret, ref="in")
        await repository.asked.wait()
        assert (await bob.ask("send", roomId=room, content="meanwhile"))["type"] == "sent"
        dan.say("join", roomId=room, ref="gone")
        await wait_all_tasks_blocked()
        dan.leave()  # its join waits, and must not make it a member
        await wait_all_tasks_blocked()
        repository.answer.set()
        joined = await cyd.until("joined", ref="in")
        assert [message["content"] for message in joined["messages"]] == ["meanwhile"]
        assert joined["memberCount"] == 3
        await wait_all_tasks_blocked()
        assert (await ada.ask("members", roomId=room))["memberCount"] == 3


class CountingRepository(MemoryRepository):
    """Counts how many people it admits at the same time: the calls wait until all that may come are there."""

    admitting = most = 0

    async def admit(self, *arguments: Any) -> bool | None:
        self.admitting += 1
        self.most = max(self.most, self.admitting)
        await wait_all_tasks_blocked()
        self.admitting -= 1
        return await super().admit(*arguments)


async def test_the_database_admits_so_many_people_at_once(autojump_clock: MockClock) -> None:
    repository = CountingRepository()
    async with memory_server(limits=QUICK, repository=repository) as server:
        room, [ada] = await join_room(server, "Ada")
        await ada.ask("update_room", roomId=room, access="invite")
        secret = (await ada.ask("invite", roomId=room, people=1_000))["link"].partition("#invite=")[2]
        clients = [await server.sign_in(f"Guest {n}", address=f"10.0.0.{n}") for n in range(3 * REDEMPTIONS)]
        for client in clients:
            client.say("join", roomId=room, invite=secret, ref="in")
        for client in clients:
            await client.until("joined", ref="in")
        assert repository.most == REDEMPTIONS


@pytest.mark.parametrize("last", [False, True])
async def test_a_join_that_the_database_cannot_decide_is_refused(last: bool, autojump_clock: MockClock) -> None:
    """Also where nobody else is in the room, so that it ends."""
    repository = SlowRepository()
    repository.down = True
    repository.answer.set()
    async with memory_server(limits=QUICK, repository=repository) as server:
        room, [ada] = await join_room(server, "Ada")
        await ada.ask("update_room", roomId=room, access="invite")
        if last:
            await ada.ask("leave", roomId=room)
        bob = await server.sign_in("Bob")
        assert (await refusal(bob, "join", roomId=room))[0] == "persistence_unavailable"
        repository.down = False
        assert (await refusal(bob, "join", roomId=room))[0] == "invite_required"


async def test_a_store_that_lost_its_memory_gets_the_rules_from_the_database(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(limits=QUICK, memory=memory) as server:
        room, [ada, bob, cyd] = await join_room(server, "Ada", "Bob", "Cyd")
        bobs = await user_id(bob)
        await ada.ask("update_room", roomId=room, messageTtl=7, locked=True)
        await ada.ask("remove_member", roomId=room, userId=bobs, banSeconds=600)
        memory.go_down()
        memory.come_back(with_memory=False)
        await trio.sleep(2)
        eve = await server.sign_in("Eve")
        assert (await refusal(bob, "join", roomId=room))[0] == "banned"
        assert (await refusal(eve, "join", roomId=room))[0] == "room_locked"
        assert (await cyd.ask("join", roomId=room))["room"] == PLAIN | {"messageTtl": 7.0, "locked": True}


async def test_who_comes_back_to_a_locked_room_may_be_asked_about_in_the_database(autojump_clock: MockClock) -> None:
    """The join waits for the database, and is tried again: that must not count as leaving."""
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob, *_] = await join_room(server, "Ada", "Bob", "Cyd")
        await ada.ask("update_room", roomId=room, locked=True, access="invite")
        bob.leave()
        await wait_all_tasks_blocked()
        await come_in(server, "Bob", room)


@pytest.mark.parametrize("changes", [False, True])
async def test_a_database_that_was_restored_is_obeyed_though_its_versions_are_lower(
    changes: bool, autojump_clock: MockClock
) -> None:
    """On all servers: at the next change, and without one within a minute."""
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(limits=QUICK, memory=memory, repository=repository) as one,
        memory_server(limits=QUICK, memory=memory, repository=repository) as two,
    ):
        room, [ada] = await join_room(one, "Ada")
        bob = await come_in(two, "Bob", room)
        await ada.ask("update_room", roomId=room, messageTtl=30)
        old = repository.chat_rooms[room]
        for locked in (True, False, True):
            await ada.ask("update_room", roomId=room, locked=locked, messageTtl=20)
        repository.chat_rooms[room] = old
        if changes:
            assert (await ada.ask("update_room", roomId=room, messageTtl=40))["messageTtl"] == 40
        else:
            await trio.sleep(65)
        expected = PLAIN | {"messageTtl": 40.0 if changes else 30.0}
        await wait_all_tasks_blocked()
        for client in (ada, bob):
            assert (await client.ask("join", roomId=room))["room"] == expected
        await come_in(two, "Cyd", room)
        assert (await ada.ask("update_room", roomId=room, locked=True))["locked"] is True
        eve = await two.sign_in("Eve")
        assert (await refusal(eve, "join", roomId=room))[0] == "room_locked"


class SlowHistory:
    """The next histories of a server wait until `answer` is set, and then fail if `fails`."""

    def __init__(self, server: TestServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.answer, self.fails = trio.Event(), trio.Event(), False
        self._history = server.store.messages.history
        monkeypatch.setattr(server.store.messages, "history", self)

    async def __call__(self, *arguments: Any) -> Any:
        self.asked.set()
        await self.answer.wait()
        if self.fails:
            raise StoreUnavailable
        return await self._history(*arguments)


async def test_who_could_not_come_back_to_a_locked_room_may_try_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("update_room", roomId=room, locked=True)
        bob.leave()
        await wait_all_tasks_blocked()
        history = SlowHistory(server, monkeypatch)
        history.fails = True
        history.answer.set()
        back = await server.sign_in("Bob")
        assert (await refusal(back, "join", roomId=room))[0] == "store_unavailable"
        history.fails = False
        assert (await back.ask("join", roomId=room))["type"] == "joined"


@pytest.mark.parametrize("ban", [0, 600])
@pytest.mark.parametrize("member", [False, True])
async def test_a_join_that_a_removal_overtakes_is_refused_as_such(
    member: bool, ban: int, autojump_clock: MockClock
) -> None:
    """The removal comes before the answer of the store to the join, of a new member or one who joins again."""
    memory = MemoryServer()
    async with memory_server(limits=QUICK, memory=memory) as server:
        room, [ada, bob, cyd] = await join_room(server, "Ada", "Bob", "Cyd")
        bobs = await user_id(bob)
        if not member:
            await bob.ask("leave", roomId=room)
        join = server.store.presence.join
        joined, go_on = trio.Event(), trio.Event()

        async def slow(*given: Any, **named: Any) -> Any:
            outcome = await join(*given, **named)
            joined.set()
            await go_on.wait()
            return outcome

        object.__setattr__(server.store.presence, "join", slow)
        bob.say("join", roomId=room, ref="in")
        await joined.wait()
        await trio.sleep(0.1)
        assert (await ada.ask("remove_member", roomId=room, userId=bobs, banSeconds=ban))["type"] == "ok"
        await wait_all_tasks_blocked()
        go_on.set()
        refused = await bob.until("error", ref="in")
        assert refused["code"] == ("banned" if ban else "not_member")
        assert ("retryAfter" in refused) == bool(ban)
        assert refused["retry"] is False
        await wait_all_tasks_blocked()
        assert bobs not in memory.rooms[room].names
        assert bobs not in memory.rooms[room].away, "who was removed has not lost the connection"
        left = of_type(cyd, "member_left")
        assert [event.get("removed") for event in left] == ([True] if member else [None, True]), "each once"


async def test_who_is_removed_while_the_history_is_read_does_not_get_in(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("update_room", roomId=room, locked=True)
        bobs = await user_id(bob)
        bob.leave()
        await wait_all_tasks_blocked()
        history = SlowHistory(server, monkeypatch)
        back = await server.sign_in("Bob")
        back.say("join", roomId=room, ref="in")
        await history.asked.wait()
        await trio.sleep(0.1)
        await ada.ask("remove_member", roomId=room, userId=bobs)
        history.answer.set()
        assert (await back.until("error", ref="in"))["code"] == "not_member"
        await ada.ask("send", roomId=room, content="without him")
        await wait_all_tasks_blocked()
        assert of_type(back, "message") == []
        assert (await ada.ask("members", roomId=room))["memberCount"] == 1
        assert (await refusal(back, "join", roomId=room))[0] == "room_locked"


@pytest.mark.parametrize("ban", [0, 600])
async def test_who_is_removed_is_out_though_the_clock_of_the_store_went_back(
    ban: int, autojump_clock: MockClock
) -> None:
    memory = Ledger(60)
    async with memory_server(limits=QUICK, memory=memory) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await trio.sleep(60)
        memory.set_clock(-3600)
        await ada.ask("remove_member", roomId=room, userId=await user_id(bob), banSeconds=ban)
        await wait_all_tasks_blocked()
        assert len(of_type(bob, "removed")) == 1
        assert (await ada.ask("members", roomId=room))["memberCount"] == 1


async def test_who_came_back_is_not_removed_again_though_the_clock_of_the_store_went_back(
    autojump_clock: MockClock,
) -> None:
    memory = Ledger(60)
    async with memory_server(limits=QUICK, memory=memory) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("remove_member", roomId=room, userId=await user_id(bob))
        memory.set_clock(-3600)
        assert (await bob.ask("join", roomId=room))["type"] == "joined"
        memory.go_down()
        memory.come_back()  # removals may have been missed: the database is asked
        await trio.sleep(2)
        assert of_type(bob, "removed") == []
        assert (await ada.ask("members", roomId=room))["memberCount"] == 2


class Held:
    """A method of an object that waits until it is released."""

    def __init__(self, owner: Any, name: str) -> None:
        self._method = getattr(owner, name)
        self._released = trio.Event()
        object.__setattr__(owner, name, self)  # stores are frozen

    async def __call__(self, *given: Any, **named: Any) -> Any:
        await self._released.wait()
        return await self._method(*given, **named)

    def release(self) -> None:
        self._released.set()


@pytest.mark.parametrize("by", ["leave", "disconnection"])
async def test_a_join_that_was_decided_is_void_when_its_user_has_left(by: str, autojump_clock: MockClock) -> None:
    """The answer of the database comes while the room is busy: the join is behind the request to leave."""
    memory, repository = MemoryServer(), MemoryRepository()
    async with memory_server(limits=QUICK, memory=memory, repository=repository) as server:
        room, [ada] = await join_room(server, "Ada")
        await ada.ask("update_room", roomId=room, access="invite")
        secret = (await ada.ask("invite", roomId=room))["link"].partition("#invite=")[2]
        bob = await server.sign_in("Bob")
        deciding = Held(repository, "admit")
        bob.say("join", roomId=room, invite=secret, ref="in")
        await wait_all_tasks_blocked()
        busy = Held(server.store.events, "typing")
        ada.say("typing", roomId=room)
        await wait_all_tasks_blocked()
        if by == "leave":
            bob.say("leave", roomId=room, ref="out")
        else:
            bob.leave()
        await wait_all_tasks_blocked()
        deciding.release()
        await wait_all_tasks_blocked()
        busy.release()
        await trio.sleep(1)
        assert memory.rooms[room].names.keys() == {await user_id(ada)}
        if by == "leave":
            answers = [(event["ref"], event.get("code", event["type"])) for event in bob.waiting()]
            assert sorted(answers) == [("in", "not_member"), ("out", "left")]
            assert (await bob.ask("join", roomId=room))["type"] == "joined"  # the place of the invite is Bob's


async def test_who_is_removed_while_asking_to_join_again_is_a_member_of_the_room_and_of_the_session(
    autojump_clock: MockClock,
) -> None:
    memory = MemoryServer()
    async with memory_server(limits=QUICK, memory=memory) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        bobs = await user_id(bob)
        again = await server.sign_in("Ada")
        busy = Held(server.store.events, "typing")
        ada.say("typing", roomId=room)
        await wait_all_tasks_blocked()
        bob.say("join", roomId=room, ref="again")
        await wait_all_tasks_blocked()
        assert (await again.ask("remove_member", roomId=room, userId=bobs))["type"] == "ok"
        await wait_all_tasks_blocked()
        busy.release()
        await bob.until("joined", ref="again")
        assert (await bob.ask("leave", roomId=room))["type"] == "left"
        await wait_all_tasks_blocked()
        assert memory.rooms[room].names.keys() == {await user_id(ada)}


async def test_a_removal_that_the_store_refused_once_is_made_up_for(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(limits=QUICK, memory=memory) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await trio.sleep(1)
        install = server.store.rules.install
        failed: list[str] = []

        async def fails_once(*given: Any, **named: Any) -> Any:
            if not failed:
                failed.append("install")
                raise StoreUnavailable
            return await install(*given, **named)

        object.__setattr__(server.store.rules, "install", fails_once)
        bobs = await user_id(bob)
        error = await ada.ask("remove_member", roomId=room, userId=bobs, banSeconds=600)
        assert error["code"] == "store_unavailable"
        await trio.sleep(5)  # nobody asks again
        assert [told["reason"] for told in of_type(bob, "removed")] == ["creator"]
        assert memory.rooms[room].names.keys() == {await user_id(ada)}
        assert (await refusal(bob, "join", roomId=room))[0] == "banned"


async def test_a_fault_of_a_locked_room_locks_nobody_out(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        room, [ada, bob] = await join_room(server, "Ada", "Bob")
        await ada.ask("update_room", roomId=room, locked=True)

        async def fails(*given: Any) -> None:
            raise RuntimeError("a defect")

        object.__setattr__(server.store.events, "typing", fails)
        bob.say("typing", roomId=room)
        assert (await bob.end())[0] == 1011
        await come_in(server, "Bob", room)


class Shouting:
    """A filter that knows nothing of encryption."""

    evanesce_sees_content = True

    @hookimpl
    async def evanesce_filter_message(self, draft: Draft) -> Draft:
        return msgspec.structs.replace(draft, content=f"{draft.content}!")


async def test_no_filter_puts_plain_text_into_an_encrypted_room(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK, plugins={"shouting": Shouting()}) as server:
        ada = await server.sign_in("Ada")
        room = (await ada.ask("create_room", encrypted=True))["roomId"]
        await ada.ask("join", roomId=room)
        sealed = base64.urlsafe_b64encode(bytes(12 + 256 + 16)).decode().rstrip("=")
        assert (await refusal(ada, "send", roomId=room, content=sealed))[0] == "rejected"


async def test_a_shorter_longest_ttl_holds_for_rooms_that_chose_a_longer_one(autojump_clock: MockClock) -> None:
    """So does another default: what the store has of the rules is from before."""
    memory, repository = MemoryServer(), MemoryRepository()
    rooms: list[str] = []
    async with memory_server(limits=QUICK, memory=memory, repository=repository) as before:
        ada = await before.sign_in("Ada")
        for options in ({"messageTtl": 600}, {"access": "invite"}):
            rooms.append((await ada.ask("create_room", **options))["roomId"])
            await ada.ask("join", roomId=rooms[-1])
    shorter = MessagesTable(ttl=5.0, longest_ttl=20.0)
    async with memory_server(limits=QUICK, memory=memory, repository=repository, messages=shorter) as after:
        ada = await after.sign_in("Ada")
        for room, ttl in zip(rooms, (20.0, 5.0), strict=True):
            assert (await ada.ask("room", roomId=room))["messageTtl"] == ttl
            assert (await ada.ask("join", roomId=room))["room"]["messageTtl"] == ttl
            sent = await ada.ask("send", roomId=room, content="hello")
            lifetime = milliseconds(sent["expiresAt"]) - milliseconds(sent["createdAt"])
            assert lifetime == ttl * 1000
