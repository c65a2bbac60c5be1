"""The roster of a room: its users on all servers, as its members on this server know them."""

from __future__ import annotations

import trio

from evanesce.protocol.events import Event, Member, MemberJoined, MemberLeft, MemberUpdated
from evanesce.store.events import HistoryLost, Joined, Left, Renamed
from evanesce.store.presence import PresenceSnapshot

PresenceEvent = Joined | Left | Renamed


class Roster:
    """The users in one room on all servers. Their names are known up to `size` users, above that only their number."""

    def __init__(self, room_id: str, size: int) -> None:
        self._room_id = room_id
        self._size = size
        self._names: dict[str, str] = {}
        self._removed: set[str] = set()  # users who were removed, until they have left
        self.count = 0
        self.version = 0
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def members(self) -> list[Member] | None:
        """All users; None where names are not known."""
        if not self.complete:
            return None
        return [Member(user_id=user_id, display_name=name) for user_id, name in self._names.items()]

    @property
    def complete(self) -> bool:
        """Whether all names are known."""
        return self.count <= self._size and len(self._names) == self.count

    @property
    def followed(self) -> bool:
        """Whether the events keep it complete, so that the store need not be asked for the names."""
        return self.complete and self.version > 0

    async def reaches(self, version: int, seconds: float) -> bool:
        """Wait until a version is known, `seconds` at most; return whether it is."""
        with trio.move_on_after(seconds):
            while self.version < version:
                await self._changed.park()
        return self.version >= version

    def snapshot(self, presence: PresenceSnapshot) -> list[Event]:
        """Replace the roster, unless a newer version is known; return the events that announce the difference."""
        if presence.version < self.version:
            return []
        old, was_complete = self._names, self.complete
        self.version, self.count = presence.version, presence.count
        self._changed.unpark_all()
        self._names = {} if presence.members is None else {p.user_id: p.display_name for p in presence.members}
        if not (was_complete and self.complete):
            return []
        events: list[Event] = [self._left(user_id) for user_id in old if user_id not in self._names]
        for user_id, name in self._names.items():
            if user_id not in old:
                events.append(self._joined(user_id, name))
            elif old[user_id] != name:
                events.append(MemberUpdated(room_id=self._room_id, user_id=user_id, display_name=name))
        return events

    def removed(self, user_id: str) -> None:
        """Note that a user was removed: that they have left is announced as such."""
        if user_id in self._names:
            self._removed.add(user_id)

    def reset(self, lost: HistoryLost) -> None:
        """Accept any version again where the versions of the store have gone back, because it lost its memory."""
        if self.version > lost.version:
            self.version = 0

    def apply(self, change: PresenceEvent) -> Event | None:
        """Apply one change; return the event that announces it, None where it is not new or names are not announced."""
        if change.version <= self.version:
            return None
        self.version = change.version
        self._changed.unpark_all()
        match change:
            case Joined(person, count):
                self.count = count
                self._removed.discard(person.user_id)
                if count <= self._size:
                    self._names[person.user_id] = person.display_name
                event: Event = self._joined(person.user_id, person.display_name)
            case Left(user_id, count):
                self.count = count
                self._names.pop(user_id, None)
                event = self._left(user_id)
            case Renamed(person):
                if person.user_id in self._names:
                    self._names[person.user_id] = person.display_name
                event = MemberUpdated(room_id=self._room_id, user_id=person.user_id, display_name=person.display_name)
        return event if self.count <= self._size else None

    def _joined(self, user_id: str, name: str) -> MemberJoined:
        return MemberJoined(room_id=self._room_id, user_id=user_id, display_name=name, member_count=self.count)

    def _left(self, user_id: str) -> MemberLeft:
        removed = user_id in self._removed
        self._removed.discard(user_id)
        return MemberLeft(room_id=self._room_id, user_id=user_id, member_count=self.count, removed=removed)
