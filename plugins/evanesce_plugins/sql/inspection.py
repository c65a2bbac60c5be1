"""Inspection of a database before it is opened, without writing to it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from urllib.parse import quote

import trio

from evanesce.errors import ConfigurationError, PersistenceUnavailable
from evanesce.interfaces import Inspection, RedisBinding
from evanesce_plugins.sql.binding import read_binding
from evanesce_plugins.sql.driver import PATIENCE, Driver, Reader, Refused, Row, Statement
from evanesce_plugins.sql.schema import MIGRATIONS, STEPS, find_version

LEAST_FREE = 1024 * 1024
"""The least free space for a new database, in bytes: an empty one has 100 KiB."""

# Its own constraint refuses this batch, so it is rolled back. Any other result shows that writing is not possible.
_TRIAL = (
    Statement('CREATE TABLE "EvanesceTrial" (number INTEGER CHECK (number = 0))'),
    Statement('INSERT INTO "EvanesceTrial" (number) VALUES (1)'),
)


class SqlDatabase:
    """A database and how to open it; see `SqlRepository` for the parameters."""

    def __init__(
        self, connect: Callable[[], AbstractAsyncContextManager[Driver]], setting: str, file: Path | None
    ) -> None:
        self._connect = connect
        self._setting = setting
        self._file = file

    async def inspect(self) -> Inspection:
        """See `Repository.inspect`."""
        if self._file is not None:
            return await inspect_file(self._file, self._setting)
        return await inspect_server(self._connect, self._setting)


async def inspect_server(connect: Callable[[], AbstractAsyncContextManager[Driver]], setting: str) -> Inspection:
    """Inspect a database on a server; see `Repository.inspect`."""
    async with connect() as driver:
        found = await find_version(driver, setting)
        bound = await _bound(driver, found)
        try:
            await driver.execute(_TRIAL)
        except Refused:
            text = await driver.describe()
        else:
            raise PersistenceUnavailable("The database accepted a row that its own constraint refuses.")
    return _inspection(text, found, bound=bound)


async def inspect_file(path: Path, setting: str) -> Inspection:
    """Inspect a database in a file; see `Repository.inspect`."""
    real, size = await trio.to_thread.run_sync(_usable, path, setting)
    if not size:
        free = (await trio.to_thread.run_sync(shutil.disk_usage, real.parent)).free
        if free < LEAST_FREE:
            raise PersistenceUnavailable(f"The disk of {real.parent} is full: {free} bytes are free.")
        return _inspection(f"{path}, which does not exist yet, with {free // LEAST_FREE} MiB free", 0, real)
    reader = ReadOnly(path, real, setting)
    found = await find_version(reader, setting)
    bound = await _bound(reader, found)
    return _inspection(f"SQLite {sqlite3.sqlite_version}, {path}, {size} bytes", found, real, bound)


def _inspection(text: str, found: int, file: Path | None = None, bound: RedisBinding | None = None) -> Inspection:
    steps = STEPS[found:] if found else ()
    text = f"{text}, schema version {found}" if found else text
    return Inspection(text, found, len(MIGRATIONS), steps, file, bound)


async def _bound(reader: Reader, version: int) -> RedisBinding | None:
    return await read_binding(reader) if version == len(MIGRATIONS) else None


def _usable(path: Path, setting: str) -> tuple[Path, int]:
    """Return the file that `path` resolves to and its size in bytes, 0 if it does not exist. Runs in a worker thread.

    Raises `ConfigurationError` for a path that cannot be used.
    """
    try:
        real = path.resolve()
        try:
            status = real.stat()
        except FileNotFoundError:
            status = None
        if not real.parent.is_dir():
            raise _unusable(setting, f"{path} is in a folder that does not exist")
    except (OSError, RuntimeError) as error:  # a loop of links, a name that is too long, a folder without access
        raise _unusable(setting, f"{path} cannot be used ({getattr(error, 'strerror', None) or error})") from None
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise _unusable(setting, f"{path} is a folder")
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise _unusable(setting, f"{path} is not a regular file")
    if not os.access(real.parent, os.W_OK | os.X_OK):
        raise _unusable(setting, f"{path} is in a folder that this user may not write to, as SQLite has to")
    if status is not None and not os.access(real, os.R_OK | os.W_OK):
        raise _unusable(setting, f"{path} is a file that this user may not read and write; see who owns it")
    return real, 0 if status is None else status.st_size


def _unusable(setting: str, problem: str) -> ConfigurationError:
    hint = "Name a file in a folder that exists and that this user may write to"
    return ConfigurationError(setting, problem, hint)


class ReadOnly:
    """A `Reader` of a file, which it opens again for each batch."""

    def __init__(self, path: Path, real: Path, setting: str) -> None:
        self._path = path
        self._real = real
        self._setting = setting

    async def execute(self, statements: Sequence[Statement], *, patient: bool = False) -> list[list[Row]]:
        """See `Reader.execute`."""
        return await trio.to_thread.run_sync(self._execute, statements)

    def _execute(self, statements: Sequence[Statement]) -> list[list[Row]]:
        try:
            with closing(sqlite3.connect(self._uri(), uri=True, timeout=PATIENCE)) as database:
                [[application]] = database.execute("PRAGMA application_id").fetchall()
                if application:
                    problem = f"{self._path} is a database of another application (application_id {application})"
                    raise ConfigurationError(self._setting, problem, "Name another database")
                return [database.execute(*statement).fetchall() for statement in statements]
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                raise PersistenceUnavailable("The database is locked by another process.") from None
            raise _unusable(self._setting, f"{self._path} cannot be used as a database ({error})") from None

    def _uri(self) -> str:
        """Return a URI that opens the file without creating any file next to it.

        A write-ahead log is read if there is one. Without one the database is not in use, and `immutable` stops SQLite
        from creating one. A rollback journal is what a killed process left of a transaction: it has to be rolled back
        before the database can be read, as on every opening.
        """
        if _exists(self._real, "-wal"):
            mode = "mode=ro"
        elif _exists(self._real, "-journal"):
            mode = "mode=rw"
        else:
            mode = "mode=ro&immutable=1"
        return f"file:{quote(str(self._real))}?{mode}"


def _exists(real: Path, suffix: str) -> bool:
    return real.with_name(real.name + suffix).exists()
