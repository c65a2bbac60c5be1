"""Accounts in SQL: users, what providers registered with them, the proofs that they used, revoked sign-ins.

Conditions are part of the statements, so that no transaction is open while this process computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from evanesce.errors import RegistrationTaken
from evanesce.model import RegisteredAccount, Registration, Timestamp, User
from evanesce_plugins.sql.driver import Refused, SqlTables, Statement

_USER = "userId, worldId, displayName, email, createdAt, lastActive, guest"

_WITH_BAN = f"""
    {", ".join(f'"User".{column}' for column in _USER.split(", "))},
    (SELECT max(until) FROM "UserBan" WHERE "UserBan".userId = "User".userId)
"""
"""The columns of a user, and when the user's ban from all servers ends."""

# No conflict target: a sign-in that is repeated conflicts with its own userId and with its own worldId.
_ADD_USER = f'INSERT INTO "User" ({_USER}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING userId'

_SEE_WORLD_ID = f'UPDATE "User" SET lastActive = max(lastActive, ?) WHERE worldId = ? RETURNING {_USER}'

_FORGET_REVOKED = 'DELETE FROM "RevokedSignIn" WHERE expiresAt < ?'

_REVOKE = """
    INSERT INTO "RevokedSignIn" (signInId, expiresAt) VALUES (?, ?)
    ON CONFLICT (signInId) DO UPDATE SET expiresAt = max(expiresAt, excluded.expiresAt)
"""

_GET_USER = f"""
    SELECT {_WITH_BAN} FROM "User" WHERE userId = ? AND erasedAt IS NULL
    AND NOT EXISTS (SELECT 1 FROM "RevokedSignIn" WHERE signInId = ?)
"""

# One row for each element of the JSON array, in its order.
_SIGNED_IN = f"""
    SELECT {_WITH_BAN} FROM json_each(?) AS asked LEFT JOIN "User" ON userId = json_extract(asked.value, '$[0]')
    AND erasedAt IS NULL
    AND NOT EXISTS (SELECT 1 FROM "RevokedSignIn" WHERE signInId = json_extract(asked.value, '$[1]'))
    ORDER BY asked.key
"""

_FIND_USER = f'SELECT {_WITH_BAN} FROM "User" WHERE worldId = ?'

_ALL_USERS = f'SELECT {_WITH_BAN} FROM "User" WHERE erasedAt IS NULL AND userId > ? ORDER BY userId LIMIT ?'

_HAS_ACCOUNT = 'SELECT 1 FROM "User" WHERE worldId = ?'

# No conflict clause: a value of another account makes the whole batch fail, and the account is not stored.
_REGISTER = """
    INSERT INTO "Registration" (provider, userId, value, accountCode)
    SELECT ?, userId, ?, ? FROM "User" WHERE worldId = ?
    AND NOT EXISTS (SELECT 1 FROM "Registration" AS kept WHERE kept.provider = ? AND kept.userId = "User".userId)
"""

_CHANGE_REGISTRATION = 'UPDATE "Registration" SET value = ? WHERE provider = ? AND userId = ? AND value = ?'

_HAS_REGISTRATION = 'SELECT 1 FROM "Registration" WHERE provider = ? AND userId = ? AND value = ?'

_FIND_REGISTRATION = 'SELECT userId, value FROM "Registration" WHERE accountCode = ? AND provider = ?'

_GET_ACCOUNT_CODE = 'SELECT accountCode FROM "Registration" WHERE userId = ? ORDER BY provider LIMIT 1'

_SPEND = """
    INSERT INTO "SpentProof" (provider, proof, userId, attempt)
    SELECT ?, ?, userId, ? FROM "User" WHERE userId = ? AND erasedAt IS NULL ON CONFLICT (provider, proof) DO NOTHING
"""

_SPENT = 'SELECT 1 FROM "SpentProof" WHERE provider = ? AND proof = ? AND userId = ? AND attempt = ?'

_UPDATE_USER = f"""
    UPDATE "User" SET displayName = ?, email = ? WHERE userId = ? AND erasedAt IS NULL RETURNING {_USER}
"""

_ERASE_USER = """
    UPDATE "User" SET worldId = NULL, displayName = '', email = NULL, erasedAt = ?
    WHERE userId = ? AND erasedAt IS NULL
"""

_ERASE_REGISTRATIONS = 'DELETE FROM "Registration" WHERE userId = ?'

_ERASE_PROOFS = 'DELETE FROM "SpentProof" WHERE userId = ?'

_ERASE_SESSIONS = 'DELETE FROM "SessionLog" WHERE userId = ?'

_ERASE_ADMISSIONS = 'DELETE FROM "RoomAdmission" WHERE userId = ?'

_ERASE_FROM_BANS = 'UPDATE "RoomBan" SET userId = NULL WHERE userId = ?'

_ERASE_FROM_USER_BANS = 'UPDATE "UserBan" SET userId = NULL WHERE userId = ?'

_ERASE_ROOMS = 'UPDATE "ChatRoom" SET closedAt = ?, active = 0 WHERE createdBy = ? AND closedAt IS NULL'

# Not the rows that the statement above changes: erasing again, after a first call that failed, returns the same rooms.
_ERASED_ROOMS = """
    SELECT roomId FROM "User" JOIN "ChatRoom" ON createdBy = userId AND closedAt = erasedAt WHERE userId = ?
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


def erasure(user_id: str, now: Timestamp) -> list[Statement]:
    """Return the statements that erase an account, which may be erased already."""
    return [
        Statement(_ERASE_USER, (now, user_id)),
        Statement(_ERASE_REGISTRATIONS, (user_id,)),
        Statement(_ERASE_PROOFS, (user_id,)),
        Statement(_ERASE_SESSIONS, (user_id,)),
        Statement(_ERASE_ADMISSIONS, (user_id,)),
        Statement(_ERASE_FROM_BANS, (user_id,)),
        Statement(_ERASE_FROM_USER_BANS, (user_id,)),
        Statement(_ERASE_ROOMS, (now, user_id)),
    ]


class AccountTables(SqlTables):
    """The methods of `evanesce.interfaces.Repository` that are about accounts."""

    async def sign_in(
        self, user: User, provider: str = "", registration: Registration | None = None
    ) -> tuple[User, bool]:
        """See `Repository.sign_in`."""
        who = (user.user_id, user.world_id, user.display_name, user.email)
        columns = (*who, user.created_at, user.last_active, int(user.guest))
        batch = [
            # Sign-ins are frequent enough to remove expired rows.
            Statement(_FORGET_REVOKED, (user.last_active,)),
            Statement(_ADD_USER, columns),
            Statement(_SEE_WORLD_ID, (user.last_active, user.world_id)),
        ]
        if registration is not None:
            kept = (registration.value, registration.account_code)
            batch.append(Statement(_REGISTER, (provider, *kept, user.world_id, provider)))
        try:
            _, added, found, *_ = await self._driver.execute(batch)
        except Refused:
            if registration is None:
                raise
            raise RegistrationTaken from None
        return _user(found[0]), bool(added)

    async def user(self, user_id: str, sign_in_id: str | None = None) -> User | None:
        """See `Repository.user`."""
        rows = await self._rows(_GET_USER, user_id, sign_in_id)
        return _user(rows[0]) if rows else None

    async def signed_in(self, sign_ins: Sequence[tuple[str, str]]) -> Sequence[User | None]:
        """See `Repository.signed_in`."""
        rows = await self._rows(_SIGNED_IN, msgspec.json.encode(sign_ins).decode())
        return [None if row[0] is None else _user(row) for row in rows]

    async def has_account(self, world_id: str) -> bool:
        """See `Repository.has_account`."""
        return bool(await self._rows(_HAS_ACCOUNT, world_id))

    async def find_user(self, world_id: str) -> User | None:
        """See `Repository.find_user`."""
        rows = await self._rows(_FIND_USER, world_id)
        return _user(rows[0]) if rows else None

    async def all_users(self, after: str, count: int) -> Sequence[User]:
        """See `Repository.all_users`."""
        return [_user(row) for row in await self._rows(_ALL_USERS, after, count)]

    async def find_registration(self, provider: str, account_code: str) -> RegisteredAccount | None:
        """See `Repository.find_registration`."""
        rows = await self._rows(_FIND_REGISTRATION, account_code, provider)
        return RegisteredAccount(user_id=str(rows[0][0]), value=str(rows[0][1])) if rows else None

    async def change_registration(self, provider: str, user_id: str, value: str, replaces: str) -> bool:
        """See `Repository.change_registration`."""
        try:
            _, stored = await self._driver.execute(
                [
                    Statement(_CHANGE_REGISTRATION, (value, provider, user_id, replaces)),
                    Statement(_HAS_REGISTRATION, (provider, user_id, value)),
                ]
            )
        except Refused:
            raise RegistrationTaken from None
        return bool(stored)

    async def account_code(self, user_id: str) -> str | None:
        """See `Repository.account_code`."""
        rows = await self._rows(_GET_ACCOUNT_CODE, user_id)
        return str(rows[0][0]) if rows else None

    async def spend(self, provider: str, user_id: str, proof: str, attempt: str) -> bool:
        """See `Repository.spend`."""
        _, spent = await self._driver.execute(
            [
                Statement(_SPEND, (provider, proof, attempt, user_id)),
                Statement(_SPENT, (provider, proof, user_id, attempt)),
            ]
        )
        return bool(spent)

    async def update_user(self, user: User) -> User | None:
        """See `Repository.update_user`."""
        rows = await self._rows(_UPDATE_USER, user.display_name, user.email, user.user_id)
        return _user(rows[0]) if rows else None

    async def erase_user(self, user_id: str, now: Timestamp) -> list[str]:
        """See `Repository.erase_user`."""
        *_, rooms = await self._driver.execute([*erasure(user_id, now), Statement(_ERASED_ROOMS, (user_id,))])
        return [str(room_id) for [room_id] in rooms]

    async def revoke_sign_in(self, sign_in_id: str, until: Timestamp) -> None:
        """See `Repository.revoke_sign_in`."""
        await self._rows(_REVOKE, sign_in_id, until)

    async def unused_guests(self, before: Timestamp, skip: int, count: int) -> Sequence[str]:
        """See `Repository.unused_guests`."""
        return await self._texts(_UNUSED_GUESTS, before, count, skip)

    async def delete_guests(self, count: int) -> int:
        """See `Repository.delete_guests`."""
        return await self._change(_DELETE_GUESTS, count)


def _user(row: Sequence[Any]) -> User:
    user_id, world_id, display_name, email, created_at, last_active, guest, *ban = row
    return User(
        user_id=user_id,
        world_id=world_id,
        display_name=display_name,
        email=email,
        created_at=created_at,
        last_active=last_active,
        guest=bool(guest),
        banned_until=ban[0] if ban else None,
    )
