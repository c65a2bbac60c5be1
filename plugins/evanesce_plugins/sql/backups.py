"""Backups of a database, in one read transaction while servers use it, and their restoration in one transaction.

Rows are copied, and not the pages of the file, so that a backup is the same of SQLite, of a libSQL server and of a file
of libSQL: any of them can be restored into any other, and no page with deleted rows comes along.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

import trio

from evanesce.errors import ConfigurationError, PersistenceUnavailable
from evanesce.interfaces import Backup, Examination, Restored, Value
from evanesce.model import Timestamp
from evanesce_plugins.sql.accounts import erasure
from evanesce_plugins.sql.backup_file import COMMAND, RESTORE, BackupFile, PrivateCopy, new_backup
from evanesce_plugins.sql.binding import read_binding
from evanesce_plugins.sql.driver import TRANSACTION_SECONDS, Driver, Reader, Row, Statement
from evanesce_plugins.sql.files import create_for_folder
from evanesce_plugins.sql.inspection import ReadOnly, SqlDatabase
from evanesce_plugins.sql.schema import MIGRATIONS, find_version, migrate
from evanesce_plugins.sql.table_copy import reading, tables, writing

PAGE = 500
"""How many rows are read and written at once."""

MOST_PROBLEMS = 10
"""How many damaged places an examination names."""

_SIZE = Statement("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")

_ERASED = 'SELECT userId, erasedAt FROM "User" WHERE erasedAt IS NOT NULL AND userId > ? ORDER BY userId LIMIT ?'

_ERASED_AGAIN = 'SELECT userId FROM "User" WHERE userId = ? AND erasedAt IS NULL'

P = ParamSpec("P")
T = TypeVar("T")


class SqlBackups(SqlDatabase):
    """The methods of `evanesce.interfaces.Backups`."""

    async def back_up(self, file: Path, *, replace: bool) -> Backup:
        """See `Backups.back_up`."""
        async with self._existing(COMMAND) as driver, driver.transaction(writing=False) as reader:
            version = await find_version(reader, self._setting)
            [[[size]]] = await reader.execute([_SIZE])
            backup = await _in_thread(_new, file, version, int(size or 0), replace, self._file)
            try:
                counts: dict[str, int] = {}
                for table in tables(version).values():
                    counts[table.name] = 0
                    after: Row = ()
                    while page := (await reader.execute([reading(table, after, PAGE)]))[0]:
                        await _in_thread(backup.write, table, page)
                        counts[table.name] += len(page)
                        after = page[-1]
                return Backup(await _in_thread(_publish, backup, replace), version, counts)
            finally:
                with trio.CancelScope(shield=True):
                    await _in_thread(backup.discard)

    async def restore(self, file: Path, *, replace: bool, quiet: float) -> Restored:
        """See `Backups.restore`."""
        copy = PrivateCopy(file)
        try:
            await _in_thread(copy.fill, self._file)
            version = await find_version(ReadOnly(file, copy.path, RESTORE), RESTORE)
            if version == 0:
                raise ConfigurationError(RESTORE, f"{file} has no tables of Evanesce", "Name a backup")
            await _in_thread(copy.verify, version)
            is_new = (await self.inspect()).found == 0
            if self._file is not None:
                await _in_thread(create_for_folder, self._file)
            async with self._connect() as driver:
                if is_new:
                    await migrate(driver, self._setting)
                async with driver.transaction(writing=True) as transaction:
                    if await find_version(transaction, self._setting) != len(MIGRATIONS):
                        problem = f"the database does not have schema version {len(MIGRATIONS)}"
                        raise ConfigurationError(RESTORE, problem, "Run evanesce db first, which migrates it")
                    await _refuse_running(transaction, quiet)
                    restored = await _replace(transaction, copy, version, replace=replace)
                    await transaction.execute([Statement("COMMIT")])
                with suppress(PersistenceUnavailable):  # the next process that opens the database does it as well
                    await driver.purge()  # of what the journal still has of the rows before
            return restored
        finally:
            with trio.CancelScope(shield=True):
                await _in_thread(copy.close)

    async def examine(self) -> Examination:
        """See `Backups.examine`."""
        async with self._existing("db check") as driver, driver.transaction(writing=False) as reader:
            version = await find_version(reader, self._setting)
            [damage] = await reader.execute([Statement(f"PRAGMA integrity_check({MOST_PROBLEMS})")])
            [orphans] = await reader.execute([Statement("PRAGMA foreign_key_check")])
            counts = {name: await _count(reader, name) for name in tables(version)}
        return Examination(
            [str(text) for [text] in damage if text != "ok"],
            [
                f"row {row!s} of {table!s} refers to no row of {parent!s}"
                for table, row, parent, _ in orphans[:MOST_PROBLEMS]
            ],
            counts,
        )

    @asynccontextmanager
    async def _existing(self, command: str) -> AsyncGenerator[Driver]:
        """Open the database without migrating it. Raises `ConfigurationError` where there is none."""
        inspection = await self.inspect()
        if inspection.found == 0:
            problem = f"there is no database: {inspection.text}"
            raise ConfigurationError(command, problem, "Correct its address, or create it with evanesce db")
        async with self._connect() as driver:
            yield driver


async def _refuse_running(reader: Reader, quiet: float) -> None:
    bound = await read_binding(reader)
    if bound is not None and bound.silent < quiet:
        problem = f"a server used the database {max(0, bound.silent):.0f} s ago"
        raise ConfigurationError(
            RESTORE, problem, f"Stop all servers. If they were killed, try again after {quiet:g} s"
        )


async def _replace(transaction: Reader, copy: PrivateCopy, version: int, *, replace: bool) -> Restored:
    """Replace the rows in an open transaction. What was erased and revoked since the backup stays so."""
    found = tables()
    if not replace and any([await _count(transaction, name) for name in found]):
        raise ConfigurationError(
            RESTORE, "the database has rows", "Restore into an empty one, or replace all rows with --force"
        )
    erased = [row async for row in _erased(transaction)]
    [revoked] = await transaction.execute([Statement('SELECT signInId, expiresAt FROM "RevokedSignIn"')])
    for name in reversed(found):
        await transaction.execute([Statement(f'DELETE FROM "{name}"')])
    counts: dict[str, int] = {}
    for table in found.values():
        counts[table.name] = 0
        after: Row = ()
        while page := await _in_thread(copy.rows, *reading(table, after, PAGE)):
            await transaction.execute([writing(table, page)])
            counts[table.name] += len(page)
            after = page[-1]
    for start in range(0, len(revoked), PAGE):
        await transaction.execute([writing(found["RevokedSignIn"], revoked[start : start + PAGE])])
    again = 0
    for user_id, erased_at in erased:
        [present] = await transaction.execute([Statement(_ERASED_AGAIN, (user_id,))])
        if present:
            again += 1
            for statement in erasure(str(user_id), Timestamp(str(erased_at))):
                await transaction.execute([statement])
    [orphans] = await transaction.execute([Statement("PRAGMA foreign_key_check")])
    if orphans:
        raise ConfigurationError(RESTORE, "rows of the backup refer to nothing", "Restore another backup")
    return Restored(version, counts, again, len(revoked))


async def _erased(transaction: Reader) -> AsyncGenerator[tuple[Value, Value]]:
    last: Value = ""
    while page := (await transaction.execute([Statement(_ERASED, (last, PAGE))]))[0]:
        for user_id, erased_at in page:
            yield user_id, erased_at
            last = user_id


async def _count(reader: Reader, table: str) -> int:
    [[[count]]] = await reader.execute([Statement(f'SELECT count(*) FROM "{table}"')])
    return int(count or 0)


def _new(file: Path, version: int, size: int, replace: bool, apart: Path | None) -> BackupFile:
    return new_backup(file, version, size, replace=replace, apart=apart)


def _publish(backup: BackupFile, replace: bool) -> int:
    return backup.publish(replace=replace)


async def _in_thread(act: Callable[P, T], *values: P.args, **named: P.kwargs) -> T:
    """Call a function that uses the disk in a worker thread."""
    with trio.move_on_after(TRANSACTION_SECONDS):
        return await trio.to_thread.run_sync(lambda: act(*values, **named), abandon_on_cancel=True)
    raise PersistenceUnavailable("The disk did not answer in time.")
