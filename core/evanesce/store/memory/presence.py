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
        self._names: dict[str, dict[str, str]] = {}
        """The names of this server's users in each room, as the last requests of their rooms have them."""

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

        joined = await self._ask_or_reconcile(room_id, act)
        if not isinstance(joined, RoomClosed):
            admitted = {person.user_id: person.display_name for person in members if person.user_id not in joined[1]}
            self._names[room_id] = admitted | self._names.get(room_id, {})
        return joined

    async def leave(self, room_id: str, user_ids: Sequence[str]) -> int:
        """See `Presence.leave`."""
        for user_id in user_ids:
            self._names.get(room_id, {}).pop(user_id, None)
        return await self._ask_or_reconcile(room_id, lambda: self._leave(self._server.room(room_id), user_ids))

    def leave_all(self) -> None:
        """Remove the users of this server from all rooms, as for a server that stops or whose lease has expired."""
        self._names.clear()
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
        names = self._names.get(room_id, {})
        if person.user_id in names:
            names[person.user_id] = person.display_name
        await self._ask_or_reconcile(room_id, lambda: self._rename(self._server.room(room_id), person))

    def _rename(self, room: Room, person: Member) -> None:
        if room.names.get(person.user_id, person.display_name) != person.display_name:
            room.names[person.user_id] = person.display_name
            room.version += 1
            room.publish([Renamed(person, room.version)])

    async def snapshot(self, room_id: str, roster: int) -> PresenceSnapshot:
        """See `Presence.snapshot`."""
        return await self._server.ask(lambda: self._server.room(room_id).presence(roster))

    async def counts(self, room_ids: Sequence[str]) -> list[int]:
        """See `Presence.counts`."""
        return await self._server.ask(lambda: [len(self._server.room(room_id).names) for room_id in room_ids])

    async def _ask_or_reconcile(self, room_id: str, act: Callable[[], T]) -> T:
        """Carry out a request, or, where it is not known whether it was carried out, what the last requests come to."""
        try:
            return await self._server.ask(act)
        except StoreUnavailable:
            self._server.when_up(lambda: self._reconcile(room_id))
            raise

    def _reconcile(self, room_id: str) -> None:
        room, names = self._server.room(room_id), self._names.get(room_id, {})
        here = [user for user, servers in room.servers.items() if self._server_id in servers]
        self._leave(room, [user_id for user_id in here if user_id not in names])
        for user_id in here:
            if user_id in names:
                self._rename(room, Member(user_id, names[user_id]))
