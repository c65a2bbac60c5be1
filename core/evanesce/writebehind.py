"""The write-behind queue: records that no message has to wait for are written to the repository in batches."""

from __future__ import annotations

import logging
from collections import deque
from itertools import islice

import trio

from evanesce.errors import PersistenceUnavailable
from evanesce.interfaces import Repository
from evanesce.logs import folded
from evanesce.metrics import Metrics
from evanesce.model import Record, RoomActivity, UserSeen
from evanesce.plugins.faults import PluginFailed

logger = logging.getLogger(__name__)

LIMIT = 10_000
"""How many records may wait. Beyond that, the oldest are dropped, counted and logged."""

BATCH = 500
"""How many records are written in one call of the repository."""

AGE = 1.0
"""How many seconds a record waits for others while fewer than `BATCH` wait."""

RECORD_SECONDS = 75.0
"""How long one call of the repository may take before it counts as an outage. Its own timeouts are shorter."""

ATTEMPTS = 3
"""How often a whole batch is tried. Then one that fails for another reason than an outage is divided."""

_RETRY_SECONDS = (1.0, 2.0, 5.0)


class WriteBehind:
    """Queue records, and write them soon, in order. During an outage they wait, up to `LIMIT` of them.

    A record that the repository refuses for another reason than an outage does not delay the others: it alone is
    dropped, counted and logged.
    """

    def __init__(self, repository: Repository, metrics: Metrics) -> None:
        self._repository = repository
        self._metrics = metrics
        self._waiting: deque[Record] = deque()
        self._arrived = trio.Event()
        self._many = trio.Event()
        self._dropping = False
        self._failed = False
        metrics.watch("records_waiting", "Records that wait for the database", lambda: len(self._waiting))

    @property
    def waiting(self) -> int:
        """The number of waiting records."""
        return len(self._waiting)

    @property
    def failing(self) -> bool:
        """Whether records wait because the last call of the repository failed."""
        return self._failed and bool(self._waiting)

    def record(self, record: Record) -> None:
        """Queue a record. Never waits, never raises."""
        if len(self._waiting) >= LIMIT:
            self._waiting.popleft()
            if not self._dropping:
                self._dropping = True
                logger.error(
                    "%d records wait for the database: the oldest are dropped until it is available again", LIMIT
                )
            self._metrics.records_dropped.inc()
        self._waiting.append(record)
        self._arrived.set()
        if len(self._waiting) >= BATCH:
            self._many.set()

    async def run(self) -> None:
        """Write the records until cancelled. `flush` writes those that still wait then.

        A failed batch is tried again after a growing pause. After `ATTEMPTS` failures without an outage it is divided.
        """
        failures = refusals = 0
        while True:
            await self._arrived.wait()
            if failures == 0:
                with trio.move_on_after(AGE):
                    await self._many.wait()
            else:
                await trio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS)) - 1])
            try:
                await self._write_all(divide=refusals >= ATTEMPTS)
                failures = refusals = 0
            except PersistenceUnavailable as error:
                failures += 1
                logger.warning("%d records wait for the database: %s", len(self._waiting), error)
            except Exception as error:  # the boundary to a plugin: its fault must not stop the server
                failures += 1
                refusals += 1
                self._metrics.faults.labels("repository").inc()
                logger.error("%d records wait: the repository failed: %s", len(self._waiting), _describe(error))

    async def flush(self) -> None:
        """Write all waiting records, and drop those that the repository refuses.

        Raises `PersistenceUnavailable`: then the unwritten records still wait.
        """
        await self._write_all(divide=True)

    async def _write_all(self, *, divide: bool) -> None:
        while self._waiting:
            batch = list(islice(self._waiting, BATCH))
            if divide:
                await self._write_without_refused(batch)
            else:
                await self._write(batch)
        self._arrived = trio.Event()
        self._many = trio.Event()
        self._dropping = False

    async def _write_without_refused(self, batch: list[Record]) -> None:
        """Write a batch, and drop the records in it that the repository refuses."""
        refused: list[tuple[Record, Exception]] = []
        try:
            await self._divide(batch, refused)
        finally:
            if refused:
                kinds = ", ".join(sorted({type(record).__name__ for record, _ in refused}))
                problem = _describe(refused[-1][1])
                logger.error(
                    "%d records (%s) were dropped: the repository refuses them: %s", len(refused), kinds, problem
                )

    async def _divide(self, batch: list[Record], refused: list[tuple[Record, Exception]]) -> None:
        """Write a batch, or its halves in order if that fails. Add the records that are refused alone to `refused`."""
        try:
            await self._write(batch)
        except PersistenceUnavailable:
            raise
        except Exception as error:  # the boundary to a plugin
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._divide(batch[:middle], refused)
                await self._divide(batch[middle:], refused)
                return
            self._metrics.records_refused.inc()
            self._remove(batch)
            refused.append((batch[0], error))

    async def _write(self, batch: list[Record]) -> None:
        """Write a batch, all or nothing. Raises what the repository raises: then the whole batch still waits."""
        try:
            with trio.move_on_after(RECORD_SECONDS) as timeout:
                await self._repository.record(_latest(batch))
            if timeout.cancelled_caught:
                raise PersistenceUnavailable
        except Exception:  # the boundary to a plugin
            self._failed = True
            raise
        self._failed = False
        self._remove(batch)

    def _remove(self, batch: list[Record]) -> None:
        # The queue may have dropped some of these records while they were written.
        for record in batch:
            if self._waiting and self._waiting[0] is record:
                self._waiting.popleft()


def _describe(error: Exception) -> str:
    """Describe what the repository raised. The plugin host has logged a plugin's fault, with its places."""
    return "see the line about its plugin above" if isinstance(error, PluginFailed) else folded(error)


def _latest(batch: list[Record]) -> list[Record]:
    """Return the batch without the records that a later one replaces: the last state of a user or room counts."""
    last: dict[tuple[type, str], Record] = {}
    kept: list[Record] = []
    for record in batch:
        match record:
            case UserSeen():
                last[UserSeen, record.user_id] = record
            case RoomActivity():
                last[RoomActivity, record.room_id] = record
            case _:
                kept.append(record)
    return kept + list(last.values())
