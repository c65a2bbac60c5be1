"""Votes in rooms, in virtual time: who votes, and what becomes of the ban."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from evanesce.config.model import RoomsTable
from evanesce.interfaces import Answered, Caller
from evanesce.model import Identity
from evanesce.rooms import room_queue
from evanesce.store.memory import MemoryServer
from evanesce.testing.server import NameAuthenticator, memory_server
from tests.core.accounts.people import NOBODY, QUICK, DeafRepository, Watcher, gather, vote_out


async def test_what_a_vote_needs(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan")
        dan = people.ids["Dan"]
        assert await people.refused("Bob", "vote_remove", userId=NOBODY) == ("bad_request", "userId")
        assert await people.refused("Bob", "vote_remove", userId=people.ids["Bob"]) == ("bad_request", "userId")
        assert await people.refused("Bob", "vote_remove", userId=dan) == ("forbidden", None)  # Ada is there
        assert await people.refused("Bob", "vote_remove", userId=people.ids["Ada"]) == ("forbidden", None)
        await people.ask("Ada", "leave")
        assert await people.refused("Bob", "vote_remove", userId=people.ids["Ada"]) == ("forbidden", None)  # nor now
        eve = await server.sign_in("Eve")
        eves = (await eve.ask("profile"))["userId"]
        assert await people.refused("Bob", "vote_remove", userId=eves) == ("bad_request", "userId")  # is not there
        reply = await people.ask("Bob", "vote_remove", userId=dan)
        assert {name: reply[name] for name in ("type", "roomId", "userId", "votes", "needed")} == {
            "type": "vote",
            "roomId": people.room_id,
            "userId": dan,
            "votes": 1,
            "needed": 2,
        }
        await people.ask("Dan", "leave")
        assert await people.refused("Bob", "vote_remove", userId=people.ids["Cyd"]) == (
            "forbidden",
            None,
        )  # two are left


class Guests(NameAuthenticator):
    """Signs guests in: people who prove nothing."""

    provider = "guest"

    async def authenticate(self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None) -> Identity:
        await trio.lowlevel.checkpoint()
        name = str(credential["name"])
        return Identity(subject=name, display_name=name, guest=True)


@pytest.mark.parametrize(
    ("others", "allowed", "votes"), [(True, False, False), (True, True, True), (False, False, True)]
)
async def test_guests_vote_where_nobody_is_more_than_a_guest(
    others: bool, allowed: bool, votes: bool, autojump_clock: MockClock
) -> None:
    authenticators = {"guest": Guests()} | ({"name": NameAuthenticator()} if others else {})
    rooms = RoomsTable(guests_vote=allowed)
    async with memory_server(limits=QUICK, authenticators=authenticators, rooms=rooms) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan", provider="guest")
        await people.ask("Ada", "leave")
        reply = await people.ask("Bob", "vote_remove", userId=people.ids["Dan"])
        assert (reply["type"], reply.get("code")) == (("vote", None) if votes else ("error", "forbidden"))


async def test_the_ban_of_a_vote_lasts_and_its_creator_can_end_it(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(limits=QUICK, memory=memory) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan")
        await people.ask("Ada", "leave")
        await vote_out(people, "Dan", "Bob", "Cyd")
        [ban] = server.repository.room_bans.values()
        assert (ban.reason, ban.user_id) == ("vote", people.ids["Dan"])
        memory.go_down()
        memory.come_back(with_memory=False)
        await trio.sleep(3)
        assert await people.refused("Dan", "join") == ("banned", None)
        assert [ban["userId"] for ban in (await people.ask("Ada", "bans"))["bans"]] == [people.ids["Dan"]]
        assert (await people.ask("Ada", "unban", userId=people.ids["Dan"]))["type"] == "ok"
        assert (await people.ask("Dan", "join"))["type"] == "joined"


async def test_the_ban_of_a_vote_is_written_when_the_database_is_back(autojump_clock: MockClock) -> None:
    repository = DeafRepository()
    async with memory_server(limits=QUICK, repository=repository) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan")
        await people.ask("Ada", "leave")
        repository.deaf = True
        await vote_out(people, "Dan", "Bob", "Cyd")
        assert await people.refused("Dan", "join") == ("banned", None)  # the store has it at once
        await trio.sleep(30)
        assert repository.room_bans == {}
        repository.deaf = False
        await trio.sleep(room_queue.RETRY_SECONDS + 0.1)
        [ban] = repository.room_bans.values()
        assert (ban.reason, ban.user_id) == ("vote", people.ids["Dan"])


async def test_the_ban_of_a_vote_that_has_ended_is_not_written(autojump_clock: MockClock) -> None:
    repository = DeafRepository()
    async with memory_server(limits=QUICK, repository=repository) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan")
        await people.ask("Ada", "leave")
        repository.deaf = True
        await vote_out(people, "Dan", "Bob", "Cyd")
        await trio.sleep(3_601)
        repository.deaf = False
        await trio.sleep(3)
        assert repository.room_bans == {}


async def test_the_ban_of_a_vote_shortens_none_of_the_creator(autojump_clock: MockClock) -> None:
    memory, repository = MemoryServer(), DeafRepository()
    async with (
        memory_server(limits=QUICK, memory=memory, repository=repository) as one,
        memory_server(limits=QUICK, memory=memory, repository=repository) as two,
    ):
        people = await gather(one, "Ada", "Bob", "Cyd", "Dan")
        await people.ask("Ada", "leave")
        repository.deaf = True
        await vote_out(people, "Dan", "Bob", "Cyd")
        repository.deaf = False
        ada = await two.sign_in("Ada")
        fields = {"roomId": people.room_id, "userId": people.ids["Dan"], "banSeconds": 100_000}
        assert (await ada.ask("remove_member", **fields))["type"] == "ok"
        await trio.sleep(3)
        [ban] = repository.room_bans.values()
        assert ban.reason == "creator"


@pytest.mark.parametrize("deaf", [False, True])
async def test_a_ban_by_the_creator_takes_the_place_of_the_ban_of_a_vote(deaf: bool, autojump_clock: MockClock) -> None:
    """Also where the database does not have the ban of the vote yet."""
    repository = DeafRepository()
    async with memory_server(limits=QUICK, repository=repository) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan")
        await people.ask("Ada", "leave")
        repository.deaf = deaf
        await vote_out(people, "Dan", "Bob", "Cyd")
        repository.deaf = False
        fields = {"userId": people.ids["Dan"], "banSeconds": 5}
        assert (await people.ask("Ada", "remove_member", **fields))["type"] == "ok"
        assert len((await people.ask("Ada", "bans"))["bans"]) == 1
        await trio.sleep(7)
        assert (await people.ask("Dan", "join"))["type"] == "joined"
        assert (await people.ask("Ada", "bans"))["bans"] == []


@pytest.mark.parametrize("fields", [{}, {"banSeconds": 0}])
async def test_a_removal_without_a_ban_ends_none(fields: dict[str, Any], autojump_clock: MockClock) -> None:
    watcher = Watcher()
    async with memory_server(limits=QUICK, plugins={"watcher": watcher}) as server:
        people = await gather(server, "Ada", "Bob")
        bob = people.ids["Bob"]
        await people.ask("Ada", "remove_member", userId=bob, banSeconds=100)
        [ban] = (await people.ask("Ada", "bans"))["bans"]
        await trio.sleep(10)
        await people.ask("Ada", "remove_member", userId=bob, **fields)
        assert (await people.ask("Ada", "bans"))["bans"] == [ban]
        assert [event[0] for event in watcher.told] == ["removed", "banned", "removed"]
        await trio.sleep(89)
        assert await people.refused("Bob", "join") == ("banned", None)
        await trio.sleep(2)
        assert (await people.ask("Bob", "join"))["type"] == "joined"
        await people.ask("Ada", "remove_member", userId=bob, **fields)  # that ban has ended
        assert (await people.ask("Bob", "join"))["type"] == "joined"


@pytest.mark.parametrize("deaf", [False, True])
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_removal_without_a_ban_does_not_end_the_ban_of_a_vote(
    deaf: bool, elsewhere: bool, autojump_clock: MockClock
) -> None:
    """Also where the database, and the server of the creator, do not know of that ban yet."""
    memory, repository = MemoryServer(), DeafRepository()
    async with (
        memory_server(limits=QUICK, memory=memory, repository=repository) as one,
        memory_server(limits=QUICK, memory=memory, repository=repository) as two,
    ):
        people = await gather(one, "Ada", "Bob", "Cyd", "Dan")
        await people.ask("Ada", "leave")
        repository.deaf = deaf
        await vote_out(people, "Dan", "Bob", "Cyd")
        repository.deaf = False
        creator = await two.sign_in("Ada") if elsewhere else people.clients["Ada"]
        fields = {"roomId": people.room_id, "userId": people.ids["Dan"]}
        assert (await creator.ask("remove_member", **fields))["type"] == "ok"
        assert await people.refused("Dan", "join") == ("banned", None)
        await trio.sleep(3)
        assert [ban["userId"] for ban in (await people.ask("Ada", "bans"))["bans"]] == [people.ids["Dan"]]
        await trio.sleep(3_590)
        assert await people.refused("Dan", "join") == ("banned", None)
        await trio.sleep(10)
        assert (await people.ask("Dan", "join"))["type"] == "joined"


async def test_who_votes_again_after_the_removal_makes_no_new_ban(autojump_clock: MockClock) -> None:
    """Neither in place of what the creator decided meanwhile, nor for observers."""
    watcher = Watcher()
    async with memory_server(limits=QUICK, plugins={"watcher": watcher}) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan")
        dan = people.ids["Dan"]
        await people.ask("Ada", "leave")
        await vote_out(people, "Dan", "Bob", "Cyd")
        [ban] = server.repository.room_bans.values()
        version = server.repository.chat_rooms[people.room_id].rules_version
        await trio.sleep(5)
        await vote_out(people, "Dan", "Bob", "Cyd")
        assert list(server.repository.room_bans.values()) == [ban]
        assert server.repository.chat_rooms[people.room_id].rules_version == version
        assert [event[0] for event in watcher.told] == ["removed", "banned"]
        assert watcher.told[1][4] == ban.until
        await people.ask("Ada", "remove_member", userId=dan, banSeconds=20)
        await vote_out(people, "Dan", "Bob", "Cyd")
        await trio.sleep(19)
        assert await people.refused("Dan", "join") == ("banned", None)
        await vote_out(people, "Dan", "Cyd")
        await trio.sleep(1)
        assert (await people.ask("Dan", "join"))["type"] == "joined"
        assert [event[3] for event in watcher.told] == ["vote", "vote", "creator", "creator"]


async def test_who_was_unbanned_is_not_banned_by_the_vote_that_another_server_writes_late(
    autojump_clock: MockClock,
) -> None:
    memory, repository = MemoryServer(), DeafRepository()
    async with (
        memory_server(limits=QUICK, memory=memory, repository=repository) as one,
        memory_server(limits=QUICK, memory=memory, repository=repository) as two,
    ):
        people = await gather(one, "Ada", "Bob", "Cyd", "Dan")
        await people.ask("Ada", "leave")
        repository.deaf = True
        await vote_out(people, "Dan", "Bob", "Cyd")
        ada = await two.sign_in("Ada")
        fields = {"roomId": people.room_id, "userId": people.ids["Dan"]}
        assert (await ada.ask("unban", **fields))["type"] == "ok"
        repository.deaf = False
        assert (await people.ask("Dan", "join"))["type"] == "joined"
        await trio.sleep(5)
        assert people.told("Dan", "removed") == []
        await people.ask("Dan", "leave")
        assert (await people.ask("Dan", "join"))["type"] == "joined"
        assert (await ada.ask("bans", roomId=people.room_id))["bans"] == []


async def test_unbanning_a_member_removes_nobody(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    async with memory_server(limits=QUICK, memory=memory) as server:
        people = await gather(server, "Ada", "Bob")
        assert (await people.ask("Ada", "unban", userId=people.ids["Bob"]))["type"] == "ok"
        memory.go_down()
        memory.come_back()  # changes may have been missed
        await trio.sleep(5)
        assert people.told("Bob", "removed") == []
        assert (await people.ask("Ada", "members"))["memberCount"] == 2
