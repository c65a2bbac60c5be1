"""The file of a backup: an SQLite database with the tables of one schema version, written and verified privately.

All functions block: they run in a worker thread.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from evanesce.errors import ConfigurationError
from evanesce.interfaces import Value
from evanesce_plugins.sql.driver import Row
from evanesce_plugins.sql.inspection import LEAST_FREE
from evanesce_plugins.sql.schema import MIGRATIONS, VERSIONS, empty_database
from evanesce_plugins.sql.table_copy import Table

COMMAND = "db backup"
RESTORE = "db restore"

_HEADER = b"SQLite format 3\x00"

_DAMAGED = "Restore another backup"


class BackupFile:
    """A backup that is being written, under a temporary name in the folder of `file`. Made by `new_backup`."""

    def __init__(self, file: Path, part: Path, database: sqlite3.Connection) -> None:
        self._file = file
        self._part = part
        self._database = database

    def write(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows."""
        sql = f'INSERT INTO "{table.name}" ({", ".join(table.columns)}) VALUES ({", ".join("?" * len(table.columns))})'
        with _told(COMMAND, self._file):
            self._database.executemany(sql, rows)

    def publish(self, *, replace: bool) -> int:
        """Complete the file on the disk, give it its name, and return its size in bytes."""
        with _told(COMMAND, self._file):
            self._database.execute("COMMIT")
            if self._database.execute("PRAGMA foreign_key_check").fetchone() is not None:
                problem = "the database has rows that refer to nothing, and no backup was written"
                raise ConfigurationError(COMMAND, problem, "Run evanesce db check")
            self._database.close()
            _sync(self._part)
            size = self._part.stat().st_size
            if replace:
                self._part.replace(self._file)
            else:
                _name(self._part, self._file)
            _sync(self._file.parent)
            return size

    def discard(self) -> None:
        """Delete what has not been published."""
        self._database.close()
        self._part.unlink(missing_ok=True)


def new_backup(file: Path, version: int, size: int, *, replace: bool, apart: Path | None) -> BackupFile:
    """Begin a backup of a database of `size` bytes with the tables of a schema version.

    `apart` is the file of the database itself, which no backup may replace.
    """
    _check_target(file, replace=replace, apart=apart)
    with _told(COMMAND, file):
        free = shutil.disk_usage(file.parent).free
        if free < size + LEAST_FREE:
            problem = f"the disk of {file.parent} has {free} bytes free, and the backup may need {size + LEAST_FREE}"
            raise ConfigurationError(COMMAND, problem, "Free some space, or name a file on another disk")
        part = file.with_name(f".{file.name[:200]}.{secrets.token_hex(4)}.part")
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        database = sqlite3.connect(part, isolation_level=None, check_same_thread=False)
        backup = BackupFile(file, part, database)
        try:
            # Nobody reads it before it is complete and synchronised, so it needs no journal.
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")
            database.execute("BEGIN")
            database.execute(f'CREATE TABLE "{VERSIONS}" (version INTEGER NOT NULL PRIMARY KEY)')
            for number, migration in enumerate(MIGRATIONS[:version], 1):
                for sql in migration:
                    database.execute(sql)
                database.execute(f'INSERT INTO "{VERSIONS}" (version) VALUES (?)', (number,))
        except BaseException:
            backup.discard()
            raise
        return backup


def _check_target(file: Path, *, replace: bool, apart: Path | None) -> None:
    with _told(COMMAND, file):
        if not file.parent.is_dir():
            raise ConfigurationError(COMMAND, f"{file} is in a folder that does not exist", "Create it first")
        if apart is not None:
            real = apart.resolve()
            companions = [real.with_name(real.name + suffix) for suffix in ("", "-wal", "-shm", "-journal", ".lock")]
            if file.resolve() in companions or file.parent.resolve() / file.name in companions:
                raise ConfigurationError(COMMAND, f"{file} belongs to the database itself", "Name another file")
        try:
            mode = file.lstat().st_mode
        except FileNotFoundError:
            return
        if not replace:
            raise ConfigurationError(COMMAND, f"{file} exists", "Name another file, or replace it with --force")
        if not stat.S_ISREG(mode):
            raise ConfigurationError(COMMAND, f"{file} is not a regular file", "Name another file")


def _name(part: Path, file: Path) -> None:
    """Rename the file to its final name, unless another one has it by now. Some file systems have no links."""
    try:
        os.link(part, file)
    except FileExistsError:
        problem = f"{file} was created by somebody else meanwhile"
        raise ConfigurationError(COMMAND, problem, "Name another file, or replace it with --force") from None
    except OSError:
        if os.path.lexists(file):
            raise
        part.rename(file)
    else:
        part.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class PrivateCopy:
    """A copy of a backup in a private folder, which is verified and migrated, and never changes meanwhile."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._folder = tempfile.TemporaryDirectory(prefix="evanesce-restore-")  # which has mode 0700
        self.path = Path(self._folder.name) / "backup.db"
        self._database: sqlite3.Connection | None = None

    def fill(self, apart: Path | None) -> None:
        """Copy the file. `apart` is the file of the database itself."""
        with _told(RESTORE, self.file):
            if apart is not None and apart.exists() and self.file.exists() and self.file.samefile(apart):
                raise ConfigurationError(RESTORE, f"{self.file} is the database itself", "Name a backup of it")
            # Without blocking on a pipe; a link is followed, and has to lead to a regular file.
            descriptor = os.open(self.file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as source:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise ConfigurationError(RESTORE, f"{self.file} is not a regular file", "Name a backup")
                if source.read(len(_HEADER)) != _HEADER:
                    raise ConfigurationError(RESTORE, f"{self.file} is not an SQLite database", "Name a backup")
                for suffix in ("-wal", "-journal"):
                    if self.file.with_name(self.file.name + suffix).exists():
                        problem = f"{self.file} has a journal beside it: it is a database in use, and not a backup"
                        raise ConfigurationError(RESTORE, problem, "Make a backup of it with evanesce db backup")
                source.seek(0)
                with self.path.open("xb") as target:
                    self.path.chmod(0o600)
                    shutil.copyfileobj(source, target, 1024 * 1024)

    def verify(self, version: int) -> None:
        """Check the pages, the references and the tables of the copy; then migrate it to the newest version."""
        with _told(RESTORE, self.file):
            database = self._database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("PRAGMA cell_size_check = ON")
            if [row[0] for row in database.execute("PRAGMA integrity_check(1)")] != ["ok"]:
                raise ConfigurationError(RESTORE, f"{self.file} is damaged", _DAMAGED)
            with empty_database(MIGRATIONS[:version]) as sound:
                if _shape(database) != _shape(sound):
                    problem = f"{self.file} does not have the tables of schema version {version}"
                    raise ConfigurationError(RESTORE, problem, _DAMAGED)
            if database.execute("PRAGMA foreign_key_check").fetchone() is not None:
                raise ConfigurationError(RESTORE, f"{self.file} has rows that refer to nothing", _DAMAGED)
            for migration in MIGRATIONS[version:]:
                for sql in migration:
                    database.execute(sql)

    def rows(self, sql: str, values: tuple[Value, ...]) -> list[Row]:
        """Return the rows that a statement reads."""
        with _told(RESTORE, self.file):
            assert self._database is not None
            found: list[Row] = self._database.execute(sql, values).fetchall()
        if any(isinstance(value, bytes) for row in found for value in row):
            raise ConfigurationError(RESTORE, f"{self.file} has data that Evanesce never writes", _DAMAGED)
        return found

    def close(self) -> None:
        """Delete the copy."""
        if self._database is not None:
            self._database.close()
        with suppress(OSError):
            self._folder.cleanup()


def _shape(database: sqlite3.Connection) -> set[tuple[object, ...]]:
    """Return the names of all tables, indexes, views and triggers but the table of versions, and all columns."""
    listed = "SELECT type, name, tbl_name FROM sqlite_master WHERE tbl_name != ? AND name NOT LIKE 'sqlite_stat%'"
    shape: set[tuple[object, ...]] = set(database.execute(listed, (VERSIONS,)))
    for kind, name, _ in list(shape):
        if kind == "table":
            shape.update((name, *column) for column in database.execute("SELECT * FROM pragma_table_xinfo(?)", (name,)))
    return shape


@contextmanager
def _told(command: str, file: Path) -> Generator[None]:
    """Raise errors of the system and of SQLite as `ConfigurationError` about `file`."""
    try:
        yield
    except sqlite3.IntegrityError:  # its text may name a value
        problem = "the database has rows that its own schema refuses"
        raise ConfigurationError(command, problem, "Run evanesce db check") from None
    except (OSError, sqlite3.Error, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else getattr(error, "sqlite_errorname", "it is damaged")
        hint = "Name another file, or free some space on its disk" if command == COMMAND else _DAMAGED
        raise ConfigurationError(command, f"{file} cannot be used ({reason})", hint) from None
