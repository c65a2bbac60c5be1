"""Users, rooms and session logs in SQL. Conditions stand in the statements themselves: no transaction waits for us."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from evanesce.interfaces import Rows, Value
from evanesce.model import ChatRoom, Record, Timestamp, User
from evanesce_plugins.sql import transfer, upkeep
from evanesce_plugins.sql.driver import Driver, Row, Statement
from evanesce_plugins.sql.places import read_place, write_place
from evanesce_plugins.sql.records import statements
from evanesce_plugins.sql.schema import MIGRATIONS, migrate, schema_version

_USER = "userId, worldId, displayName, email, createdAt, lastActive, guest"
_ROOM = "roomId, createdBy, createdAt, deepLink, active"

# No conflict target: a sign-in that is repeated meets its own userId as well as its own worldId.
_ADD_USER = f'INSERT INTO "User" ({_USER}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING userId'

_SEE_WORLD_ID = f'UPDATE "User" SET lastActive = max(lastActive, ?) WHERE worldId = ? RETURNING {_USER}'

_FORGET_REVOKED = 'DELETE FROM "RevokedSignIn" WHERE expiresAt < ?'

_REVOKE = """
    INSERT INTO "RevokedSignIn" (signInId, expiresAt) VALUES (?, ?)
    ON CONFLICT (signInId) DO UPDATE SET expiresAt = max(expiresAt, excluded.expiresAt)
"""

_GET_USER = f"""
    SELECT {_USER} FROM "User" WHERE userId = ? AND erasedAt IS NULL
    AND NOT EXISTS (SELECT 1 FROM "RevokedSignIn" WHERE signInId = ?)
"""

_HAS_ACCOUNT = 'SELECT 1 FROM "User" WHERE worldId = ?'

_GET_REGISTRATION = 'SELECT value FROM "Registration" WHERE provider = ? AND userId = ?'

# No conflict target: the account may have something registered, and another one this value.
_REGISTER = """
    INSERT INTO "Registration" (provider, userId, value)
    SELECT ?, userId, ? FROM "User" WHERE userId = ? AND erasedAt IS NULL ON CONFLICT DO NOTHING
"""

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

_ERASE_ROOMS = 'UPDATE "ChatRoom" SET closedAt = ?, active = 0 WHERE createdBy = ? AND closedAt IS NULL'

# Not the rows of the statement above: who erases again, not knowing how the first time went, gets the same rooms.
_ERASED_ROOMS = """
    SELECT roomId FROM "User" JOIN "ChatRoom" ON createdBy = userId AND closedAt = erasedAt WHERE userId = ?
"""

_ADD_ROOM = """
    INSERT INTO "ChatRoom" (roomId, createdBy, createdAt, deepLink, active)
    SELECT ?, userId, ?, ?, ? FROM "User" WHERE userId = ? AND erasedAt IS NULL
    AND (SELECT count(*) FROM "ChatRoom" WHERE createdBy = userId AND closedAt IS NULL) < ?
    ON CONFLICT (roomId) DO NOTHING
"""

_OWNS_ROOM = 'SELECT 1 FROM "ChatRoom" WHERE roomId = ? AND createdBy = ? AND closedAt IS NULL'

_GET_ROOM = f'SELECT {_ROOM} FROM "ChatRoom" WHERE roomId = ? AND closedAt IS NULL'

_FIRST_ROOMS = f"""
    SELECT {_ROOM} FROM "ChatRoom" WHERE createdBy = ? AND closedAt IS NULL
    ORDER BY createdAt DESC, roomId DESC LIMIT ?
"""

_NEXT_ROOMS = f"""
    SELECT {_ROOM} FROM "ChatRoom" WHERE createdBy = ? AND closedAt IS NULL AND (createdAt, roomId) < (?, ?)
    ORDER BY createdAt DESC, roomId DESC LIMIT ?
"""

_CLOSE_ROOM = 'UPDATE "ChatRoom" SET closedAt = ?, active = 0 WHERE roomId = ? AND closedAt IS NULL RETURNING roomId'


class SqlRepository:
    """Keeps `evanesce.interfaces.Repository` on any SQLite or libSQL that `connect` opens.

    `setting` is the path of the configuration's key that names the database: errors at its opening name it.
    """

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[Driver]], setting: str) -> None:
        self._connect = connect
        self._setting = setting
        self._opened = AsyncExitStack()
        self._driver: Driver
        self._found = 0

    async def __aenter__(self) -> SqlRepository:
        async with AsyncExitStack() as stack:
            self._driver = await stack.enter_async_context(self._connect())
            self._found = await migrate(self._driver, self._setting)
            self._opened = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._opened.aclose()

    async def _rows(self, sql: str, *values: Value) -> list[Row]:
        [rows] = await self._driver.execute([Statement(sql, values)])
        return rows

    async def sign_in(self, user: User) -> tuple[User, bool]:
        """See `Repository.sign_in`."""
        who = (user.user_id, user.world_id, user.display_name, user.email)
        columns = (*who, user.created_at, user.last_active, int(user.guest))
        _, added, found = await self._driver.execute(
            [
                # Here is where the present time comes by often enough to forget what is past.
                Statement(_FORGET_REVOKED, (user.last_active,)),
                Statement(_ADD_USER, columns),
                Statement(_SEE_WORLD_ID, (user.last_active, user.world_id)),
            ]
        )
        return _user(found[0]), bool(added)

    async def user(self, user_id: str, sign_in_id: str | None = None) -> User | None:
        """See `Repository.user`."""
        rows = await self._rows(_GET_USER, user_id, sign_in_id)
        return _user(rows[0]) if rows else None

    async def has_account(self, world_id: str) -> bool:
        """See `Repository.has_account`."""
        return bool(await self._rows(_HAS_ACCOUNT, world_id))

    async def registration(self, provider: str, user_id: str) -> str | None:
        """See `Repository.registration`."""
        return _value(await self._rows(_GET_REGISTRATION, provider, user_id))

    async def register(self, provider: str, user_id: str, value: str) -> str | None:
        """See `Repository.register`."""
        _, registered = await self._driver.execute(
            [
                Statement(_REGISTER, (provider, value, user_id)),
                Statement(_GET_REGISTRATION, (provider, user_id)),
            ]
        )
        return _value(registered)

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
        *_, rooms = await self._driver.execute(
            [
                Statement(_ERASE_USER, (now, user_id)),
                Statement(_ERASE_REGISTRATIONS, (user_id,)),
                Statement(_ERASE_PROOFS, (user_id,)),
                Statement(_ERASE_SESSIONS, (user_id,)),
                Statement(_ERASE_ROOMS, (now, user_id)),
                Statement(_ERASED_ROOMS, (user_id,)),
            ]
        )
        return [str(room_id) for [room_id] in rooms]

    async def revoke_sign_in(self, sign_in_id: str, until: Timestamp) -> None:
        """See `Repository.revoke_sign_in`."""
        await self._rows(_REVOKE, sign_in_id, until)

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

    async def rooms(self, user_id: str, after: str | None, count: int) -> tuple[list[ChatRoom], str | None]:
        """See `Repository.rooms`."""
        if after is None:
            rows = await self._rows(_FIRST_ROOMS, user_id, count + 1)
        else:
            rows = await self._rows(_NEXT_ROOMS, user_id, *read_place(after), count + 1)
        page = [_room(row) for row in rows[:count]]
        return page, write_place(page[-1].created_at, page[-1].room_id) if len(rows) > count else None

    async def close_room(self, room_id: str, now: Timestamp) -> bool:
        """See `Repository.close_room`."""
        return bool(await self._rows(_CLOSE_ROOM, now, room_id))

    async def record(self, records: Sequence[Record]) -> None:
        """See `Repository.record`."""
        if written := statements(records):
            await self._driver.execute(written, patient=True)

    async def servers_in_sessions(self) -> Sequence[str]:
        """See `Repository.servers_in_sessions`."""
        return await upkeep.servers_in_sessions(self._driver)

    async def end_sessions(self, server: str, at: Timestamp, count: int) -> int:
        """See `Repository.end_sessions`."""
        return await upkeep.end_sessions(self._driver, server, at, count)

    async def active_rooms(self, after: str, count: int) -> Sequence[str]:
        """See `Repository.active_rooms`."""
        return await upkeep.active_rooms(self._driver, after, count)

    async def delete_sessions(self, before: Timestamp, count: int) -> int:
        """See `Repository.delete_sessions`."""
        return await upkeep.delete_sessions(self._driver, before, count)

    async def delete_rooms(self, before: Timestamp, count: int) -> int:
        """See `Repository.delete_rooms`."""
        return await upkeep.delete_rooms(self._driver, before, count)

    async def unused_guests(self, before: Timestamp, skip: int, count: int) -> Sequence[str]:
        """See `Repository.unused_guests`."""
        return await upkeep.unused_guests(self._driver, before, skip, count)

    async def delete_guests(self, count: int) -> int:
        """See `Repository.delete_guests`."""
        return await upkeep.delete_guests(self._driver, count)

    @property
    def versions(self) -> tuple[int, int]:
        """See `Movable.versions`."""
        return self._found, len(MIGRATIONS)

    @property
    def tables(self) -> Sequence[str]:
        """See `Movable.tables`."""
        return list(transfer.tables())

    async def read(self, table: str, after: Sequence[Value], count: int) -> Rows:
        """See `Movable.read`."""
        return await transfer.read(self._driver, table, after, count)

    async def write(self, rows: Rows) -> None:
        """See `Movable.write`."""
        await transfer.write(self._driver, rows)

    async def check(self) -> str:
        """See `Repository.check`."""
        return f"{await self._driver.describe()}, schema version {await schema_version(self._driver)}"


def _value(rows: Sequence[Row]) -> str | None:
    return str(rows[0][0]) if rows else None


def _user(row: Sequence[Any]) -> User:
    user_id, world_id, display_name, email, created_at, last_active, guest = row
    return User(
        user_id=user_id,
        world_id=world_id,
        display_name=display_name,
        email=email,
        created_at=created_at,
        last_active=last_active,
        guest=bool(guest),
    )


def _room(row: Sequence[Any]) -> ChatRoom:
    room_id, created_by, created_at, deep_link, active = row
    return ChatRoom(
        room_id=room_id, created_by=created_by, created_at=created_at, deep_link=deep_link, active=bool(active)
    )
