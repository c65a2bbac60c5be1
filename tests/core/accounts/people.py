"""People in a room of a server in memory, and what else several tests of its rules need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trio.testing import wait_all_tasks_blocked

from evanesce.config.model import LimitsTable
from evanesce.hookspecs import hookimpl
from evanesce.model import Ban, Timestamp
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import TestServer

NOBODY = "00000000-0000-4000-8000-000000000000"
QUICK = LimitsTable(commands_per_second=10_000, joins_per_second=1_000)
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


async def vote_out(people: People, name: str, *voters: str) -> None:
    for voter in voters:
        assert (await people.ask(voter, "vote_remove", userId=people.ids[name]))["type"] == "vote"
    await wait_all_tasks_blocked()


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
