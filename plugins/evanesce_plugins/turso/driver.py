"""A libSQL database under Trio: batches that are tried again where that is safe, each within its time."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import trio

from evanesce.errors import PersistenceUnavailable
from evanesce_plugins.sql.driver import PATIENCE, Refused, Row, Statement
from evanesce_plugins.turso.bridge import AsyncioThread
from evanesce_plugins.turso.clients import CONNECTIONS, Client, open_client
from evanesce_plugins.turso.faults import READS_ALONE, TIMED_OUT, Fault, Kind, sort
from evanesce_plugins.turso.settings import Address

logger = logging.getLogger(__name__)

PAUSES = (0.05, 0.1, 0.2, 0.4)
"""How long it is waited before each further attempt, in seconds: a server that starts anew is back by then."""

_READ = (Statement("SELECT sqlite_version()"),)


class TursoDriver:
    """Keeps `evanesce_plugins.sql.driver.Driver` on a client. Made by `connect`."""

    def __init__(self, thread: AsyncioThread, client: Client, address: Address, seconds: float, table: str) -> None:
        self._thread = thread
        self._client = client
        self._address = address
        self._seconds = seconds
        self._table = table
        self._turns = trio.CapacityLimiter(CONNECTIONS)
        self._trouble: Fault | None = None

    async def execute(self, statements: Sequence[Statement], *, patient: bool = False) -> list[list[Row]]:
        """See `Driver.execute`."""
        limit = self._seconds if patient else min(self._seconds, PATIENCE)
        with trio.move_on_after(limit):
            async with self._turns:
                rows = await self._attempts(statements, limit)
            self._note(None)
            return rows
        raise self._unavailable(TIMED_OUT)

    async def _attempts(self, statements: Sequence[Statement], limit: float) -> list[list[Row]]:
        """Do a batch, again and again where that is safe: every batch of the repository is idempotent.

        A connection that is silent for `limit` seconds is given up, even where whoever asked waits no longer.
        """
        pauses = iter(PAUSES)
        while True:
            try:
                return await self._thread.call(self._client.run, statements, limit)
            except Exception as error:  # all that a client raises is sorted
                fault = sort(error)
                if fault.kind is Kind.REFUSED:
                    raise Refused(fault.problem) from None
                if fault.kind is Kind.OURS:
                    raise
            pause = next(pauses, None)
            if fault.kind is Kind.HOPELESS or pause is None:
                break
            await trio.sleep(pause)
        if fault.kind is Kind.UNKNOWN and self._address.way == "ws" and await self._reads(limit):
            fault = READS_ALONE  # a token that may not write is told by ending the connection, and no word
        raise self._unavailable(fault)

    async def _reads(self, limit: float) -> bool:
        try:
            await self._thread.call(self._client.run, _READ, limit)
        except Exception as error:  # as above; why it does not answer is known already
            logger.debug("no answer to a read either: %s", sort(error).problem)
            return False
        return True

    def _unavailable(self, fault: Fault) -> PersistenceUnavailable:
        """Give what people are told; what a deployer is told stands behind it."""
        self._note(fault)
        unavailable = PersistenceUnavailable()
        unavailable.__cause__ = fault.told(self._table, self._address.name)
        return unavailable

    def _note(self, trouble: Fault | None) -> None:
        """Log what is wrong with the database, once while it lasts."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble is None:
            logger.info("the database answers again")
        else:
            logger.warning("%s", trouble.told(self._table, self._address.name))

    async def describe(self) -> str:
        """See `Driver.describe`."""
        [[[version]]] = await self.execute(_READ)
        return f"libSQL at {self._address.name}, SQLite {version!s}"


@asynccontextmanager
async def connect(address: Address, token: str | None, seconds: float, table: str) -> AsyncGenerator[TursoDriver]:
    """Give a driver for the database at an address. It connects when it is used, and again whenever it has to.

    `seconds` are how long a call may take; `table` is the plugin's in the configuration: errors name its keys.
    """
    async with AsyncioThread() as thread:
        client = await thread.call(open_client, address, token)
        try:
            yield TursoDriver(thread, client, address, seconds, table)
        finally:
            with trio.move_on_after(1, shield=True):
                await thread.call(client.close)
