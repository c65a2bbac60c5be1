"""The session log in SQL: when users were in which rooms, by which server."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from evanesce.model import Record, RoomActivity, SessionEnded, SessionStarted, Timestamp, UserSeen
from evanesce_plugins.sql.driver import SqlTables, Statement

# Joined with the tables, so that a session of a user or a room that was deleted is dropped, and the others are stored.
# With CROSS, SQLite begins with the elements of the JSON array.
_START_SESSIONS = """
    INSERT INTO "SessionLog" (sessionId, userId, roomId, joinTime, server)
    SELECT json_extract(value, '$[0]'), userId, roomId, json_extract(value, '$[3]'), json_extract(value, '$[4]')
    FROM json_each(?)
    CROSS JOIN "User" ON userId = json_extract(value, '$[1]') AND erasedAt IS NULL
    CROSS JOIN "ChatRoom" ON roomId = json_extract(value, '$[2]')
    WHERE true ON CONFLICT (sessionId) DO NOTHING
"""

# The sign + prevents the use of an index in which most rows have the same value.
_END_SESSIONS = """
    UPDATE "SessionLog" SET leaveTime = max(joinTime, json_extract(value, '$[1]')), lost = json_extract(value, '$[2]')
    FROM json_each(?)
    WHERE sessionId = json_extract(value, '$[0]') AND +leaveTime IS NULL
"""

_SEE_USERS = """
    UPDATE "User" SET lastActive = max(lastActive, json_extract(value, '$[1]')) FROM json_each(?)
    WHERE userId = json_extract(value, '$[0]') AND erasedAt IS NULL
"""

# Every server repeats which rooms are active. A row that has this value already is not written.
_MARK_ROOMS = """
    UPDATE "ChatRoom" SET active = json_extract(value, '$[1]') FROM json_each(?)
    WHERE roomId = json_extract(value, '$[0]') AND +closedAt IS NULL AND +active <> json_extract(value, '$[1]')
"""

# Goes from one name in the index to the next. SELECT DISTINCT would read every open session.
_SERVERS = """
    WITH RECURSIVE names (server) AS (
        SELECT min(server) FROM "SessionLog" WHERE leaveTime IS NULL
        UNION ALL
        SELECT (SELECT min(log.server) FROM "SessionLog" AS log WHERE leaveTime IS NULL AND log.server > names.server)
        FROM names WHERE server IS NOT NULL
    )
    SELECT server FROM names WHERE server IS NOT NULL
"""

_END_SERVERS_SESSIONS = """
    UPDATE "SessionLog" SET leaveTime = max(joinTime, ?), lost = 1 WHERE sessionId IN (
        SELECT sessionId FROM "SessionLog" WHERE leaveTime IS NULL AND server = ? LIMIT ?
    )
"""

# A user may have several sessions in a room at once. The one that ended last decides, as far as that is known: of a
# session without an end it is, by the order of the records, to the server that it was on.
_LOST = """
    SELECT asked.key, EXISTS (
        SELECT 1 FROM "SessionLog" AS log
        WHERE log.userId = json_extract(asked.value, '$[1]') AND log.roomId = json_extract(asked.value, '$[0]')
        AND (log.leaveTime IS NULL OR (log.leaveTime >= ? AND log.lost = 1))
        AND NOT EXISTS (
            SELECT 1 FROM "SessionLog" AS other
            WHERE other.userId = log.userId AND other.roomId = log.roomId AND other.leaveTime >= log.joinTime
            AND other.lost = 0
            AND (other.server <> log.server OR other.leaveTime >= log.leaveTime)
        )
        AND NOT EXISTS (
            SELECT 1 FROM "RoomBan" AS ban
            WHERE ban.roomId = log.roomId AND ban.since >= log.joinTime AND ban.userId = log.userId
        )
    ) AND NOT EXISTS (
        SELECT 1 FROM "SessionLog" AS log
        WHERE log.userId = json_extract(asked.value, '$[1]') AND log.roomId = json_extract(asked.value, '$[0]')
        AND log.leaveTime IS NULL AND log.server IN (SELECT value FROM json_each(?))
    )
    FROM json_each(?) AS asked
"""

_DELETE_SESSIONS = """
    DELETE FROM "SessionLog" WHERE sessionId IN (SELECT sessionId FROM "SessionLog" WHERE leaveTime < ? LIMIT ?)
"""


class SessionLogTables(SqlTables):
    """The methods of `evanesce.interfaces.Repository` that are about sessions, and those that write records.

    Every statement of a maintenance job changes a limited number of rows, so that other calls do not wait long.
    """

    async def record(self, records: Sequence[Record]) -> None:
        """See `Repository.record`."""
        if statements := _statements(records):
            await self._driver.execute(statements, patient=True)

    async def servers_in_sessions(self) -> Sequence[str]:
        """See `Repository.servers_in_sessions`."""
        return await self._texts(_SERVERS)

    async def end_sessions(self, server: str, at: Timestamp, count: int) -> int:
        """See `Repository.end_sessions`."""
        return await self._change(_END_SERVERS_SESSIONS, at, server, count)

    async def lost(
        self, members: Sequence[tuple[str, str]], after: Timestamp, running: Collection[str]
    ) -> Sequence[bool]:
        """See `Repository.lost`."""
        names, asked = (msgspec.json.encode(given).decode() for given in (list(running), members))
        found = {position: bool(lost) for position, lost in await self._rows(_LOST, after, names, asked)}
        return [found[position] for position in range(len(members))]

    async def delete_sessions(self, before: Timestamp, count: int) -> int:
        """See `Repository.delete_sessions`."""
        return await self._change(_DELETE_SESSIONS, before, count)


def _statements(batch: Sequence[Record]) -> list[Statement]:
    """Return one statement for each kind of record in `batch`. Executing them twice changes nothing.

    The rows are one JSON array: hundreds of statements would cost twenty times as much, in this process and on the
    network.
    """
    started: list[tuple[str, ...]] = []
    ended: dict[str, tuple[str, int]] = {}
    seen: dict[str, str] = {}
    marked: dict[str, int] = {}
    for record in batch:
        match record:
            case SessionStarted():
                started.append((record.session_id, record.user_id, record.room_id, record.join_time, record.server))
            case SessionEnded():
                ended.setdefault(record.session_id, (record.leave_time, int(record.lost)))  # the first end wins
            case UserSeen():
                seen[record.user_id] = max(record.last_active, seen.get(record.user_id, ""))
            case RoomActivity():
                marked[record.room_id] = int(record.active)  # the last one wins
    found = (
        (_START_SESSIONS, started),
        (_END_SESSIONS, [(session_id, *end) for session_id, end in ended.items()]),
        (_SEE_USERS, list(seen.items())),
        (_MARK_ROOMS, list(marked.items())),
    )
    return [Statement(sql, (msgspec.json.encode(rows).decode(),)) for sql, rows in found if rows]
