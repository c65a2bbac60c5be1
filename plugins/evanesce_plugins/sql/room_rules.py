"""Invites, admissions and bans of rooms in SQL.

Each decision is one batch, atomic for all servers. Where a second statement counts what the first one did, it asks
`changes()`, so that a batch that is executed twice counts it once; a last statement reads what is stored, and its
result is the same both times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from evanesce.model import Ban, Invite, Timestamp
from evanesce_plugins.sql.driver import SqlTables, Statement

_INVITE = "inviteId, roomId, secretHash, people, used, createdAt, expiresAt"

_OPEN = 'EXISTS (SELECT 1 FROM "ChatRoom" WHERE "ChatRoom".roomId = invite.roomId AND closedAt IS NULL)'

_LIVE = f"endedAt IS NULL AND expiresAt > ? AND {_OPEN}"
"""The condition for a live invite, with the time as its value."""

_ADD_INVITE = f"""
    INSERT INTO "RoomInvite" ({_INVITE}) SELECT ?, roomId, ?, ?, ?, ?, ? FROM "ChatRoom"
    WHERE roomId = ? AND closedAt IS NULL AND (
        SELECT count(*) FROM "RoomInvite" AS other
        WHERE other.roomId = "ChatRoom".roomId AND endedAt IS NULL AND expiresAt > ?
    ) < ?
    ON CONFLICT (inviteId) DO NOTHING
"""

_HAS_INVITE = f'SELECT 1 FROM "RoomInvite" AS invite WHERE inviteId = ? AND roomId = ? AND {_OPEN}'

_INVITES = f"""
    SELECT {_INVITE} FROM "RoomInvite" AS invite WHERE roomId = ? AND {_LIVE} ORDER BY createdAt DESC, inviteId DESC
"""

_REVOKE_INVITE = f'UPDATE "RoomInvite" AS invite SET endedAt = ? WHERE inviteId = ? AND roomId = ? AND {_LIVE}'

_REVOKED_INVITE = f"""
    SELECT 1 FROM "RoomInvite" AS invite WHERE endedAt = ? AND used < people
    AND inviteId = ? AND roomId = ? AND expiresAt > ? AND {_OPEN}
"""

_MAY_BE_ADMITTED = f"""
    FROM "RoomInvite" AS invite CROSS JOIN "User" ON userId = ? AND erasedAt IS NULL
    WHERE inviteId = ? AND roomId = ? AND {_LIVE}
"""

_ADMIT = f"""
    INSERT INTO "RoomAdmission" (admittedAt, roomId, userId) SELECT ?, roomId, userId {_MAY_BE_ADMITTED}
    AND (SELECT count(*) FROM "RoomAdmission" AS kept WHERE kept.roomId = invite.roomId) < ?
    ON CONFLICT (roomId, userId) DO NOTHING
"""

_TAKE_PLACE = """
    UPDATE "RoomInvite" SET used = used + 1, endedAt = CASE WHEN used + 1 = people THEN ? END
    WHERE inviteId = ? AND changes() = 1
"""

_ADMITTED = f"""
    SELECT EXISTS (SELECT 1 FROM "RoomAdmission" WHERE roomId = ? AND userId = ?),
    EXISTS (SELECT 1 {_MAY_BE_ADMITTED})
"""

# One row for each element of the JSON array, in its order. The limit counts only those who are not admitted yet.
_ADMIT_MEMBERS = """
    INSERT INTO "RoomAdmission" (roomId, userId, admittedAt)
    SELECT room.roomId, userId, ? FROM json_each(?) AS member
    CROSS JOIN "User" ON userId = member.value AND erasedAt IS NULL
    CROSS JOIN "ChatRoom" AS room ON room.roomId = ? AND closedAt IS NULL
    WHERE NOT EXISTS (
        SELECT 1 FROM "RoomAdmission" AS kept WHERE kept.roomId = room.roomId AND kept.userId = "User".userId
    )
    ORDER BY member.key LIMIT max(0, ? - (SELECT count(*) FROM "RoomAdmission" WHERE roomId = ?))
    ON CONFLICT (roomId, userId) DO NOTHING
"""

_WERE_ADMITTED = """
    SELECT userId IS NOT NULL FROM json_each(?) AS asked LEFT JOIN "RoomAdmission"
    ON roomId = json_extract(asked.value, '$[0]') AND userId = json_extract(asked.value, '$[1]')
    ORDER BY asked.key
"""

# The account may have been erased meanwhile: the person is removed all the same.
_BAN = """
    INSERT INTO "RoomBan" (roomId, subject, userId, reason, since, until)
    SELECT roomId, ?, (SELECT userId FROM "User" WHERE userId = ? AND erasedAt IS NULL), ?, ?, ? FROM "ChatRoom"
    WHERE roomId = ? AND closedAt IS NULL AND (
        SELECT count(*) FROM "RoomBan" AS other
        WHERE other.roomId = "ChatRoom".roomId AND other.until > ? AND other.subject <> ?
    ) < ?
    ON CONFLICT (roomId, subject) DO UPDATE
    SET userId = excluded.userId, reason = excluded.reason, since = excluded.since, until = excluded.until
    WHERE ("RoomBan".reason, "RoomBan".since, "RoomBan".until) <> (excluded.reason, excluded.since, excluded.until)
"""

_COUNT_CHANGE = 'UPDATE "ChatRoom" SET rulesVersion = rulesVersion + 1 WHERE roomId = ? AND changes() = 1'

_BANNED = """
    SELECT rulesVersion FROM "RoomBan" CROSS JOIN "ChatRoom" USING (roomId)
    WHERE roomId = ? AND subject = ? AND reason = ? AND since = ? AND until = ? AND closedAt IS NULL
"""

# A removal after that time ends after it, too: no ban ends before it begins.
_BANS = """
    SELECT roomId, subject, ban.userId, coalesce(displayName, ''), reason, since, until
    FROM "RoomBan" AS ban LEFT JOIN "User" ON "User".userId = ban.userId
    WHERE roomId = ? AND until > ? ORDER BY since DESC, subject DESC
"""

# The row stays for servers that have missed the removal, and says that an earlier vote bans nobody any more: a row
# without an account, which removes nobody, where there was none. It never begins after its end, even if the clock was
# set back.
_UNBAN = """
    INSERT INTO "RoomBan" (roomId, subject, reason, since, until)
    SELECT roomId, ?, 'creator', ?, ? FROM "ChatRoom" WHERE roomId = ? AND closedAt IS NULL
    ON CONFLICT (roomId, subject) DO UPDATE SET since = min("RoomBan".since, excluded.since), until = excluded.until
    WHERE "RoomBan".until <> excluded.until
"""

_UNBANNED = """
    SELECT 1 FROM "RoomBan" CROSS JOIN "ChatRoom" USING (roomId)
    WHERE roomId = ? AND subject = ? AND until = ? AND closedAt IS NULL
"""

_DELETE_ENDED_INVITES = """
    DELETE FROM "RoomInvite" WHERE inviteId IN (
        SELECT inviteId FROM "RoomInvite" WHERE coalesce(endedAt, expiresAt) < ? LIMIT ?
    )
"""

_DELETE_ENDED_BANS = """
    DELETE FROM "RoomBan" WHERE (roomId, subject) IN (SELECT roomId, subject FROM "RoomBan" WHERE until < ? LIMIT ?)
"""

_DELETE_ENDED_USER_BANS = """
    DELETE FROM "UserBan" WHERE subject IN (SELECT subject FROM "UserBan" WHERE until < ? LIMIT ?)
"""


class RoomRuleTables(SqlTables):
    """The methods of `evanesce.interfaces.Repository` that are about invites, admissions and bans."""

    async def create_invite(self, invite: Invite, most: int) -> bool:
        """See `Repository.create_invite`."""
        counts = (invite.people, invite.used)
        columns = (invite.invite_id, invite.secret_hash, *counts, invite.created_at, invite.expires_at)
        _, stored = await self._driver.execute(
            [
                Statement(_ADD_INVITE, (*columns, invite.room_id, invite.created_at, most)),
                Statement(_HAS_INVITE, (invite.invite_id, invite.room_id)),
            ]
        )
        return bool(stored)

    async def invites(self, room_id: str, now: Timestamp) -> Sequence[Invite]:
        """See `Repository.invites`."""
        return [_invite(row) for row in await self._rows(_INVITES, room_id, now)]

    async def revoke_invite(self, room_id: str, invite_id: str, now: Timestamp) -> bool:
        """See `Repository.revoke_invite`."""
        values = (now, invite_id, room_id, now)
        _, revoked = await self._driver.execute([Statement(_REVOKE_INVITE, values), Statement(_REVOKED_INVITE, values)])
        return bool(revoked)

    async def admit(self, room_id: str, user_id: str, invite_id: str, now: Timestamp, most: int) -> bool | None:
        """See `Repository.admit`."""
        who = (user_id, invite_id, room_id, now)
        *_, [[admitted, may_be_admitted]] = await self._driver.execute(
            [
                Statement(_ADMIT, (now, *who, most)),
                Statement(_TAKE_PLACE, (now, invite_id)),
                Statement(_ADMITTED, (room_id, user_id, *who)),
            ]
        )
        return True if admitted else None if may_be_admitted else False

    async def admit_members(self, room_id: str, user_ids: Sequence[str], now: Timestamp, most: int) -> None:
        """See `Repository.admit_members`."""
        given = msgspec.json.encode(list(dict.fromkeys(user_ids))).decode()
        await self._rows(_ADMIT_MEMBERS, now, given, room_id, most, room_id)

    async def admitted(self, admissions: Sequence[tuple[str, str]]) -> Sequence[bool]:
        """See `Repository.admitted`."""
        rows = await self._rows(_WERE_ADMITTED, msgspec.json.encode(admissions).decode())
        return [bool(admitted) for [admitted] in rows]

    async def ban(self, ban: Ban, most: int) -> int | None:
        """See `Repository.ban`."""
        what = (ban.reason, ban.since, ban.until)
        bound = (ban.since, ban.subject, most)
        *_, found = await self._driver.execute(
            [
                Statement(_BAN, (ban.subject, ban.user_id, *what, ban.room_id, *bound)),
                Statement(_COUNT_CHANGE, (ban.room_id,)),
                Statement(_BANNED, (ban.room_id, ban.subject, *what)),
            ]
        )
        version = found[0][0] if found else None
        return version if isinstance(version, int) else None

    async def bans(self, room_id: str, ended_after: Timestamp) -> Sequence[Ban]:
        """See `Repository.bans`."""
        return [_ban(row) for row in await self._rows(_BANS, room_id, ended_after)]

    async def unban(self, room_id: str, subject: str, now: Timestamp) -> bool:
        """See `Repository.unban`."""
        *_, found = await self._driver.execute(
            [
                Statement(_UNBAN, (subject, now, now, room_id)),
                Statement(_COUNT_CHANGE, (room_id,)),
                Statement(_UNBANNED, (room_id, subject, now)),
            ]
        )
        return bool(found)

    async def delete_ended_rules(self, before: Timestamp, count: int) -> int:
        """See `Repository.delete_ended_rules`."""
        invites = await self._change(_DELETE_ENDED_INVITES, before, count)
        bans = await self._change(_DELETE_ENDED_BANS, before, count)
        return invites + bans + await self._change(_DELETE_ENDED_USER_BANS, before, count)


def _invite(row: Sequence[Any]) -> Invite:
    invite_id, room_id, secret_hash, people, used, created_at, expires_at = row
    return Invite(
        invite_id=invite_id,
        room_id=room_id,
        secret_hash=secret_hash,
        people=people,
        used=used,
        created_at=created_at,
        expires_at=expires_at,
    )


def _ban(row: Sequence[Any]) -> Ban:
    room_id, subject, user_id, display_name, reason, since, until = row
    return Ban(
        room_id=room_id,
        subject=subject,
        user_id=user_id,
        display_name=display_name,
        reason=reason,
        since=since,
        until=until,
    )
