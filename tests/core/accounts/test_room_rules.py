"""The service behind the rules of rooms, in virtual time: who may do what, the bounds, and what lasts."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.accounts import owned_rooms, room_invites, room_rules, room_votes
from evanesce.config.model import LimitsTable, MessagesTable, RoomsTable
from evanesce.errors import RateLimited
from evanesce.hookspecs import hookimpl
from evanesce.interfaces import Answered, Caller
from evanesce.model import Ban, ChatRoom, Identity, Timestamp
from evanesce.protocol import commands
from evanesce.protocol.codec import FRAME_BYTES
from evanesce.rooms import room_queue
from evanesce.rooms.admissions import secret_hash
from evanesce.store.memory import MemoryServer
from evanesce.store.memory import rules as memory_rules
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import NameAuthenticator, TestServer, memory_server

NOBODY = "00000000-0000-4000-8000-000000000000"
QUICK = LimitsTable(commands_per_second=10_000, joins_per_second=1_000)
PLAIN = {"messageTtl": 60.0, "access": "link", "locked": False, "encrypted": False}
BY_CREATOR: Mapping[str, Mapping[str, Any]] = {
    "update_room": {"locked": True},
    "invite": {},
    "invites": {},
    "revoke_invite": {"inviteId": NOBODY},
    "remove_member": {"userId": NOBODY},
    "bans": {},
    "unban": {"userId": NOBODY},
    "mute": {"userId": NOBODY, "seconds": 1},
}


class People:
    """Clients of one server, in a room that the first one has created."""

    def __init__(self, server: TestServer, room_id: str, clients: Mapping[str, MemoryConnection]) -> None:
        self.server = server
        self.room_id = room_id
        self.clients = clients
        self.ids: dict[str, str] = {}

    async def ask(self, name: str, kind: str, **fields: Any) -> dict[str, Any]:
        """Let someone ask about the room."""
        return await self.clients[name].ask(kind, roomId=self.room_id, **fields)

    async def refused(self, name: str, kind: str, **fields: Any) -> tuple[str, str | None]:
        """Let someone ask for what is refused; return the code and the field."""
        error = await self.ask(name, kind, **fields)
        assert error["type"] == "error", error
        return error["code"], error.get("field")

    def told(self, name: str, kind: str) -> list[dict[str, Any]]:
        """Return the events of a type that someone was told; all others are forgotten too."""
        return [event for event in self.clients[name].waiting() if event["type"] == kind and "ref" not in event]


async def gather(server: TestServer, *names: str, join: bool = True, provider: str = "name", **options: Any) -> People:
    """Sign people in, and join them to a room of the first one."""
    clients: dict[str, MemoryConnection] = {}
    ids: dict[str, str] = {}
    for name in names:
        clients[name] = server.connect()
        welcome = await clients[name].ask("hello", credential={"provider": provider, "name": name})
        ids[name] = welcome["userId"]
    room = await clients[names[0]].ask("create_room", **options)
    assert room["type"] == "room", room
    people = People(server, room["roomId"], clients)
    people.ids = ids
    for name in names if join else ():
        assert (await people.ask(name, "join"))["type"] == "joined"
    await wait_all_tasks_blocked()
    for client in clients.values():
        client.waiting()
    return people


# --- who may ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BY_CREATOR)
async def test_only_the_creator_may_and_only_in_an_open_room(kind: str, autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", "Eve")
        fields = dict(BY_CREATOR[kind])
        if "userId" in fields:
            fields["userId"] = people.ids["Eve"]
        before = dict(server.repository.chat_rooms), list(server.repository.room_bans)
        assert await people.refused("Bob", kind, **fields) == ("forbidden", None)
        assert (dict(server.repository.chat_rooms), list(server.repository.room_bans)) == before
        assert (await people.clients["Ada"].ask(kind, **fields, roomId=NOBODY))["code"] == "room_not_found"
        assert (await people.ask("Ada", kind, **fields))["type"] != "error"
        await people.ask("Ada", "close_room")
        assert await people.refused("Ada", kind, **fields) == ("room_not_found", None)


@pytest.mark.parametrize("kind", ["remove_member", "mute"])
async def test_the_creator_is_neither_removed_nor_muted(kind: str, autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob")
        fields = {**BY_CREATOR[kind], "userId": people.ids["Ada"]}
        assert await people.refused("Ada", kind, **fields) == ("bad_request", "userId")
        assert (await people.ask("Ada", "members"))["memberCount"] == 2
        assert (await people.ask("Ada", "send", content="hello"))["type"] == "sent"


async def test_who_is_no_member_is_not_told_of_a_room_by_a_vote(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", join=False)
        assert await people.refused("Bob", "vote_remove", userId=people.ids["Ada"]) == ("not_member", None)


# --- options ------------------------------------------------------------------------------------------------------


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


# --- invites ------------------------------------------------------------------------------------------------------


async def test_an_invite_is_a_link_whose_secret_is_told_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", access="invite", join=False)
        reply = await people.ask("Ada", "invite", people=3, seconds=600)
        link, _, secret = reply["link"].partition("#invite=")
        assert link == (await people.ask("Ada", "room"))["deepLink"]
        assert len(secret) == 22
        assert (reply["people"], reply["left"]) == (3, 3)
        described = {name: reply[name] for name in ("roomId", "inviteId", "people", "left", "expiresAt")}
        assert (await people.ask("Ada", "invites"))["invites"] == [described]
        [stored] = await server.repository.invites(people.room_id, Timestamp("2000"))
        assert stored.secret_hash == secret_hash(secret)
        assert (await people.ask("Bob", "join", invite=secret))["type"] == "joined"
        assert (await people.ask("Ada", "invites"))["invites"] == [described | {"left": 2}]
        await trio.sleep(1)
        other = await people.ask("Ada", "invite")
        assert other["link"] != reply["link"]
        assert [one["inviteId"] for one in (await people.ask("Ada", "invites"))["invites"]][-1] == reply["inviteId"]
        wrong = await people.ask("Bob", "join", invite=secret + "x")
        assert secret not in str(wrong)
        assert secret not in repr(server.repository.__dict__)
        assert secret not in server.gateway.metrics()
        assert secret not in caplog.text


async def test_an_invite_ends_by_time_by_use_and_when_it_is_revoked(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", access="invite", join=False)

        async def secret(**fields: Any) -> tuple[str, str]:
            reply = await people.ask("Ada", "invite", **fields)
            return reply["link"].partition("#invite=")[2], reply["inviteId"]

        expired, _ = await secret(seconds=60)
        used, _ = await secret(people=1)
        revoked, invite_id = await secret(people=5)
        assert (await people.ask("Cyd", "join", invite=used))["type"] == "joined"
        for _ in range(2):  # the answer to the first one may have been lost
            assert (await people.ask("Ada", "revoke_invite", inviteId=invite_id))["type"] == "ok"
        await trio.sleep(61)
        assert (await people.ask("Ada", "invites"))["invites"] == []
        for one in (expired, used, revoked, "", "nonsense"):
            assert await people.refused("Bob", "join", invite=one) == ("invite_spent", None)
        # An invite of another room is none of this one's.
        other = (await people.clients["Ada"].ask("create_room"))["roomId"]
        elsewhere = (await people.clients["Ada"].ask("invite", roomId=other))["link"].partition("#invite=")[2]
        assert await people.refused("Bob", "join", invite=elsewhere) == ("invite_spent", None)


async def test_a_room_has_a_hundred_live_invites_and_a_creator_may_replace_them(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada")
        ids = [(await people.ask("Ada", "invite"))["inviteId"] for _ in range(room_invites.MOST_INVITES)]
        assert await people.refused("Ada", "invite") == ("rate_limited", None)
        await trio.sleep(60)
        assert await people.refused("Ada", "invite") == ("conflict", None)
        listed = (await people.ask("Ada", "invites"))["invites"]
        assert {one["inviteId"] for one in listed} == set(ids)
        await people.ask("Ada", "revoke_invite", inviteId=ids[0])
        assert (await people.ask("Ada", "invite"))["type"] == "invite"


# --- removals and bans --------------------------------------------------------------------------------------------


async def test_bans_are_listed_until_they_end_and_can_be_ended(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan")
        cyd, dan = people.ids["Cyd"], people.ids["Dan"]
        await people.ask("Ada", "remove_member", userId=people.ids["Bob"])  # no ban
        await people.ask("Ada", "remove_member", userId=cyd, banSeconds=100)
        await trio.sleep(1)
        await people.ask("Ada", "remove_member", userId=dan, banSeconds=50)
        listed = (await people.ask("Ada", "bans"))["bans"]
        assert [(ban["userId"], ban["displayName"]) for ban in listed] == [(dan, "Dan"), (cyd, "Cyd")]
        assert all(set(ban) == {"userId", "displayName", "until"} for ban in listed)
        await trio.sleep(50)
        assert [ban["userId"] for ban in (await people.ask("Ada", "bans"))["bans"]] == [cyd]
        assert (await people.ask("Dan", "join"))["type"] == "joined"
        assert await people.refused("Cyd", "join") == ("banned", None)
        for _ in range(2):  # the answer to the first one may have been lost
            assert (await people.ask("Ada", "unban", userId=cyd))["type"] == "ok"
        assert (await people.ask("Ada", "bans"))["bans"] == []
        assert (await people.ask("Cyd", "join"))["type"] == "joined"


async def test_somebody_who_is_not_in_the_room_is_banned_ahead(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", join=False)
        assert await people.refused("Ada", "remove_member", userId=NOBODY) == ("bad_request", "userId")
        await people.ask("Ada", "remove_member", userId=people.ids["Bob"], banSeconds=100)
        assert await people.refused("Bob", "join") == ("banned", None)
        # Another ban takes its place.
        await people.ask("Ada", "remove_member", userId=people.ids["Bob"], banSeconds=10)
        await trio.sleep(10)
        assert (await people.ask("Bob", "join"))["type"] == "joined"


async def test_a_ban_holds_for_the_person_whatever_account_it_is(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob")
        await people.ask("Ada", "remove_member", userId=people.ids["Bob"], banSeconds=1_000)
        assert (await people.clients["Bob"].ask("forget_me"))["type"] == "ok"
        bob = await server.sign_in("Bob")
        assert (await bob.ask("profile"))["userId"] != people.ids["Bob"]
        assert (await bob.ask("join", roomId=people.room_id))["code"] == "banned"
        [ban] = (await people.ask("Ada", "bans"))["bans"]
        assert ban["displayName"] == ""
        assert ban["userId"] not in (people.ids["Bob"], (await bob.ask("profile"))["userId"])
        assert (await people.ask("Ada", "unban", userId=ban["userId"]))["type"] == "ok"
        assert (await bob.ask("join", roomId=people.room_id))["type"] == "joined"


async def test_a_ban_of_an_erased_account_is_ended_by_the_new_account_too(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob")
        await people.ask("Ada", "remove_member", userId=people.ids["Bob"], banSeconds=1_000)
        await people.clients["Bob"].ask("forget_me")
        bob = await server.sign_in("Bob")
        await people.ask("Ada", "unban", userId=(await bob.ask("profile"))["userId"])
        assert (await bob.ask("join", roomId=people.room_id))["type"] == "joined"


async def test_a_room_has_so_many_bans(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_rules, "MOST_BANS", 2)
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan")
        for name in ("Bob", "Cyd", "Bob"):
            assert (await people.ask("Ada", "remove_member", userId=people.ids[name], banSeconds=60))["type"] == "ok"
        fields = {"userId": people.ids["Dan"], "banSeconds": 60}
        assert await people.refused("Ada", "remove_member", **fields) == ("conflict", None)
        assert (await people.ask("Ada", "members"))["memberCount"] == 2
        await people.ask("Ada", "unban", userId=people.ids["Bob"])
        assert (await people.ask("Ada", "remove_member", **fields))["type"] == "ok"


class CrowdedRepository(MemoryRepository):
    """A repository with more bans than fit into a frame."""

    async def bans(self, room_id: str, ended_after: Timestamp) -> Sequence[Ban]:
        return [
            Ban(
                room_id=room_id,
                subject=f"{number:032x}",
                user_id=None if number % 2 else f"00000000-0000-4000-8000-{number:012x}",
                display_name='"' * 64,
                reason="creator",
                since=Timestamp("2026-01-01T00:00:00.000Z"),
                until=Timestamp("9999-01-01T00:00:00.000Z"),
            )
            for number in reversed(range(owned_rooms.MOST_BANS))
        ]


async def test_a_list_of_bans_comes_in_pages_that_fit_into_a_frame(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK, repository=CrowdedRepository()) as server:
        people = await gather(server, "Ada", join=False)
        listed: list[str] = []
        page = await people.ask("Ada", "bans")
        while True:
            assert len(people.clients["Ada"].frames[-1]) <= FRAME_BYTES
            assert len(page["bans"]) > 500
            listed += [ban["userId"] for ban in page["bans"]]
            if "next" not in page:
                assert page["bans"][-2] == {
                    "userId": "00000000-0000-0000-0000-000000000001",
                    "displayName": '"' * 64,
                    "until": "9999-01-01T00:00:00.000Z",
                }
                break
            page = await people.ask("Ada", "bans", after=page["next"])
        assert len(listed) == len(set(listed)) == owned_rooms.MOST_BANS
        assert await people.refused("Ada", "bans", after="nonsense") == ("bad_request", "after")
        assert (await people.ask("Ada", "bans", after="0 0"))["bans"] == []


# --- mutes --------------------------------------------------------------------------------------------------------


async def test_mutes_need_no_database(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob")
        server.repository.state = "down"
        assert (await people.ask("Ada", "mute", userId=people.ids["Bob"], seconds=60))["type"] == "ok"
        assert await people.refused("Bob", "send", content="hello") == ("muted", None)
        assert (await people.ask("Ada", "mute", userId=people.ids["Bob"], seconds=0))["type"] == "ok"
        assert (await people.ask("Bob", "send", content="hello"))["type"] == "sent"
        server.repository.state = "up"


@pytest.mark.parametrize("known", [True, False], ids=["database up", "database down"])
async def test_a_mute_holds_for_the_person_whatever_account_and_server_it_is(
    known: bool, autojump_clock: MockClock
) -> None:
    """Without the database only the server that the person joins knows who it is."""
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(limits=QUICK, memory=memory, repository=repository) as one,
        memory_server(limits=QUICK, memory=memory, repository=repository) as two,
    ):
        people = await gather(one, "Ada", "Bob")
        eve = await two.sign_in("Eve")
        eves = (await eve.ask("profile"))["userId"]
        repository.state = "up" if known else "down"
        assert (await people.ask("Ada", "mute", userId=eves, seconds=1_000))["type"] == "ok"
        repository.state = "up"
        for server in (one, two):
            assert (await eve.ask("join", roomId=people.room_id))["type"] == "joined"
            refused = await eve.ask("send", roomId=people.room_id, content="hello")
            assert (refused["type"], refused["code"]) == ("error", "muted")
            assert refused["retryAfter"] <= 1_000
            await eve.ask("forget_me")
            eve = await server.sign_in("Eve")
            assert (await eve.ask("profile"))["userId"] != eves
            people.told("Bob", "member_muted")
            assert (await eve.ask("join", roomId=people.room_id))["type"] == "joined"
            for kind, fields in (("send", {"content": "hello"}), ("typing", {})):
                assert (await eve.ask(kind, roomId=people.room_id, **fields))["code"] == "muted"
            eves = (await eve.ask("profile"))["userId"]
            assert [told["userId"] for told in people.told("Bob", "member_muted")] == [eves]
            await eve.ask("leave", roomId=people.room_id)
        assert (await people.ask("Ada", "mute", userId=eves, seconds=0))["type"] == "ok"
        assert (await eve.ask("join", roomId=people.room_id))["type"] == "joined"
        assert (await eve.ask("send", roomId=people.room_id, content="hello"))["type"] == "sent"


async def test_who_is_muted_exists(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada")
        assert await people.refused("Ada", "mute", userId=NOBODY, seconds=10) == ("bad_request", "userId")


async def test_a_room_has_so_many_mutes(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_rules, "MOST_MUTES", 2)
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan")
        for name in ("Bob", "Cyd", "Bob"):
            assert (await people.ask("Ada", "mute", userId=people.ids[name], seconds=60))["type"] == "ok"
        fields = {"userId": people.ids["Dan"], "seconds": 60}
        assert await people.refused("Ada", "mute", **fields) == ("conflict", None)
        await people.ask("Ada", "mute", userId=people.ids["Bob"], seconds=0)
        assert (await people.ask("Ada", "mute", **fields))["type"] == "ok"


# --- votes --------------------------------------------------------------------------------------------------------


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


async def vote_out(people: People, name: str, *voters: str) -> None:
    for voter in voters:
        assert (await people.ask(voter, "vote_remove", userId=people.ids[name]))["type"] == "vote"
    await wait_all_tasks_blocked()


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


class DeafRepository(MemoryRepository):
    """A repository that stores no bans while it is `deaf`."""

    deaf = False

    async def ban(self, ban: Ban, most: int) -> int | None:
        if self.deaf:
            self.state = "down"
        try:
            return await super().ban(ban, most)
        finally:
            self.state = "up"


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


# --- bounds -------------------------------------------------------------------------------------------------------


async def test_the_rules_of_a_room_change_so_often_over_all_servers(autojump_clock: MockClock) -> None:
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(limits=QUICK, memory=memory, repository=repository) as one,
        memory_server(limits=QUICK, memory=memory, repository=repository) as two,
    ):
        people = await gather(one, "Ada", "Bob")
        await trio.sleep(60)
        again = await two.sign_in("Ada")
        taken = 0
        for number in range(room_rules.CHANGES_A_MINUTE + 5):
            client = (people.clients["Ada"], again)[number % 2]
            kind = ("update_room", "mute", "unban", "remove_member")[number % 4]
            fields: dict[str, Any] = {} if kind == "update_room" else {"userId": people.ids["Bob"]}
            if kind == "mute":
                fields["seconds"] = 1
            reply = await client.ask(kind, roomId=people.room_id, **fields)
            if reply["type"] == "error":
                assert (reply["code"], reply["retry"]) == ("rate_limited", True)
                assert 0 < reply["retryAfter"] <= 60 / room_rules.CHANGES_A_MINUTE
            else:
                taken += 1
        assert taken == room_rules.CHANGES_A_MINUTE
        # Others cannot use up what the creator has, and another room has its own.
        for _ in range(5):
            assert await people.refused("Bob", "update_room", locked=True) == ("forbidden", None)
        await trio.sleep(60 / room_rules.CHANGES_A_MINUTE)
        assert (await people.ask("Ada", "update_room", locked=True))["locked"]
        other = (await again.ask("create_room"))["roomId"]
        assert (await again.ask("update_room", roomId=other, locked=True))["locked"]


@pytest.mark.parametrize(
    ("kind", "a_minute"),
    [
        ("invite", room_invites.MOST_INVITES),
        ("unban", room_rules.CHANGES_A_MINUTE),
        ("bans", room_rules.PAGES_A_MINUTE),
    ],
)
async def test_a_person_with_many_rooms_writes_no_more_than_with_a_few(
    kind: str, a_minute: int, autojump_clock: MockClock
) -> None:
    """On two servers."""
    memory, repository = MemoryServer(), MemoryRepository()
    async with (
        memory_server(limits=QUICK, memory=memory, repository=repository) as one,
        memory_server(limits=QUICK, memory=memory, repository=repository) as two,
    ):
        people = await gather(one, "Ada", "Bob")
        devices = people.clients["Ada"], await two.sign_in("Ada")
        rooms = [await one.open_room(devices[0]) for _ in range(owned_rooms.ROOMS_AT_ONCE + 3)]
        fields = BY_CREATOR[kind]
        start = trio.current_time()
        done = 0
        for number in range(a_minute):
            for room_id in rooms:
                reply = await devices[number % 2].ask(kind, **fields, roomId=room_id)
                done += reply["type"] != "error"
                assert reply["type"] != "error" or reply["code"] == "rate_limited"
        assert trio.current_time() == start
        most = owned_rooms.ROOMS_AT_ONCE * a_minute
        assert 0.75 * most <= done <= most
        bobs = await one.open_room(people.clients["Bob"])
        assert (await people.clients["Bob"].ask(kind, **fields, roomId=bobs))["type"] != "error", "others may"


async def test_a_person_votes_so_often(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan")
        await people.ask("Ada", "leave")
        for _ in range(room_votes.VOTES_A_MINUTE):
            assert (await people.ask("Bob", "vote_remove", userId=people.ids["Dan"]))["votes"] == 1
        assert await people.refused("Bob", "vote_remove", userId=people.ids["Dan"]) == ("rate_limited", None)
        assert (await people.ask("Cyd", "vote_remove", userId=people.ids["Dan"]))["type"] == "vote"


# --- outages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "fields"), [("unban", {}), ("remove_member", {"banSeconds": 1})])
async def test_the_end_of_the_ban_of_a_vote_that_the_store_did_not_take_is_not_lost(
    kind: str, fields: dict[str, Any], autojump_clock: MockClock
) -> None:
    """Also where the database never had that ban."""
    memory, repository = MemoryServer(), DeafRepository()
    async with memory_server(limits=QUICK, memory=memory, repository=repository) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan")
        await people.ask("Ada", "leave")
        repository.deaf = True
        await vote_out(people, "Dan", "Bob", "Cyd")
        repository.deaf = False
        memory.go_down()
        assert (await people.refused("Ada", kind, userId=people.ids["Dan"], **fields))[0] == "store_unavailable"
        memory.come_back()
        await trio.sleep(3)
        assert (await people.ask("Dan", "join"))["type"] == "joined"


@pytest.mark.parametrize("kind", ["update_room", "remove_member", "unban"])
async def test_a_change_that_the_store_did_not_take_is_not_lost(kind: str, autojump_clock: MockClock) -> None:
    """Its sender is told to repeat it; it is made in any case."""
    memory = MemoryServer()
    async with memory_server(limits=QUICK, memory=memory) as server:
        people = await gather(server, "Ada", "Bob", "Cyd")
        cyd = people.ids["Cyd"]
        fields: dict[str, Any] = {
            "update_room": {"locked": True},
            "remove_member": {"userId": people.ids["Bob"], "banSeconds": 500},
            "unban": {"userId": cyd},
        }[kind]
        await people.ask("Ada", "remove_member", userId=cyd, banSeconds=500)
        memory.go_down()
        reply = await people.ask("Ada", kind, **fields)
        assert (reply["code"], reply["retry"]) == ("store_unavailable", True)
        memory.come_back()
        await trio.sleep(2)
        match kind:
            case "update_room":
                assert [told["locked"] for told in people.told("Bob", "room_updated")] == [True]
            case "remove_member":
                assert await people.refused("Bob", "join") == ("banned", None)
            case _:
                assert (await people.ask("Ada", kind, **fields))["type"] == "ok"
                assert (await people.ask("Cyd", "join"))["type"] == "joined"


@pytest.mark.parametrize("kind", sorted(set(BY_CREATOR) - {"mute"}))
async def test_without_the_database_nothing_else_changes(kind: str, autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob")
        fields = dict(BY_CREATOR[kind])
        if "userId" in fields:
            fields["userId"] = people.ids["Bob"]
        server.repository.state = "down"
        reply = await people.ask("Ada", kind, **fields)
        assert (reply["code"], reply["retry"]) == ("persistence_unavailable", True)
        server.repository.state = "up"
        assert (await people.ask("Bob", "room"))["locked"] is False
        assert (await people.ask("Bob", "send", content="hello"))["type"] == "sent"


# --- HTTP and plugins ---------------------------------------------------------------------------------------------


async def test_the_commands_need_no_connection(autojump_clock: MockClock) -> None:
    async with memory_server(limits=QUICK) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan")
        tokens = {
            name: str(
                (
                    await server.gateway.sign_in({"provider": "name", "name": name}, bearer=None, address="::1")
                ).reply.token
            )
            for name in people.clients
        }

        async def execute(command: commands.Command, name: str = "Ada") -> Any:
            return await server.gateway.execute(command, bearer=tokens[name], address="::1")

        room, dan = people.room_id, people.ids["Dan"]
        assert (await execute(commands.UpdateRoom(room_id=room, locked=True))).locked
        invite = await execute(commands.CreateInvite(room_id=room))
        assert [one.invite_id for one in (await execute(commands.ListInvites(room_id=room))).invites] == [
            invite.invite_id
        ]
        await execute(commands.RevokeInvite(room_id=room, invite_id=invite.invite_id))
        await execute(commands.Mute(room_id=room, user_id=dan, seconds=60))
        await people.ask("Ada", "leave")
        for name in ("Bob", "Cyd"):
            await execute(commands.VoteRemove(room_id=room, user_id=dan), name)
        await wait_all_tasks_blocked()
        assert [ban.user_id for ban in (await execute(commands.ListBans(room_id=room))).bans] == [dan]
        await execute(commands.Unban(room_id=room, user_id=dan))
        assert (await execute(commands.ListBans(room_id=room))).bans == []
        await execute(commands.RemoveMember(room_id=room, user_id=people.ids["Bob"]))
        await wait_all_tasks_blocked()
        assert [told["reason"] for told in people.told("Bob", "removed")] == ["creator"]
        for _ in range(room_rules.CHANGES_A_MINUTE - 4):
            await execute(commands.UpdateRoom(room_id=room))
        with pytest.raises(RateLimited):
            await execute(commands.UpdateRoom(room_id=room))


class Watcher:
    """Notes what observers are told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    @hookimpl
    async def evanesce_invite_created(self, room_id: str, invite_id: str, people: int, expires_at: Timestamp) -> None:
        self.told.append(("invite", room_id, invite_id, people, expires_at))

    @hookimpl
    async def evanesce_member_removed(self, room_id: str, user_id: str, reason: str) -> None:
        self.told.append(("removed", room_id, user_id, reason))

    @hookimpl
    async def evanesce_member_banned(self, room_id: str, user_id: str, reason: str, until: Timestamp) -> None:
        self.told.append(("banned", room_id, user_id, reason, until))


async def test_observers_are_told_of_invites_removals_and_bans(autojump_clock: MockClock) -> None:
    watcher = Watcher()
    async with memory_server(limits=QUICK, plugins={"watcher": watcher}) as server:
        people = await gather(server, "Ada", "Bob", "Cyd", "Dan", "Eve")
        room, ids = people.room_id, people.ids
        invite = await people.ask("Ada", "invite", people=2)
        await people.ask("Ada", "remove_member", userId=ids["Bob"])
        await people.ask("Ada", "remove_member", userId=ids["Cyd"], banSeconds=60)
        [ban] = (await people.ask("Ada", "bans"))["bans"]
        assert await people.refused("Ada", "remove_member", userId=NOBODY) == ("bad_request", "userId")
        await wait_all_tasks_blocked()
        assert watcher.told == [
            ("invite", room, invite["inviteId"], 2, invite["expiresAt"]),
            ("removed", room, ids["Bob"], "creator"),
            ("removed", room, ids["Cyd"], "creator"),
            ("banned", room, ids["Cyd"], "creator", ban["until"]),
        ]
        watcher.told.clear()
        assert (await people.ask("Bob", "join"))["type"] == "joined"
        await people.ask("Ada", "leave")
        await vote_out(people, "Dan", "Bob", "Eve")
        assert [event[:4] for event in watcher.told] == [
            ("removed", room, ids["Dan"], "vote"),
            ("banned", room, ids["Dan"], "vote"),
        ]
