"""The members of rooms in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from evanesce.errors import StoreUnavailable
from evanesce.model import Access
from evanesce.store.events import Joined, MemberMuted, Renamed
from evanesce.store.memory.room import Room
from evanesce.store.memory.server import MemoryServer
from evanesce.store.message_log import RoomClosed
from evanesce.store.presence import (
    Bar,
    Barred,
    Joiner,
    JoinOutcome,
    Member,
    PresenceObserver,
    PresenceSnapshot,
    RulesMissing,
)
from evanesce.store.rules import COME_BACK_SECONDS, RoomRules

T = TypeVar("T")


class MemoryPresence:
    """The `Presence` of the server `server_id`."""

    def __init__(self, server: MemoryServer, server_id: str) -> None:
        self._server = server
        self._server_id = server_id
        self._names: dict[str, dict[str, str]] = {}
        """The names of this server's users in each room, as the last requests of their rooms have them."""
        self._left: dict[str, set[str]] = {}
        """Those who wanted to leave each room, until the memory has that."""
        self._observers: list[PresenceObserver] = []

    def observe(self, changed: PresenceObserver) -> None:
        """See `Presence.observe`."""
        self._observers.append(changed)

    def _tell(self, room_id: str, arrived: Sequence[str], departed: Sequence[str]) -> None:
        if arrived or departed:
            for changed in self._observers:
                changed(room_id, arrived, departed)

    async def join(
        self,
        room_id: str,
        members: Sequence[Joiner],
        capacity: int,
        roster: int,
        rules: RoomRules,
        *,
        follows: bool = False,
    ) -> JoinOutcome | RulesMissing | RoomClosed:
        """See `Presence.join`."""

        def act() -> JoinOutcome | RulesMissing | RoomClosed:
            room = self._server.room(room_id)
            if room.closed is not None:
                return RoomClosed()
            version = 0 if room.rules is None else room.rules.version
            if version < rules.version:
                return RulesMissing()
            barred: dict[str, Barred] = {}
            before = set(room.names)
            for person in members:
                if (bar := self._bar(room, person, rules.created_by, capacity)) is not None:
                    barred[person.user_id] = bar
                else:
                    self._add(room, person)
                    self._take_over_mute(room, person)
            self._tell(room_id, [user_id for user_id in room.names if user_id not in before], ())
            now = self._server.stamp()
            running = [] if follows else [ballot for ballot in room.votes_at(now) if not ballot.removed]
            mutes = {} if follows else room.mutes_at(now)
            newer = room.rules if version > rules.version else None
            return JoinOutcome(room.presence(roster), barred, now, newer, mutes, running)

        outcome = await self._ask_or_reconcile(room_id, act)
        if isinstance(outcome, JoinOutcome):
            names = {person.user_id: person.display_name for person in members if person.user_id not in outcome.barred}
            self._names[room_id] = names | self._names.get(room_id, {})
            self._left.get(room_id, set()).difference_update(names)
        return outcome

    def _bar(self, room: Room, person: Joiner, creator: str, capacity: int) -> Barred | None:
        """Return what keeps a person from joining; None if nothing does."""
        now, user_id = self._server.stamp(), person.user_id
        if until := room.banned_until(person.subject, now):
            return Barred(Bar.BANNED, until)
        if user_id in room.servers:
            return None
        if room.rules is not None and user_id != creator:
            returns = person.returns and room.gone.get(user_id, 0) <= now
            if room.rules.locked and not returns and room.away.get(user_id, 0) <= now:
                return Barred(Bar.LOCKED)
            if room.rules.access is Access.INVITE and not person.admitted:
                return Barred(Bar.UNINVITED)
        return Barred(Bar.FULL) if len(room.names) >= capacity else None

    def _take_over_mute(self, room: Room, person: Joiner) -> None:
        """Let the mute of a person hold for this account too, and the mute of an account for its person."""
        now, user_id = self._server.stamp(), person.user_id
        of_user = room.mutes.get(user_id, 0)
        until = max(of_user, room.muted.get(person.subject, 0))
        if until > now:
            room.mutes[user_id] = room.muted[person.subject] = until
            if until != of_user:
                room.publish([MemberMuted(user_id, until)])

    def _add(self, room: Room, person: Joiner) -> None:
        if person.user_id in room.servers:
            room.servers[person.user_id].add(self._server_id)
            return
        room.names[person.user_id] = person.display_name
        room.servers[person.user_id] = {self._server_id}
        room.version += 1
        room.publish([Joined(Member(person.user_id, person.display_name), len(room.names), room.version)])

    async def leave(self, room_id: str, user_ids: Sequence[str], *, lost: Collection[str] = ()) -> int:
        """See `Presence.leave`."""
        left = self._left.setdefault(room_id, set())
        for user_id in user_ids:
            self._names.get(room_id, {}).pop(user_id, None)
            if user_id in lost:
                left.discard(user_id)
            else:
                left.add(user_id)
        return await self._ask_or_reconcile(room_id, lambda: self._leave(room_id, user_ids))

    def leave_all(self) -> None:
        """Remove the users of this server from all rooms, as for a server that stops or whose lease has expired."""
        self._names.clear()
        for room_id, room in self._server.rooms.items():
            self._leave(room_id, [user for user, servers in room.servers.items() if self._server_id in servers])

    def _leave(self, room_id: str, user_ids: Sequence[str]) -> int:
        """Remove users of this server from a room. They have lost the connection, but for those who wanted to leave."""
        room, left = self._server.room(room_id), self._left.pop(room_id, set[str]())
        before = set(room.names)
        for user_id in user_ids:
            servers = room.servers.get(user_id, set())
            if self._server_id in servers:
                servers.remove(self._server_id)
                if not servers:
                    room.away[user_id] = self._server.stamp() + COME_BACK_SECONDS * 1000
                    room.publish(room.remove(user_id))
        for user_id in left:
            room.note_gone(user_id, self._server.stamp())
        self._tell(room_id, (), sorted(before - room.names.keys()))
        return len(room.names)

    def remembers_since(self, room_id: str) -> int:
        """See `Presence.remembers_since`."""
        return self._server.remembers_since

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
        self._leave(room_id, [user_id for user_id in here if user_id not in names])
        for user_id in here:
            if user_id in names:
                self._rename(room, Member(user_id, names[user_id]))
