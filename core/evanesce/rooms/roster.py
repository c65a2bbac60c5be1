"""Who is in a room, as its members here have been told, and how often they are told."""

from __future__ import annotations

import trio

from evanesce.protocol.events import Event, Member, MemberJoined, MemberLeft, MemberUpdated
from evanesce.store.base import Departed, Entered, Lost, Presence, Renamed

PresenceHappening = Entered | Departed | Renamed


class Roster:
    """The people of one room over all servers; their names up to `size` people, above that their count alone."""

    def __init__(self, room_id: str, size: int) -> None:
        self._room_id = room_id
        self._size = size
        self._names: dict[str, str] = {}
        self.count = 0
        self.version = 0
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def members(self) -> list[Member] | None:
        """Everybody, None above the size."""
        if not self.complete:
            return None
        return [Member(user_id=user_id, display_name=name) for user_id, name in self._names.items()]

    @property
    def complete(self) -> bool:
        """Whether names are known and told."""
        return self.count <= self._size and len(self._names) == self.count

    @property
    def followed(self) -> bool:
        """Whether what happens is enough to know who is there: there is no need to ask the store for the names."""
        return self.complete and self.version > 0

    async def reaches(self, version: int, seconds: float) -> bool:
        """Wait until a version is known, `seconds` at most; says whether it is."""
        with trio.move_on_after(seconds):
            while self.version < version:
                await self._changed.park()
        return self.version >= version

    def snapshot(self, presence: Presence) -> list[Event]:
        """Take what the store says, unless something newer is known; gives what members are told of the difference."""
        if presence.version < self.version:
            return []
        old, was_complete = self._names, self.complete
        self.version, self.count = presence.version, presence.count
        self._changed.unpark_all()
        self._names = {} if presence.people is None else {p.user_id: p.display_name for p in presence.people}
        if not (was_complete and self.complete):
            return []
        events: list[Event] = [self._left(user_id) for user_id in old if user_id not in self._names]
        for user_id, name in self._names.items():
            if user_id not in old:
                events.append(self._joined(user_id, name))
            elif old[user_id] != name:
                events.append(MemberUpdated(room_id=self._room_id, user_id=user_id, display_name=name))
        return events

    def lose(self, lost: Lost) -> None:
        """Note that the store may have lost its memory: where its versions have gone back, they begin again."""
        if self.version > lost.version:
            self.version = 0

    def apply(self, happening: PresenceHappening) -> Event | None:
        """Take one change; gives what members are told of it, None where it is not new or names are not told."""
        if happening.version <= self.version:
            return None
        self.version = happening.version
        self._changed.unpark_all()
        match happening:
            case Entered(person, count):
                self.count = count
                if count <= self._size:
                    self._names[person.user_id] = person.display_name
                event: Event = self._joined(person.user_id, person.display_name)
            case Departed(user_id, count):
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
        return MemberLeft(room_id=self._room_id, user_id=user_id, member_count=self.count)
