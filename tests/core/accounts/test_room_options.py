"""The options of rooms, in virtual time: what a creator may choose, and what a change does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.accounts import room_rules
from evanesce.config.model import MessagesTable
from evanesce.model import ChatRoom, Timestamp
from evanesce.store.memory import MemoryServer
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import memory_server
from tests.core.accounts.people import QUICK, gather

PLAIN = {"messageTtl": 60.0, "access": "link", "locked": False, "encrypted": False}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, PLAIN),
        ({"access": "link"}, PLAIN),
        ({"messageTtl": 5}, PLAIN | {"messageTtl": 5}),
        ({"access": "invite"}, PLAIN | {"access": "invite"}),
        ({"encrypted": True}, PLAIN | {"encrypted": True}),
        (
            {"messageTtl": 0.5, "access": "invite", "encrypted": True},
            {"messageTtl": 0.5, "access": "invite", "locked": False, "encrypted": True},
        ),
    ],
)
async def test_the_options_of_a_new_room_hold_and_are_shown_everywhere(
    options: dict[str, Any], expected: dict[str, Any], autojump_clock: MockClock
) -> None:
    async with memory_server(limits=QUICK, messages=MessagesTable(shortest_ttl=0.5)) as server:
        people = await gather(server, "Ada", "Bob", join=False, **options)
        ada, bob = people.clients.values()
        for room in (await people.ask("Bob", "room"), (await ada.ask("rooms"))["rooms"][0]):
            assert {name: room[name] for name in PLAIN} == expected
        assert (await people.ask("Ada", "join"))["room"] == expected
        reply = await people.ask("Bob", "join")
        if expected["access"] == "invite":
            assert reply["code"] == "invite_required"
        else:
            assert reply["room"] == expected
        sent = await people.ask("Ada", "send", content="hello")
        if expected["encrypted"]:
            assert (sent["code"], sent["field"]) == ("bad_request", "content")
        else:
            await trio.sleep(expected["messageTtl"] - 0.1)
            assert len((await people.ask("Ada", "join"))["messages"]) == 1
            await trio.sleep(0.2)
            assert (await people.ask("Ada", "join"))["messages"] == []
        bob.leave()


@pytest.mark.parametrize("ttl", [0, -1, 1.999, 30.001, 1e300])
async def test_messages_live_as_long_as_the_configuration_allows(ttl: float, autojump_clock: MockClock) -> None:
    messages = MessagesTable(ttl=10.0, shortest_ttl=2.0, longest_ttl=30.0)
    async with memory_server(limits=QUICK, messages=messages) as server:
        people = await gather(server, "Ada")
        for error in (
            await people.clients["Ada"].ask("create_room", messageTtl=ttl),
            await people.ask("Ada", "update_room", messageTtl=ttl, locked=True),
        ):
            assert (error["code"], error["field"]) == ("bad_request", "messageTtl")
            assert "2 to 30" in error["message"]
        room = await people.ask("Ada", "room")
        assert (room["messageTtl"], room["locked"]) == (10, False)
        for allowed in (2, 30):
            assert (await people.ask("Ada", "update_room", messageTtl=allowed))["messageTtl"] == allowed
        assert len(server.repository.chat_rooms) == 1


async def test_welcome_names_the_shortest_and_the_longest_time(autojump_clock: MockClock) -> None:
    async with memory_server(messages=MessagesTable(shortest_ttl=2.0, longest_ttl=300.0)) as server:
        welcome = await server.connect().ask("hello", credential={"provider": "name", "name": "Ada"})
        assert (welcome["limits"]["shortestTtl"], welcome["limits"]["longestTtl"]) == (2, 300)


async def test_an_update_changes_what_it_names_and_nothing_else(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob")
        expected = dict(PLAIN)
        for change in ({"messageTtl": 5.0}, {"locked": True}, {"access": "invite"}, {"locked": False}, {}):
            expected |= change
            reply = await people.ask("Ada", "update_room", **change)
            assert {name: reply[name] for name in PLAIN} == expected
            assert (reply["memberCount"], reply["active"], reply["createdBy"]) == (2, True, people.ids["Ada"])
            assert {
                name: value for name, value in (await people.ask("Bob", "room")).items() if name in PLAIN
            } == expected


class RacedRepository(MemoryRepository):
    """Another server changes the rules before each of the next `races` updates."""

    races = 0

    async def update_room(self, room: ChatRoom) -> ChatRoom | None:
        if self.races:
            self.races -= 1
            current = self.chat_rooms[room.room_id]
            ttl = (current.message_ttl or 10.0) + 1
            await super().update_room(msgspec.structs.replace(current, message_ttl=ttl))
        return await super().update_room(room)


@pytest.mark.parametrize("races", [1, room_rules.UPDATE_ATTEMPTS - 1, room_rules.UPDATE_ATTEMPTS])
async def test_changes_of_two_servers_are_both_kept(races: int, autojump_clock: MockClock) -> None:
    repository = RacedRepository()
    async with memory_server(limits=QUICK, repository=repository) as server:
        people = await gather(server, "Ada")
        repository.races = races
        reply = await people.ask("Ada", "update_room", locked=True)
        if races == room_rules.UPDATE_ATTEMPTS:
            assert (reply["code"], reply["retry"]) == ("persistence_unavailable", True)
            reply = await people.ask("Ada", "update_room", locked=True)
        assert (reply["locked"], reply["messageTtl"]) == (True, 10 + races)


async def test_who_is_in_a_room_that_begins_to_admit_by_invite_stays_admitted(autojump_clock: MockClock) -> None:
    """On every server, and however often the creator says it; the creator needs no admission."""
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(limits=QUICK, memory=memory, repository=repository) as one,
        memory_server(limits=QUICK, memory=memory, repository=repository) as two,
    ):
        people = await gather(one, "Ada", "Bob")
        cyd, dan = await two.sign_in("Cyd"), await two.sign_in("Dan")
        assert (await cyd.ask("join", roomId=people.room_id))["type"] == "joined"
        for _ in range(2):
            await people.ask("Ada", "update_room", access="invite")
        admitted = {user_id for _, user_id in repository.admissions}
        assert admitted == {people.ids["Bob"], (await cyd.ask("profile"))["userId"]}
        for client, server in ((people.clients["Bob"], two), (cyd, one)):
            name = (await client.ask("profile"))["displayName"]
            client.leave()
            again = await server.sign_in(name)
            assert (await again.ask("join", roomId=people.room_id))["type"] == "joined"
        assert (await dan.ask("join", roomId=people.room_id))["code"] == "invite_required"


class AdmittingRepository(MemoryRepository):
    """Notes who is admitted as a member, and lets somebody come in while the room is being changed."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[set[str]] = []
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def update_room(self, room: ChatRoom) -> ChatRoom | None:
        if self.meanwhile is not None:
            await self.meanwhile()
        return await super().update_room(room)

    async def admit_members(self, room_id: str, user_ids: Sequence[str], now: Timestamp, most: int) -> None:
        self.calls.append(set(user_ids))
        await super().admit_members(room_id, user_ids, now, most)


@pytest.mark.parametrize("comes", [False, True])
async def test_the_members_of_a_room_are_admitted_once_before_and_once_by_their_server(
    comes: bool, autojump_clock: MockClock
) -> None:
    """And those who come while the room is changed, before the creator gets the answer."""
    repository = AdmittingRepository()
    async with memory_server(limits=QUICK, repository=repository) as server:
        people = await gather(server, "Ada", "Bob", "Cyd")
        bob, cyd = people.ids["Bob"], people.ids["Cyd"]
        dan = await server.sign_in("Dan")
        dans = (await dan.ask("profile"))["userId"]
        if comes:
            repository.meanwhile = partial(dan.ask, "join", roomId=people.room_id)
        assert (await people.ask("Ada", "update_room", access="invite"))["type"] == "room"
        await wait_all_tasks_blocked()
        came = [{dans}] if comes else []
        assert sorted(repository.calls, key=len) == [*came, {bob, cyd}, {bob, cyd, *([dans] if comes else ())}]
