"""Chat rooms in SQL, and the pages of the list of a user's rooms."""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from evanesce.errors import BadRequest
from evanesce.model import ChatRoom, Timestamp
from evanesce_plugins.sql.driver import SqlTables, Statement

_ROOM = "roomId, createdBy, createdAt, deepLink, active"

_ADD_ROOM = """
    INSERT INTO "ChatRoom" (roomId, createdBy, createdAt, deepLink, active)
    SELECT ?, userId, ?, ?, ? FROM "User" WHERE userId = ? AND erasedAt IS NULL
    AND (SELECT count(*) FROM "ChatRoom" WHERE createdBy = userId AND closedAt IS NULL) < ?
    ON CONFLICT (roomId) DO NOTHING
"""

_OWNS_ROOM = 'SELECT 1 FROM "ChatRoom" WHERE roomId = ? AND createdBy = ? AND closedAt IS NULL'

_GET_ROOM = f'SELECT {_ROOM} FROM "ChatRoom" WHERE roomId = ? AND closedAt IS NULL'

_OPEN_ROOMS = """
    SELECT roomId FROM json_each(?) AS asked CROSS JOIN "ChatRoom" ON roomId = asked.value WHERE closedAt IS NULL
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

_RENEW_LINKS = """
    UPDATE "ChatRoom" SET deepLink = ? || roomId WHERE roomId IN (
        SELECT roomId FROM "ChatRoom" WHERE deepLink <> ? || roomId LIMIT ?
    )
"""

_EMPTY_ROOMS = """
    DELETE FROM "SessionLog" WHERE sessionId IN (
        SELECT sessionId FROM "ChatRoom" CROSS JOIN "SessionLog" USING (roomId) WHERE closedAt < ? LIMIT ?
    )
"""

_DELETE_ROOMS = """
    DELETE FROM "ChatRoom" WHERE roomId IN (
        SELECT roomId FROM "ChatRoom" WHERE closedAt < ?
        AND NOT EXISTS (SELECT 1 FROM "SessionLog" AS log WHERE log.roomId = "ChatRoom".roomId) LIMIT ?
    )
"""


class RoomTables(SqlTables):
    """The methods of `evanesce.interfaces.Repository` that are about rooms."""

    async def create_room(self, room: ChatRoom, most: int) -> bool:
        """See `Repository.create_room`."""
        columns = (room.room_id, room.created_at, room.deep_link, int(room.active))
        _, owned = await self._driver.execute(
            [
                Statement(_ADD_ROOM, (*columns, room.created_by, most)),
                Statement(_OWNS_ROOM, (room.room_id, room.created_by)),
            ]
        )
        return bool(owned)

    async def room(self, room_id: str) -> ChatRoom | None:
        """See `Repository.room`."""
        rows = await self._rows(_GET_ROOM, room_id)
        return _room(rows[0]) if rows else None

    async def open_rooms(self, room_ids: Sequence[str]) -> Collection[str]:
        """See `Repository.open_rooms`."""
        return {str(room_id) for [room_id] in await self._rows(_OPEN_ROOMS, msgspec.json.encode(room_ids).decode())}

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
        sessions = await self._change(_EMPTY_ROOMS, before, count)
        return sessions + await self._change(_DELETE_ROOMS, before, count)


def _room(row: Sequence[Any]) -> ChatRoom:
    room_id, created_by, created_at, deep_link, active = row
    return ChatRoom(
        room_id=room_id, created_by=created_by, created_at=created_at, deep_link=deep_link, active=bool(active)
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
