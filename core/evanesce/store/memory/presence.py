"""The members of rooms in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from evanesce.errors import StoreUnavailable
from evanesce.store.events import Joined, Left, Renamed
from evanesce.store.memory.room import Room
from evanesce.store.memory.server import MemoryServer
from evanesce.store.message_log import RoomClosed
from evanesce.store.presence import Member, PresenceSnapshot

T = TypeVar("T")


class MemoryPresence:
    """The `Presence` of the server `server_id`."""

    def __init__(self, server: MemoryServer, server_id: str) -> None:
        self._server = server
        self._server_id = server_id

    async def join(
        self, room_id: str, members: Sequence[Member], capacity: int, roster: int
    ) -> tuple[PresenceSnapshot, frozenset[str]] | RoomClosed:
        """See `Presence.join`."""

        def act() -> tuple[PresenceSnapshot, frozenset[str]] | RoomClosed:
            room = self._server.room(room_id)
            if room.closed is not None:
                return RoomClosed()
            refused: set[str] = set()
            for person in members:
                if person.user_id in room.servers:
                    room.servers[person.user_id].add(self._server_id)
                elif len(room.names) >= capacity:
                    refused.add(person.user_id)
                else:
                    room.names[person.user_id] = person.display_name
                    room.servers[person.user_id] = {self._server_id}
                    room.version += 1
                    room.publish([Joined(person, len(room.names), room.version)])
            return room.presence(roster), frozenset(refused)

        return await self._server.ask(act)

    async def leave(self, room_id: str, user_ids: Sequence[str]) -> int:
        """See `Presence.leave`."""
        return await self._ask_or_postpone(lambda: self._leave(self._server.room(room_id), user_ids))

    def leave_all(self) -> None:
        """Remove the users of this server from all rooms, as for a server that stops or whose lease has expired."""
        for room in self._server.rooms.values():
            self._leave(room, [user for user, servers in room.servers.items() if self._server_id in servers])

    def _leave(self, room: Room, user_ids: Sequence[str]) -> int:
        for user_id in user_ids:
            servers = room.servers.get(user_id, set())
            if self._server_id not in servers:
                continue
            servers.remove(self._server_id)
            if not servers:
                del room.servers[user_id], room.names[user_id]
                room.version += 1
                room.publish([Left(user_id, len(room.names), room.version)])
        return len(room.names)

    async def rename(self, room_id: str, person: Member) -> None:
        """See `Presence.rename`."""

        def act() -> None:
            room = self._server.room(room_id)
            if room.names.get(person.user_id, person.display_name) != person.display_name:
                room.names[person.user_id] = person.display_name
                room.version += 1
                room.publish([Renamed(person, room.version)])

        await self._ask_or_postpone(act)

    async def snapshot(self, room_id: str, roster: int) -> PresenceSnapshot:
        """See `Presence.snapshot`."""
        return await self._server.ask(lambda: self._server.room(room_id).presence(roster))

    async def counts(self, room_ids: Sequence[str]) -> list[int]:
        """See `Presence.counts`."""
        return await self._server.ask(lambda: [len(self._server.room(room_id).names) for room_id in room_ids])

    async def _ask_or_postpone(self, act: Callable[[], T]) -> T:
        try:
            return await self._server.ask(act)
        except StoreUnavailable:
            self._server.postponed.append(act)
            raise
