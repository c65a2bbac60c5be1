"""SQLite under Trio: one connection, which one worker thread at a time uses."""

from __future__ import annotations

import functools
import itertools
import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import trio

from evanesce.errors import ConfigurationError, PersistenceUnavailable
from evanesce_plugins.sql.driver import PATIENCE, TRANSACTION_SECONDS, Reader, Refused, Row, Statement
from evanesce_plugins.sql.files import keep_private

logger = logging.getLogger(__name__)

SECONDS = PATIENCE
"""How long a call may take, including the wait for earlier calls."""

PURGE_SECONDS = 0.2
"""How long a purge waits for readers in other processes; other calls wait until it ends."""

MOST_READS = 64
"""How many reads are made together: a write waits for them."""

T = TypeVar("T")

_LEAST_SQLITE = (3, 35, 0)  # the first with RETURNING

# https://www.sqlite.org/rescode.html: caused by the machine or another process, and not by the statement.
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


class _Read:
    """A statement that only reads, and its result: rows, or the error that it raised."""

    __slots__ = ("result", "statement")

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self.result: list[Row] | Exception | None = None


class SqliteDriver:
    """Implements `evanesce_plugins.sql.driver.Driver` on an open connection."""

    def __init__(self, path: Path, connection: sqlite3.Connection, setting: str, patience: float | None = None) -> None:
        self._path = path
        self._connection = connection
        self._setting = setting
        self._longer = patience
        self._turn = trio.Lock()
        self._limiter = trio.CapacityLimiter(1)
        self._reads: dict[_Read, None] = {}  # those that wait, in order
        self._patience = -1
        self._trouble: str | None = None  # what was logged last, until the next successful write

    @property
    def _seconds(self) -> float:
        return SECONDS if self._longer is None else self._longer

    async def execute(self, statements: Sequence[Statement], *, patient: bool = False) -> list[list[Row]]:
        """See `Driver.execute`.

        A write that is cancelled has either not started, or is completed before this returns. A read that is cancelled
        may go on in the worker thread if another task passed it there: nobody gets its result.

        `patient` is ignored: a local file answers within `PATIENCE`, or not at all.
        """
        if len(statements) == 1 and statements[0].sql.lstrip().startswith("SELECT"):
            return [await self._read(statements[0])]
        return await self._in_turn(lambda deadline: self._execute(statements, deadline))

    async def _read(self, statement: Statement) -> list[Row]:
        """Execute a statement that only reads, together with all others that wait for their turn.

        To pass it to a thread costs several times as much as to execute it, and when a server restarts, all its clients
        come back at once. They have the deadline of the one whose task passes them to the thread. If the database does
        not answer until then, the others are tried again with their own.
        """
        read = _Read(statement)
        self._reads[read] = None
        deadline = trio.current_time() + self._seconds
        try:
            with trio.move_on_at(deadline):
                async with self._turn:
                    if read.result is None:
                        waiting = (other for other in self._reads if other.result is None)
                        reads = dict.fromkeys([read, *itertools.islice(waiting, MOST_READS - 1)])
                        await self._in_thread(functools.partial(self._execute_reads, reads), deadline)
        finally:
            del self._reads[read]
        if read.result is None:
            raise self._late()
        if isinstance(read.result, Exception):
            raise read.result
        return read.result

    @asynccontextmanager
    async def transaction(self, *, writing: bool) -> AsyncGenerator[Reader]:
        """See `Driver.transaction`. Closing its connection rolls back what is not committed."""
        async with connect(self._path, self._setting, TRANSACTION_SECONDS) as own:
            await own.execute([Statement("BEGIN IMMEDIATE" if writing else "BEGIN")])
            await own.execute([Statement("SELECT count(*) FROM sqlite_master")])  # only the first read fixes the state
            yield own

    async def purge(self) -> None:
        """See `Driver.purge`."""
        await self._in_turn(lambda _: self._purge())

    async def _in_turn(self, act: Callable[[float], T]) -> T:
        """Call `act` in a worker thread, one at a time, with its deadline, a time of `time.monotonic`."""
        deadline = trio.current_time() + self._seconds
        with trio.move_on_at(deadline):
            async with self._turn:
                return await self._in_thread(act, deadline)
        raise self._late()

    async def _in_thread(self, act: Callable[[float], T], deadline: float) -> T:
        # A call that has started cannot be cancelled, so its end is waited for. One that hangs in the kernel is
        # abandoned at the deadline, and keeps the limiter until it ends.
        with trio.CancelScope(deadline=deadline, shield=True):
            return await trio.to_thread.run_sync(
                act,
                time.monotonic() + deadline - trio.current_time(),
                abandon_on_cancel=True,
                limiter=self._limiter,
            )
        raise self._late()

    def _execute_reads(self, reads: Iterable[_Read], deadline: float) -> None:
        """Execute statements that only read, one after the other; runs in a worker thread.

        `deadline` is that of the first. Where the database is unavailable for another one, that one and those after it
        are left without a result.
        """
        for number, read in enumerate(reads):
            try:
                [read.result] = self._execute([read.statement], deadline)
            except PersistenceUnavailable as error:
                if number == 0:
                    read.result = error
                return
            except Exception as error:  # raised by the call that it belongs to
                read.result = error

    def _execute(self, statements: Sequence[Statement], deadline: float) -> list[list[Row]]:
        """Execute statements; runs in a worker thread. `deadline` is a time of `time.monotonic`."""
        database = self._connection
        try:
            self._set_busy_timeout(deadline)
            if len(statements) == 1:
                return [database.execute(*statements[0]).fetchall()]
            # IMMEDIATE: a transaction that begins with a read cannot wait for the lock of another process later.
            database.execute("BEGIN IMMEDIATE")
            try:
                rows: list[list[Row]] = [database.execute(*statement).fetchall() for statement in statements]
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")
            self._trouble = None
            return rows
        except sqlite3.IntegrityError as error:
            raise Refused(str(error)) from None
        except sqlite3.Error as error:
            if not _is_unavailable(error):
                raise
            if error.sqlite_errorname != self._trouble:  # servers retry continually
                self._trouble = error.sqlite_errorname
                logger.warning("the database reported an error: %s", error.sqlite_errorname)
            raise PersistenceUnavailable from None

    def _purge(self) -> None:
        """Write the journal into the database, and truncate it; runs in a worker thread.

        Deleted rows are overwritten in the database (`secure_delete`), but older pages stay in the journal until then.
        """
        database = self._connection
        try:
            database.execute(f"PRAGMA busy_timeout = {round(PURGE_SECONDS * 1000)}")
            self._patience = -1
            [[busy, *_]] = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            if not _is_unavailable(error):
                raise
            raise PersistenceUnavailable from None
        if busy:
            raise PersistenceUnavailable

    def _set_busy_timeout(self, deadline: float) -> None:
        """Set how long SQLite waits for locks of other processes: until `deadline`, up to `SECONDS`, in steps of 0.1 s.

        With these steps, the setting rarely changes.
        """
        patience = max(0, int(min(SECONDS, deadline - time.monotonic()) * 10))
        if patience != self._patience:
            self._connection.execute(f"PRAGMA busy_timeout = {patience * 100}")
            self._patience = patience

    async def describe(self) -> str:
        """See `Driver.describe`."""
        sql = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        [[[size]]] = await self.execute([Statement(sql)])
        return f"SQLite {sqlite3.sqlite_version}, {self._path}, {size!r} bytes"

    def _late(self) -> PersistenceUnavailable:
        logger.warning("the database did not answer within %.1f s", self._seconds)
        return PersistenceUnavailable()

    async def aclose(self) -> None:
        """Close the file after the present call. A call that hangs is left to the end of the process."""
        with trio.move_on_after(SECONDS, shield=True) as scope:
            await trio.to_thread.run_sync(self._connection.close, abandon_on_cancel=True, limiter=self._limiter)
        if scope.cancelled_caught:
            logger.warning("the database did not close within %.1f s", SECONDS)


@asynccontextmanager
async def connect(path: Path, setting: str, patience: float | None = None) -> AsyncGenerator[SqliteDriver]:
    """Open the file at `path`, which is created if necessary. A call may take `patience` seconds (None: `SECONDS`).

    Raises `ConfigurationError` about `setting` where it is not a database or cannot be opened, and
    `PersistenceUnavailable` where another process holds its lock.
    """
    driver = SqliteDriver(path, await trio.to_thread.run_sync(_open, path, setting), setting, patience)
    try:
        yield driver
    finally:
        await driver.aclose()


def _open(path: Path, setting: str) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < _LEAST_SQLITE:
        problem = f"this Python has SQLite {sqlite3.sqlite_version}"
        raise ConfigurationError(setting, problem, "Use a Python with SQLite 3.35 or newer")
    keep_private(path)
    try:
        # Many threads use it, one at a time. Transactions begin and end in `_execute` alone. A statement that is kept
        # for its next use keeps its last values, such as the name of an account that was erased.
        database = sqlite3.connect(
            path, timeout=SECONDS, isolation_level=None, check_same_thread=False, cached_statements=0
        )
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
            # SQLite does not wait for a lock here if that could cause a deadlock, as when two servers start together.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("PRAGMA foreign_keys = ON")
    # An erased account must not be readable from the file's free pages either.
    database.execute("PRAGMA secure_delete = ON")
    # A process that was killed right after an erasure left the journal. Other processes that use the file purge it.
    database.execute(f"PRAGMA busy_timeout = {round(PURGE_SECONDS * 1000)}")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _is_unavailable(error: sqlite3.Error) -> bool:
    # The low byte is the primary result code. Errors of the Python module itself have no code.
    return getattr(error, "sqlite_errorcode", -1) & 0xFF in _UNAVAILABLE


def _unusable(path: Path, setting: str, error: Exception) -> ConfigurationError:
    problem = f"{path} cannot be used as a database ({error})"
    return ConfigurationError(setting, problem, "Name a file in a folder that exists and that this user may write to")
