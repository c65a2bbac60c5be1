"""The repository in SQL: the tables put together, the database opened, inspected and checked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

from evanesce.errors import PersistenceUnavailable
from evanesce_plugins.sql.accounts import AccountTables
from evanesce_plugins.sql.backups import SqlBackups
from evanesce_plugins.sql.binding import BindingTable
from evanesce_plugins.sql.driver import Driver, Statement
from evanesce_plugins.sql.room_rules import RoomRuleTables
from evanesce_plugins.sql.rooms import RoomTables
from evanesce_plugins.sql.schema import MIGRATIONS, migrate, schema_version
from evanesce_plugins.sql.session_log import SessionLogTables
from evanesce_plugins.sql.table_copy import SqlTableCopy, tables
from evanesce_plugins.sql.user_bans import UserBanTables

_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"

_NO_SIGN_IN = "try_write"
"""An id that no sign-in has."""

_TRY = 'INSERT INTO "RevokedSignIn" (signInId, expiresAt) VALUES (?, ?)'

_UNDO_TRY = 'DELETE FROM "RevokedSignIn" WHERE signInId = ?'


class SqlRepository(
    AccountTables, UserBanTables, RoomTables, RoomRuleTables, SessionLogTables, BindingTable, SqlTableCopy, SqlBackups
):
    """Implements `Repository`, `TableCopy` and `Backups` on SQLite or libSQL, opened by `connect`.

    `setting` is the path of the configuration's key that names the database: errors at its opening name it.
    `database` names the database itself, see `Repository`. `file` is its path where it is a file of this machine.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[Driver]],
        setting: str,
        database: str | None = None,
        file: Path | None = None,
    ) -> None:
        super().__init__(connect, setting, file)
        self.database = database
        self._opened = AsyncExitStack()
        self._found = 0

    async def __aenter__(self) -> SqlRepository:
        async with AsyncExitStack() as stack:
            self._driver = await stack.enter_async_context(self._connect())
            self._found = await migrate(self._driver, self._setting)
            self._opened = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._opened.aclose()

    async def purge(self) -> None:
        """See `Repository.purge`."""
        await self._driver.purge()

    @property
    def versions(self) -> tuple[int, int]:
        """See `TableCopy.versions`."""
        return self._found, len(MIGRATIONS)

    async def check(self) -> str:
        """See `Repository.check`. A database without one of the tables cannot be used, though it answers."""
        [rows] = await self._driver.execute([Statement(_TABLES)])
        missing = set(tables()) - {str(name) for [name] in rows}
        if missing:
            raise PersistenceUnavailable(f"The database has lost its table {', '.join(sorted(missing))}.")
        return f"{await self._driver.describe()}, schema version {await schema_version(self._driver)}"

    async def try_write(self) -> None:
        """See `Repository.try_write`. A row that is deleted in the same transaction is still written to the disk."""
        await self._driver.execute([Statement(_TRY, (_NO_SIGN_IN, "")), Statement(_UNDO_TRY, (_NO_SIGN_IN,))])
