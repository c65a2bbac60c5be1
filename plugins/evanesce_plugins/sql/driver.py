"""What the repository in SQL needs of a database: to execute a batch of statements, all or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from evanesce.interfaces import Value

PATIENCE = 2.5
"""How long a call that a client waits for may take, in seconds."""

TRANSACTION_SECONDS = 600.0
"""How long one statement of a transaction may take: for an operator who waits, and for databases of any size."""

Row = Sequence[Value]
"""A row of a result."""


class Statement(NamedTuple):
    """One statement of SQL, with a value for each `?` in it."""

    sql: str
    values: tuple[Value, ...] = ()


class Refused(Exception):
    """A constraint of the schema refused the batch, and nothing of it was done. The message names the constraint."""


class Reader(Protocol):
    """The part of a `Driver` that reads."""

    async def execute(self, statements: Sequence[Statement], *, patient: bool = False) -> list[list[Row]]:
        """Execute one statement, which reads; see `Driver.execute`."""
        ...


class Driver(Protocol):
    """An open database. Foreign keys are enforced."""

    async def execute(self, statements: Sequence[Statement], *, patient: bool = False) -> list[list[Row]]:
        """Execute `statements` in order, all or nothing, and return the rows of each. They may be executed twice.

        Returns within `PATIENCE`, or, with `patient`, for which no client waits, within a time-out of the driver's own.
        Raises `Refused`, or `PersistenceUnavailable` where the database does not answer. In that case, and after a
        cancellation, the whole batch may have been done, may be done later, or may not be done. The error's
        `__cause__` may be an error that tells a deployer what to do.
        """
        ...

    def transaction(self, *, writing: bool) -> AbstractAsyncContextManager[Reader]:
        """Open a transaction with a connection of its own: `execute` takes one statement of it at a time.

        It sees the database as it was when it began. With `writing` it holds the lock of writers, and its statements
        may write. `COMMIT` as the last statement keeps what it has written; without it nothing of it is done. Each
        statement has `TRANSACTION_SECONDS`, and is never retried. Raises as `execute` does.
        """
        ...

    async def purge(self) -> None:
        """Remove deleted content from the database's files, if they are on this machine.

        Raises `PersistenceUnavailable` where others use the database at the moment: the caller has to try again.
        """
        ...

    async def describe(self) -> str:
        """Return in a few words which database this is and its state. Raises `PersistenceUnavailable`."""
        ...


class SqlTables:
    """Methods of a repository that are about some of its tables; `SqlRepository` combines and opens them."""

    _driver: Driver

    async def _rows(self, sql: str, *values: Value) -> list[Row]:
        """Execute a statement that a client waits for, and return its rows."""
        [rows] = await self._driver.execute([Statement(sql, values)])
        return rows

    async def _texts(self, sql: str, *values: Value) -> list[str]:
        """Execute a statement of a maintenance job, and return the one column of its rows."""
        [rows] = await self._driver.execute([Statement(sql, values)], patient=True)
        return [str(text) for [text] in rows]

    async def _change(self, sql: str, *values: Value) -> int:
        """Execute a statement of a maintenance job, and return how many rows it changed."""
        _, [[count]] = await self._driver.execute([Statement(sql, values), _CHANGES], patient=True)
        return count if isinstance(count, int) else 0


_CHANGES = Statement("SELECT changes()")
