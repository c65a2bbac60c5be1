"""A driver for libSQL under Trio: batches are retried where that is safe, each within its time limit."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import trio

from evanesce.errors import PersistenceUnavailable
from evanesce_plugins.sql.driver import PATIENCE, TRANSACTION_SECONDS, Reader, Refused, Row, Statement
from evanesce_plugins.turso.asyncio_thread import AsyncioThread
from evanesce_plugins.turso.clients import CONNECTIONS, Client, open_client, purge, run
from evanesce_plugins.turso.faults import READS_ALONE, TIMED_OUT, Fault, Kind, classify
from evanesce_plugins.turso.settings import Address
from evanesce_plugins.turso.transactions import Transaction, begin

logger = logging.getLogger(__name__)

PAUSES = (0.05, 0.1, 0.2, 0.4)
"""The pauses before the further attempts, in seconds: long enough for a server that restarts."""

T = TypeVar("T")

_READ = (Statement("SELECT sqlite_version()"),)


class TursoDriver:
    """Implements `evanesce_plugins.sql.driver.Driver` on a client. Made by `connect`."""

    def __init__(
        self, thread: AsyncioThread[Client], address: Address, seconds: float, table: str, token: str | None = None
    ) -> None:
        self._thread = thread
        self._address = address
        self._seconds = seconds
        self._table = table
        self._token = token
        self._turns = trio.CapacityLimiter(CONNECTIONS)
        self._trouble: Fault | None = None

    async def execute(self, statements: Sequence[Statement], *, patient: bool = False) -> list[list[Row]]:
        """See `Driver.execute`."""
        limit = self._seconds if patient else min(self._seconds, PATIENCE)
        with trio.move_on_after(limit):
            async with self._turns:
                rows = await self._attempts(statements, limit)
            if self._trouble is None or self._trouble.kind is not Kind.HOPELESS or _writes(statements):
                self._note(None)
            return rows
        raise self._unavailable(TIMED_OUT)

    async def _attempts(self, statements: Sequence[Statement], limit: float) -> list[list[Row]]:
        """Execute a batch, and retry it where that is safe: every batch of the repository is idempotent.

        A connection without a response for `limit` seconds is closed, even after the caller was cancelled.
        """
        pauses = iter(PAUSES)
        while True:
            try:
                return await self._thread.call(run, statements, limit)
            except Exception as error:  # every exception of a client is classified
                fault = classify(error)
                if fault.kind is Kind.REFUSED:
                    raise Refused(fault.problem) from None
                if fault.kind is Kind.WRONG_STATEMENT:
                    raise
            pause = next(pauses, None)
            if fault.kind is Kind.HOPELESS or pause is None:
                break
            await trio.sleep(pause)
        if fault.kind is Kind.UNKNOWN and self._address.way == "ws" and await self._reads(limit):
            fault = READS_ALONE  # a server refuses a token without write access by closing the connection
        raise self._unavailable(fault)

    async def _reads(self, limit: float) -> bool:
        try:
            await self._thread.call(run, _READ, limit)
        except Exception as error:  # as above; the first fault is reported
            logger.debug("a read failed as well: %s", classify(error).problem)
            return False
        return True

    def _unavailable(self, fault: Fault) -> PersistenceUnavailable:
        """Return the error for clients. Its `__cause__` is the error for a deployer."""
        self._note(fault)
        unavailable = PersistenceUnavailable()
        unavailable.__cause__ = fault.for_deployer(self._table, self._address.name)
        return unavailable

    def _note(self, trouble: Fault | None) -> None:
        """Log a fault of the database once, and its end."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble is None:
            logger.info("the database answers again")
        else:
            logger.warning("%s", trouble.for_deployer(self._table, self._address.name))

    @asynccontextmanager
    async def transaction(self, *, writing: bool) -> AsyncGenerator[Reader]:
        """See `Driver.transaction`."""

        async def start(client: Client) -> Transaction:
            return await begin(client, self._address, self._token, writing=writing)

        transaction: Transaction = await self._once(start)
        try:
            yield _InTransaction(self, transaction)
        finally:
            with trio.move_on_after(PATIENCE, shield=True):
                await self._once(lambda _: transaction.close())

    async def _once(self, act: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        """Call `act` in the asyncio thread, once: what a transaction did before is lost with its connection."""
        with trio.move_on_after(TRANSACTION_SECONDS):
            try:
                return await self._thread.call(act)
            except Exception as error:  # as in `_attempts`
                fault = classify(error)
                if fault.kind is Kind.REFUSED:
                    raise Refused(fault.problem) from None
                if fault.kind is Kind.WRONG_STATEMENT:
                    raise
            raise self._unavailable(fault)
        raise self._unavailable(TIMED_OUT)

    async def execute_in(self, transaction: Transaction, statement: Statement) -> list[Row]:
        """Execute one statement of an open transaction."""
        return await self._once(lambda _: transaction.execute(statement))

    async def purge(self) -> None:
        """See `Driver.purge`. The operator of a server is responsible for its files."""
        with trio.move_on_after(min(self._seconds, PATIENCE)):
            try:
                await self._thread.call(purge)
            except Exception as error:  # as in `_attempts`
                if classify(error).kind is Kind.WRONG_STATEMENT:
                    raise
                raise PersistenceUnavailable from None
            return
        raise PersistenceUnavailable

    async def describe(self) -> str:
        """See `Driver.describe`."""
        [[[version]]] = await self.execute(_READ)
        return f"libSQL at {self._address.name}, SQLite {version!s}"


class _InTransaction:
    """A `Reader` of an open transaction."""

    def __init__(self, driver: TursoDriver, transaction: Transaction) -> None:
        self._driver = driver
        self._transaction = transaction

    async def execute(self, statements: Sequence[Statement], *, patient: bool = False) -> list[list[Row]]:
        """See `Reader.execute`."""
        [statement] = statements
        return [await self._driver.execute_in(self._transaction, statement)]


def _writes(statements: Sequence[Statement]) -> bool:
    """Return whether a batch writes: a database that refuses writes may still answer reads."""
    return any(not statement.sql.lstrip().startswith(("SELECT", "WITH")) for statement in statements)


@asynccontextmanager
async def connect(address: Address, token: str | None, seconds: float, table: str) -> AsyncGenerator[TursoDriver]:
    """Yield a driver for the database at an address. It connects when it is first used, and reconnects if necessary.

    `seconds` is how long a call may take; `table` is the plugin's table in the configuration, which errors name.
    """
    async with AsyncioThread(partial(open_client, address, token)) as thread:
        yield TursoDriver(thread, address, seconds, table, token)
