"""SQLite under Trio: one connection, behind one door to the worker threads."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from evanesce.errors import ConfigurationError, PersistenceUnavailable
from evanesce_plugins.sql.driver import PATIENCE, Refused, Row, Statement

logger = logging.getLogger(__name__)

SECONDS = PATIENCE
"""How long a call may take, waiting for those before it included."""

_LEAST_SQLITE = (3, 35, 0)  # the first with RETURNING

# https://www.sqlite.org/rescode.html: the machine's or another process's fault, and none of the statement's.
_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)


class SqliteDriver:
    """Keeps `evanesce_plugins.sql.driver.Driver` on an open connection."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._turn = trio.Lock()
        self._door = trio.CapacityLimiter(1)
        self._patience = -1

    async def execute(self, statements: Sequence[Statement], *, patient: bool = False) -> list[list[Row]]:
        """See `Driver.execute`. A cancelled call is either not begun, or waited for and done.

        It is never more patient: a file is at hand, or it is not.
        """
        deadline = trio.current_time() + SECONDS
        with trio.move_on_at(deadline):
            async with self._turn:
                # What has begun cannot be taken back, so it is waited for; what hangs in the kernel is left behind
                # at the deadline, and keeps the door shut until it ends.
                with trio.CancelScope(deadline=deadline, shield=True):
                    return await trio.to_thread.run_sync(
                        self._execute,
                        statements,
                        time.monotonic() + deadline - trio.current_time(),
                        abandon_on_cancel=True,
                        limiter=self._door,
                    )
        logger.warning("the database did not answer within %.1f s", SECONDS)
        raise PersistenceUnavailable

    def _execute(self, statements: Sequence[Statement], deadline: float) -> list[list[Row]]:
        """Run in a worker thread; `deadline` is of `time.monotonic`."""
        database = self._connection
        try:
            self._be_patient(deadline)
            if len(statements) == 1:
                return [database.execute(*statements[0]).fetchall()]
            # At once for writing: a transaction that began with a read could not wait for another process's lock.
            database.execute("BEGIN IMMEDIATE")
            try:
                rows: list[list[Row]] = [database.execute(*statement).fetchall() for statement in statements]
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")
            return rows
        except sqlite3.IntegrityError as error:
            raise Refused(str(error)) from None
        except sqlite3.Error as error:
            if not _is_unavailable(error):
                raise
            logger.warning("the database refused to work: %s", error.sqlite_errorname)
            raise PersistenceUnavailable from None

    def _be_patient(self, deadline: float) -> None:
        """Wait for other processes' locks until `deadline`; in tenths of a second, for it is seldom another number."""
        patience = max(0, int((deadline - time.monotonic()) * 10))
        if patience != self._patience:
            self._connection.execute(f"PRAGMA busy_timeout = {patience * 100}")
            self._patience = patience

    async def describe(self) -> str:
        """See `Driver.describe`."""
        sql = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        [[[size]]] = await self.execute([Statement(sql)])
        return f"SQLite {sqlite3.sqlite_version}, {self._path}, {size!r} bytes"

    async def aclose(self) -> None:
        """Close the file, after what is being done; one that hangs is left to the end of the process."""
        with trio.move_on_after(SECONDS, shield=True) as scope:
            await trio.to_thread.run_sync(self._connection.close, abandon_on_cancel=True, limiter=self._door)
        if scope.cancelled_caught:
            logger.warning("the database did not close within %.1f s", SECONDS)


@asynccontextmanager
async def connect(path: Path, setting: str) -> AsyncGenerator[SqliteDriver]:
    """Open the file at `path`, which is made where there is none.

    Raises `ConfigurationError` about `setting` where it is no database or cannot be opened; `PersistenceUnavailable`
    where another process keeps it locked.
    """
    driver = SqliteDriver(path, await trio.to_thread.run_sync(_open, path, setting))
    try:
        yield driver
    finally:
        await driver.aclose()


def _open(path: Path, setting: str) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < _LEAST_SQLITE:
        problem = f"this Python has SQLite {sqlite3.sqlite_version}"
        raise ConfigurationError(setting, problem, "Use a Python with SQLite 3.35 or newer")
    try:
        # Used by many threads, but by one at a time. Transactions are begun and ended in `_execute` alone.
        database = sqlite3.connect(path, timeout=SECONDS, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise _unusable(path, setting, error) from None
    try:
        _prepare(database, time.monotonic() + SECONDS)
    except sqlite3.Error as error:
        database.close()
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise PersistenceUnavailable("The database is locked by another process.") from None
        raise _unusable(path, setting, error) from None
    return database


def _prepare(database: sqlite3.Connection, deadline: float) -> None:
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            # SQLite does not wait for the lock here where waiting could end in a deadlock: two servers at their start.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("PRAGMA foreign_keys = ON")
    # An account that was erased is not to be read from the file's free space either.
    database.execute("PRAGMA secure_delete = ON")


def _is_unavailable(error: sqlite3.Error) -> bool:
    # The low byte is the kind; the rest says more. Errors of the Python module itself have no code.
    return getattr(error, "sqlite_errorcode", -1) & 0xFF in _UNAVAILABLE


def _unusable(path: Path, setting: str, error: Exception) -> ConfigurationError:
    problem = f"{path} cannot be used as a database ({error})"
    return ConfigurationError(setting, problem, "Name a file in a folder that exists and that this user may write to")
