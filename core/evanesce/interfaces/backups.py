"""What a repository may implement in addition to its contract: backups of the database, and an examination of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was written: its size in bytes, its schema version, and how many rows of each table it has."""

    size: int
    version: int
    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Restored:
    """A backup that was restored, and what the database that it replaced knew in addition.

    `erased` accounts of the backup were erased again, and `revoked` sign-ins stay revoked.
    """

    version: int
    rows: Mapping[str, int]
    erased: int
    revoked: int


@dataclass(frozen=True, slots=True)
class Examination:
    """What `evanesce db check` says about the inside of a database.

    `damage` is what is wrong with its pages and indexes, and `orphans` has the rows that refer to nothing, each as a
    line without content of the row; both are empty in a sound database. `rows` is the size of each table.
    """

    damage: Sequence[str]
    orphans: Sequence[str]
    rows: Mapping[str, int]


@runtime_checkable
class Backups(Protocol):
    """Backups of a database and its examination. Called while the repository is not open: nothing is migrated.

    Every method raises `PersistenceUnavailable` where the database does not answer, and `ConfigurationError` for what
    the deployer can correct.
    """

    async def back_up(self, file: Path, *, replace: bool) -> Backup:
        """Write one consistent state of the database to `file`, which only its owner can read.

        Servers may use the database meanwhile. The file appears when it is complete. A file of this name is replaced
        with `replace` alone.
        """
        ...

    async def restore(self, file: Path, *, replace: bool, quiet: float) -> Restored:
        """Replace all rows of the database by those of a backup, all or nothing. The bound Redis stays the same.

        The backup may have an older schema; the database has to have the newest. A database with rows is refused
        without `replace`, and one that a server has used within `quiet` seconds always.
        """
        ...

    async def examine(self) -> Examination:
        """Read the whole database, and look for damage. Writes nothing."""
        ...
