"""Chat rooms in SQL, and the pages of the list of a user's rooms."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from evanesce.errors import BadRequest
from evanesce.model import Access, ChatRoom, Timestamp
from evanesce_plugins.sql.driver import SqlTables, Statement

_RULES = "messageTtl, access, locked, encrypted, rulesVersion"

_ROOM = f"roomId, createdBy, createdAt, deepLink, active, {_RULES}"

_ADD_ROOM = f"""
    INSERT INTO "ChatRoom" ({_ROOM})
    SELECT ?, userId, ?, ?, ?, ?, ?, ?, ?, ? FROM "User" WHERE userId = ? AND erasedAt IS NULL
    AND (SELECT count(*) FROM "ChatRoom" WHERE createdBy = userId AND closedAt IS NULL) < ?
    ON CONFLICT (roomId) DO NOTHING
"""

_OWNS_ROOM = 'SELECT 1 FROM "ChatRoom" WHERE roomId = ? AND createdBy = ? AND closedAt IS NULL'

_GET_ROOM = f'SELECT {_ROOM} FROM "ChatRoom" WHERE roomId = ? AND closedAt IS NULL'

_UPDATE_ROOM = """
    UPDATE "ChatRoom" SET messageTtl = ?, access = ?, locked = ?, rulesVersion = rulesVersion + 1
    WHERE roomId = ? AND rulesVersion = ? AND closedAt IS NULL
"""

# Not the rows that the statement above changes: the second of two executions changes none.
_RAISE_RULES_VERSION = """
    UPDATE "ChatRoom" SET rulesVersion = ? WHERE roomId = ? AND closedAt IS NULL AND rulesVersion < ?
"""

_UPDATED_ROOM = f"""
    SELECT {_ROOM} FROM "ChatRoom" WHERE messageTtl IS ? AND access = ? AND locked = ?
    AND roomId = ? AND rulesVersion = ? + 1 AND closedAt IS NULL
"""

_OPEN_ROOMS = """
    SELECT roomId, rulesVersion FROM json_each(?) AS asked CROSS JOIN "ChatRoom" ON roomId = asked.value
    WHERE closedAt IS NULL
"""

_FIRST_ROOMS = f"""
    SELECT {_ROOM} FROM "ChatRoom" WHERE createdBy = ? AND closedAt IS NULL
    ORDER BY createdAt DESC, roomId DESC LIMIT ?
"""

_NEXT_ROOMS = f"""
    SELECT {_ROOM} FROM "ChatRoom" WHERE createdBy = ? AND closedAt IS NULL AND (createdAt, roomId) < (?, ?)
    ORDER BY createdAt DESC, roomId DESC LIMIT ?
"""

_CLOSE_ROOM = 'UPDATE "ChatRoom" SET closedAt = ?, active = 0 WHERE roomId = ? AND closedAt IS NULL RETURNING roomId'

_ACTIVE_ROOMS = 'SELECT roomId FROM "ChatRoom" WHERE active = 1 AND roomId > ? ORDER BY roomId LIMIT ?'

_ALL_ROOMS = f"""
    SELECT {_ROOM} FROM "ChatRoom" WHERE closedAt IS NULL AND roomId > ? ORDER BY roomId LIMIT ?
"""

_ALL_ACTIVE_ROOMS = f"""
    SELECT {_ROOM} FROM "ChatRoom" WHERE active = 1 AND closedAt IS NULL AND roomId > ? ORDER BY roomId LIMIT ?
"""

_RENEW_LINKS = """
    UPDATE "ChatRoom" SET deepLink = ? || roomId WHERE roomId IN (
        SELECT roomId FROM "ChatRoom" WHERE deepLink <> ? || roomId LIMIT ?
    )
"""

_DELETE_SESSIONS = """
    DELETE FROM "SessionLog" WHERE sessionId IN (
        SELECT sessionId FROM "ChatRoom" CROSS JOIN "SessionLog" USING (roomId) WHERE closedAt < ? LIMIT ?
    )
"""

_DELETE_INVITES = """
    DELETE FROM "RoomInvite" WHERE inviteId IN (
        SELECT inviteId FROM "ChatRoom" CROSS JOIN "RoomInvite" USING (roomId) WHERE closedAt < ? LIMIT ?
    )
"""

_DELETE_ADMISSIONS = """
    DELETE FROM "RoomAdmission" WHERE (roomId, userId) IN (
        SELECT kept.roomId, userId FROM "ChatRoom" CROSS JOIN "RoomAdmission" AS kept USING (roomId)
        WHERE closedAt < ? LIMIT ?
    )
"""

_DELETE_BANS = """
    DELETE FROM "RoomBan" WHERE (roomId, subject) IN (
        SELECT ban.roomId, subject FROM "ChatRoom" CROSS JOIN "RoomBan" AS ban USING (roomId)
        WHERE closedAt < ? LIMIT ?
    )
"""

_DELETE_ROOMS = """
    DELETE FROM "ChatRoom" WHERE roomId IN (
        SELECT roomId FROM "ChatRoom" WHERE closedAt < ?
        AND NOT EXISTS (SELECT 1 FROM "SessionLog" AS log WHERE log.roomId = "ChatRoom".roomId)
        AND NOT EXISTS (SELECT 1 FROM "RoomInvite" AS invite WHERE invite.roomId = "ChatRoom".roomId)
        AND NOT EXISTS (SELECT 1 FROM "RoomAdmission" AS kept WHERE kept.roomId = "ChatRoom".roomId)
        AND NOT EXISTS (SELECT 1 FROM "RoomBan" AS ban WHERE ban.roomId = "ChatRoom".roomId) LIMIT ?
    )
"""


class RoomTables(SqlTables):
    """The methods of `evanesce.interfaces.Repository` that are about rooms."""

    async def create_room(self, room: ChatRoom, most: int) -> bool:
        """See `Repository.create_room`."""
        rules = (*_options(room), int(room.encrypted), room.rules_version)
        columns = (room.room_id, room.created_at, room.deep_link, int(room.active), *rules)
        _, owned = await self._driver.execute(
            [
                Statement(_ADD_ROOM, (*columns, room.created_by, most)),
                Statement(_OWNS_ROOM, (room.room_id, room.created_by)),
            ]
        )
        return bool(owned)

    async def update_room(self, room: ChatRoom) -> ChatRoom | None:
        """See `Repository.update_room`."""
        values = (*_options(room), room.room_id, room.rules_version)
        _, rows = await self._driver.execute([Statement(_UPDATE_ROOM, values), Statement(_UPDATED_ROOM, values)])
        return _room(rows[0]) if rows else None

    async def raise_rules_version(self, room_id: str, version: int) -> None:
        """See `Repository.raise_rules_version`."""
        await self._rows(_RAISE_RULES_VERSION, version, room_id, version)

    async def room(self, room_id: str) -> ChatRoom | None:
        """See `Repository.room`."""
        rows = await self._rows(_GET_ROOM, room_id)
        return _room(rows[0]) if rows else None

    async def all_rooms(self, after: str, count: int, *, active: bool) -> Sequence[ChatRoom]:
        """See `Repository.all_rooms`."""
        rows = await self._rows(_ALL_ACTIVE_ROOMS if active else _ALL_ROOMS, after, count)
        return [_room(row) for row in rows]

    async def open_rooms(self, room_ids: Sequence[str]) -> Mapping[str, int]:
        """See `Repository.open_rooms`."""
        rows: list[Any] = await self._rows(_OPEN_ROOMS, msgspec.json.encode(room_ids).decode())
        return dict(rows)

    async def rooms(self, user_id: str, after: str | None, count: int) -> tuple[list[ChatRoom], str | None]:
        """See `Repository.rooms`."""
        if after is None:
            rows = await self._rows(_FIRST_ROOMS, user_id, count + 1)
        else:
            rows = await self._rows(_NEXT_ROOMS, user_id, *read_page_token(after), count + 1)
        page = [_room(row) for row in rows[:count]]
        return page, page_token(page[-1].created_at, page[-1].room_id) if len(rows) > count else None

    async def close_room(self, room_id: str, now: Timestamp) -> bool:
        """See `Repository.close_room`."""
        return bool(await self._rows(_CLOSE_ROOM, now, room_id))

    async def active_rooms(self, after: str, count: int) -> Sequence[str]:
        """See `Repository.active_rooms`."""
        return await self._texts(_ACTIVE_ROOMS, after, count)

    async def renew_links(self, base: str, count: int) -> int:
        """See `Repository.renew_links`."""
        return await self._change(_RENEW_LINKS, base, base, count)

    async def delete_rooms(self, before: Timestamp, count: int) -> int:
        """See `Repository.delete_rooms`."""
        # The last one deletes the rooms that the others have emptied.
        statements = (_DELETE_SESSIONS, _DELETE_INVITES, _DELETE_ADMISSIONS, _DELETE_BANS, _DELETE_ROOMS)
        return sum([await self._change(sql, before, count) for sql in statements])


def _options(room: ChatRoom) -> tuple[float | None, str, int]:
    return room.message_ttl, str(room.access), int(room.locked)


def _room(row: Sequence[Any]) -> ChatRoom:
    room_id, created_by, created_at, deep_link, active, message_ttl, access, locked, encrypted, rules_version = row
    return ChatRoom(
        room_id=room_id,
        created_by=created_by,
        created_at=created_at,
        deep_link=deep_link,
        active=bool(active),
        message_ttl=message_ttl,
        access=Access(access),
        locked=bool(locked),
        encrypted=bool(encrypted),
        rules_version=rules_version,
    )


def page_token(created_at: str, room_id: str) -> str:
    """Return the token of a page that starts after this room, as text that can be part of a URL unescaped."""
    return base64.urlsafe_b64encode(f"{created_at} {room_id}".encode()).decode().rstrip("=")


def read_page_token(token: str) -> tuple[str, str]:
    """Return the creation time and the id of the room in a page token. Raises `BadRequest`.

    The decoder accepts more than `page_token` writes, so the result is encoded again and compared.
    """
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except ValueError:
        text = ""
    created_at, _, room_id = text.partition(" ")
    if not room_id or page_token(created_at, room_id) != token:
        raise BadRequest("after", "Use the `next` of the previous page.")
    return created_at, room_id
