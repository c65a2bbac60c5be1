"""What no client asks for: sessions that nobody ends, rooms that are marked active, rows that were kept long enough.

Every statement touches a bounded number of rows, so that nobody waits long behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

from evanesce.model import Timestamp
from evanesce_plugins.sql.driver import Driver, Statement

# From one name in the index to the next: SELECT DISTINCT would read every open session.
_SERVERS = """
    WITH RECURSIVE names (server) AS (
        SELECT min(server) FROM "SessionLog" WHERE leaveTime IS NULL
        UNION ALL
        SELECT (SELECT min(log.server) FROM "SessionLog" AS log WHERE leaveTime IS NULL AND log.server > names.server)
        FROM names WHERE server IS NOT NULL
    )
    SELECT server FROM names WHERE server IS NOT NULL
"""

_END_SESSIONS = """
    UPDATE "SessionLog" SET leaveTime = max(joinTime, ?) WHERE sessionId IN (
        SELECT sessionId FROM "SessionLog" WHERE leaveTime IS NULL AND server = ? LIMIT ?
    )
"""

_ACTIVE_ROOMS = 'SELECT roomId FROM "ChatRoom" WHERE active = 1 AND roomId > ? ORDER BY roomId LIMIT ?'

_DELETE_SESSIONS = """
    DELETE FROM "SessionLog" WHERE sessionId IN (SELECT sessionId FROM "SessionLog" WHERE leaveTime < ? LIMIT ?)
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

_UNUSED_GUESTS = """
    SELECT userId FROM "User" WHERE guest = 1 AND erasedAt IS NULL AND lastActive < ?
    ORDER BY lastActive, userId LIMIT ? OFFSET ?
"""

_DELETE_GUESTS = """
    DELETE FROM "User" WHERE userId IN (
        SELECT userId FROM "User" WHERE guest = 1 AND erasedAt IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM "ChatRoom" WHERE createdBy = userId) LIMIT ?
    )
"""

_CHANGES = Statement("SELECT changes()")


async def servers_in_sessions(driver: Driver) -> Sequence[str]:
    """See `Repository.servers_in_sessions`."""
    [rows] = await driver.execute([Statement(_SERVERS)], patient=True)
    return [str(server) for [server] in rows]


async def end_sessions(driver: Driver, server: str, at: Timestamp, count: int) -> int:
    """See `Repository.end_sessions`."""
    return await _changes(driver, Statement(_END_SESSIONS, (at, server, count)))


async def active_rooms(driver: Driver, after: str, count: int) -> Sequence[str]:
    """See `Repository.active_rooms`."""
    [rows] = await driver.execute([Statement(_ACTIVE_ROOMS, (after, count))], patient=True)
    return [str(room_id) for [room_id] in rows]


async def delete_sessions(driver: Driver, before: Timestamp, count: int) -> int:
    """See `Repository.delete_sessions`."""
    return await _changes(driver, Statement(_DELETE_SESSIONS, (before, count)))


async def delete_rooms(driver: Driver, before: Timestamp, count: int) -> int:
    """See `Repository.delete_rooms`."""
    sessions = await _changes(driver, Statement(_EMPTY_ROOMS, (before, count)))
    return sessions + await _changes(driver, Statement(_DELETE_ROOMS, (before, count)))


async def unused_guests(driver: Driver, before: Timestamp, skip: int, count: int) -> Sequence[str]:
    """See `Repository.unused_guests`."""
    [rows] = await driver.execute([Statement(_UNUSED_GUESTS, (before, count, skip))], patient=True)
    return [str(user_id) for [user_id] in rows]


async def delete_guests(driver: Driver, count: int) -> int:
    """See `Repository.delete_guests`."""
    return await _changes(driver, Statement(_DELETE_GUESTS, (count,)))


async def _changes(driver: Driver, statement: Statement) -> int:
    """Do `statement`; give how many rows it changed."""
    _, [[count]] = await driver.execute([statement, _CHANGES], patient=True)
    return count if isinstance(count, int) else 0
