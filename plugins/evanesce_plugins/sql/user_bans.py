"""Bans of people from all servers in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evanesce.model import UserBan
from evanesce_plugins.sql.driver import SqlTables

_COLUMNS = "subject, userId, reason, since, until"

# The account may have been erased meanwhile: the person is banned all the same.
_BAN = f"""
    INSERT INTO "UserBan" ({_COLUMNS})
    VALUES (?, (SELECT userId FROM "User" WHERE userId = ? AND erasedAt IS NULL), ?, ?, ?)
    ON CONFLICT (subject) DO UPDATE
    SET userId = excluded.userId, reason = excluded.reason, since = excluded.since, until = excluded.until
"""

_UNBAN = 'DELETE FROM "UserBan" WHERE subject = ? RETURNING subject'

_GET_BAN = f'SELECT {_COLUMNS} FROM "UserBan" WHERE subject = ?'

_BANS = f'SELECT {_COLUMNS} FROM "UserBan" WHERE subject > ? ORDER BY subject LIMIT ?'


class UserBanTables(SqlTables):
    """The methods of `evanesce.interfaces.Repository` that are about bans from all servers."""

    async def ban_user(self, ban: UserBan) -> None:
        """See `Repository.ban_user`."""
        await self._rows(_BAN, ban.subject, ban.user_id, ban.reason, ban.since, ban.until)

    async def unban_user(self, subject: str) -> bool:
        """See `Repository.unban_user`."""
        return bool(await self._rows(_UNBAN, subject))

    async def user_ban(self, subject: str) -> UserBan | None:
        """See `Repository.user_ban`."""
        rows = await self._rows(_GET_BAN, subject)
        return _ban(rows[0]) if rows else None

    async def user_bans(self, after: str, count: int) -> Sequence[UserBan]:
        """See `Repository.user_bans`."""
        return [_ban(row) for row in await self._rows(_BANS, after, count)]


def _ban(row: Sequence[Any]) -> UserBan:
    subject, user_id, reason, since, until = row
    return UserBan(subject=subject, user_id=user_id, reason=reason, since=since, until=until)
