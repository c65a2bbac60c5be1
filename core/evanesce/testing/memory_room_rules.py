"""The rules of rooms in the repository in memory: invites, admissions and bans."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from evanesce.model import Ban, ChatRoom, Invite, Timestamp, User

K = TypeVar("K")
V = TypeVar("V")


@dataclass(slots=True)
class RoomInvite:
    """An invite. `ended_at` is when it was revoked or used up; None: neither has happened."""

    invite: Invite
    ended_at: Timestamp | None = None


class MemoryRoomRules:
    """The methods of `MemoryRepository` that are about invites, admissions and bans."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.chat_rooms: dict[str, ChatRoom] = {}
        self.room_invites: dict[str, RoomInvite] = {}
        self.admissions: dict[tuple[str, str], Timestamp] = {}
        self.room_bans: dict[tuple[str, str], Ban] = {}

    @abstractmethod
    async def _answer(self) -> None: ...

    async def create_invite(self, invite: Invite, most: int) -> bool:
        """See `Repository.create_invite`."""
        await self._answer()
        if invite.room_id not in self.chat_rooms:
            return False
        if invite.invite_id not in self.room_invites:
            if len(self._live_invites(invite.room_id, invite.created_at)) >= most:
                return False
            self.room_invites[invite.invite_id] = RoomInvite(invite)
        return self.room_invites[invite.invite_id].invite.room_id == invite.room_id

    async def invites(self, room_id: str, now: Timestamp) -> Sequence[Invite]:
        """See `Repository.invites`."""
        await self._answer()
        live = [one.invite for one in self._live_invites(room_id, now).values()]
        return sorted(live, key=lambda invite: (invite.created_at, invite.invite_id), reverse=True)

    async def revoke_invite(self, room_id: str, invite_id: str, now: Timestamp) -> bool:
        """See `Repository.revoke_invite`."""
        await self._answer()
        found = self._live_invites(room_id, now).get(invite_id)
        if found is None:
            return False
        found.ended_at = now
        return True

    async def admit(self, room_id: str, user_id: str, invite_id: str, now: Timestamp, most: int) -> bool | None:
        """See `Repository.admit`."""
        await self._answer()
        if (room_id, user_id) in self.admissions:
            return True
        found = self._live_invites(room_id, now).get(invite_id)
        if found is None or user_id not in self.users:
            return False
        if self._admitted_to(room_id) >= most:
            return None
        self.admissions[room_id, user_id] = now
        found.invite = msgspec.structs.replace(found.invite, used=found.invite.used + 1)
        if found.invite.used == found.invite.people:
            found.ended_at = now
        return True

    async def admit_members(self, room_id: str, user_ids: Sequence[str], now: Timestamp, most: int) -> None:
        """See `Repository.admit_members`."""
        await self._answer()
        for user_id in user_ids:
            if room_id in self.chat_rooms and user_id in self.users and self._admitted_to(room_id) < most:
                self.admissions.setdefault((room_id, user_id), now)

    async def admitted(self, admissions: Sequence[tuple[str, str]]) -> Sequence[bool]:
        """See `Repository.admitted`."""
        await self._answer()
        return [tuple(admission) in self.admissions for admission in admissions]

    async def ban(self, ban: Ban, most: int) -> int | None:
        """See `Repository.ban`."""
        await self._answer()
        others = [other for other in self.room_bans.values() if other.room_id == ban.room_id]
        lasting = sum(other.until > ban.since and other.subject != ban.subject for other in others)
        if ban.room_id not in self.chat_rooms:
            return None
        stored = msgspec.structs.replace(
            ban, user_id=ban.user_id if ban.user_id in self.users else None, display_name=""
        )
        if self.room_bans.get((ban.room_id, ban.subject)) != stored:
            if lasting >= most:
                return None
            self.room_bans[ban.room_id, ban.subject] = stored
            self._count_change(ban.room_id)
        return self.chat_rooms[ban.room_id].rules_version

    async def bans(self, room_id: str, ended_after: Timestamp) -> Sequence[Ban]:
        """See `Repository.bans`."""
        await self._answer()
        found = [ban for ban in self.room_bans.values() if ban.room_id == room_id and ban.until > ended_after]
        found.sort(key=lambda ban: (ban.since, ban.subject), reverse=True)
        names = {user.user_id: user.display_name for user in self.users.values()}
        return [msgspec.structs.replace(ban, display_name=names.get(ban.user_id or "", "")) for ban in found]

    async def unban(self, room_id: str, subject: str, now: Timestamp) -> bool:
        """See `Repository.unban`."""
        await self._answer()
        if room_id not in self.chat_rooms:
            return False
        ban = self.room_bans.get((room_id, subject))
        if ban is None:
            ban = Ban(room_id=room_id, subject=subject, user_id=None, reason="creator", since=now, until=now)
        elif ban.until == now:
            return True
        self.room_bans[room_id, subject] = msgspec.structs.replace(ban, since=min(ban.since, now), until=now)
        self._count_change(room_id)
        return True

    async def delete_ended_rules(self, before: Timestamp, count: int) -> int:
        """See `Repository.delete_ended_rules`."""
        await self._answer()
        ended = delete(self.room_invites, lambda _, one: (one.ended_at or one.invite.expires_at) < before, count)
        return ended + delete(self.room_bans, lambda _, ban: ban.until < before, count)

    def _erase_from_rules(self, user_id: str) -> None:
        self.admissions = {key: at for key, at in self.admissions.items() if key[1] != user_id}
        for key, ban in self.room_bans.items():
            if ban.user_id == user_id:
                self.room_bans[key] = msgspec.structs.replace(ban, user_id=None)

    def _delete_rules_of(self, rooms: Collection[str], count: int) -> int:
        invites = delete(self.room_invites, lambda _, one: one.invite.room_id in rooms, count)
        admissions = delete(self.admissions, lambda key, _: key[0] in rooms, count)
        return invites + admissions + delete(self.room_bans, lambda key, _: key[0] in rooms, count)

    def _rooms_with_rules(self) -> set[str]:
        invites = {one.invite.room_id for one in self.room_invites.values()}
        return invites | {key[0] for key in self.admissions} | {key[0] for key in self.room_bans}

    def _count_change(self, room_id: str) -> None:
        room = self.chat_rooms[room_id]
        self.chat_rooms[room_id] = msgspec.structs.replace(room, rules_version=room.rules_version + 1)

    def _live_invites(self, room_id: str, now: Timestamp) -> dict[str, RoomInvite]:
        return {
            key: one
            for key, one in self.room_invites.items()
            if one.invite.room_id == room_id
            and room_id in self.chat_rooms
            and one.ended_at is None
            and one.invite.expires_at > now
        }

    def _admitted_to(self, room_id: str) -> int:
        return sum(key[0] == room_id for key in self.admissions)


def delete(table: dict[K, V], condition: Callable[[K, V], bool], count: int) -> int:
    """Delete the first `count` rows that fulfil a condition, and return how many it was."""
    gone = [key for key, row in table.items() if condition(key, row)][:count]
    for key in gone:
        del table[key]
    return len(gone)
