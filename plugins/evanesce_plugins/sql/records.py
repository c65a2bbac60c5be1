"""What the write-behind queue brings, as one statement for each kind of record, however many there are.

The rows travel as one JSON array: hundreds of statements would cost a server on the network, and this process, twenty
times as much.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from evanesce.model import Record, RoomActivity, SessionEnded, SessionStarted, UserSeen
from evanesce_plugins.sql.driver import Statement

# From the tables, not from values alone: a session of somebody who is there no more is dropped, and the others kept.
# CROSS, as SQLite then begins with the rows that were given.
_START_SESSIONS = """
    INSERT INTO "SessionLog" (sessionId, userId, roomId, joinTime, server)
    SELECT json_extract(value, '$[0]'), userId, roomId, json_extract(value, '$[3]'), json_extract(value, '$[4]')
    FROM json_each(?)
    CROSS JOIN "User" ON userId = json_extract(value, '$[1]') AND erasedAt IS NULL
    CROSS JOIN "ChatRoom" ON roomId = json_extract(value, '$[2]')
    WHERE true ON CONFLICT (sessionId) DO NOTHING
"""

# The sign + keeps an index out of it that most rows have in common.
_END_SESSIONS = """
    UPDATE "SessionLog" SET leaveTime = json_extract(value, '$[1]') FROM json_each(?)
    WHERE sessionId = json_extract(value, '$[0]') AND +leaveTime IS NULL
"""

_SEE_USERS = """
    UPDATE "User" SET lastActive = max(lastActive, json_extract(value, '$[1]')) FROM json_each(?)
    WHERE userId = json_extract(value, '$[0]') AND erasedAt IS NULL
"""

# What is said again and again, as every server does of the rooms that people are in, writes nothing.
_MARK_ROOMS = """
    UPDATE "ChatRoom" SET active = json_extract(value, '$[1]') FROM json_each(?)
    WHERE roomId = json_extract(value, '$[0]') AND +closedAt IS NULL AND +active <> json_extract(value, '$[1]')
"""


def statements(batch: Sequence[Record]) -> list[Statement]:
    """Give what writes `batch`, none where it is empty. It may be done twice, and changes nothing then."""
    started: list[tuple[str, ...]] = []
    ended: dict[str, str] = {}
    seen: dict[str, str] = {}
    marked: dict[str, int] = {}
    for record in batch:
        match record:
            case SessionStarted():
                started.append((record.session_id, record.user_id, record.room_id, record.join_time, record.server))
            case SessionEnded():
                ended.setdefault(record.session_id, record.leave_time)  # the first end counts
            case UserSeen():
                seen[record.user_id] = max(record.last_active, seen.get(record.user_id, ""))
            case RoomActivity():
                marked[record.room_id] = int(record.active)  # the last word counts
    found = (
        (_START_SESSIONS, started),
        (_END_SESSIONS, list(ended.items())),
        (_SEE_USERS, list(seen.items())),
        (_MARK_ROOMS, list(marked.items())),
    )
    return [Statement(sql, (msgspec.json.encode(rows).decode(),)) for sql, rows in found if rows]
