"""The write-behind queue: what the way of a message must not wait for reaches the repository in batches."""

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

logger = logging.getLogger(__name__)

LIMIT = 10_000
"""How many records may wait; past that the oldest are dropped, counted and logged."""

BATCH = 500
"""How many records go to the repository in one call."""

AGE = 1.0
"""How long a record waits for others, in seconds, while fewer than `BATCH` wait."""

_RETRY_SECONDS = (1.0, 2.0, 5.0)


class WriteBehind:
    """Takes records at once and writes them soon, in order. Survives an outage as long as its bound holds."""

    def __init__(self, repository: Repository, metrics: Metrics) -> None:
        self._repository = repository
        self._metrics = metrics
        self._waiting: deque[Record] = deque()
        self._arrived = trio.Event()
        self._many = trio.Event()
        self._dropping = False
        metrics.watch("records_waiting", "Records that wait for the database", lambda: len(self._waiting))

    @property
    def waiting(self) -> int:
        """How many records wait."""
        return len(self._waiting)

    def record(self, record: Record) -> None:
        """Queue a record. Never waits, never raises."""
        if len(self._waiting) >= LIMIT:
            self._waiting.popleft()
            if not self._dropping:
                self._dropping = True
                logger.error("the database is behind by %d records: the oldest are dropped until it is back", LIMIT)
            self._metrics.records_dropped.inc()
        self._waiting.append(record)
        self._arrived.set()
        if len(self._waiting) >= BATCH:
            self._many.set()

    async def run(self) -> None:
        """Write what comes, until cancelled; what still waits then is for `flush`."""
        failures = 0
        while True:
            await self._arrived.wait()
            if failures == 0:
                with trio.move_on_after(AGE):
                    await self._many.wait()
            else:
                await trio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS)) - 1])
            try:
                await self.flush()
                failures = 0
            except PersistenceUnavailable as error:
                failures += 1
                logger.warning("%d records wait for the database: %s", len(self._waiting), error)
            except Exception as error:  # the border around a plugin: its fault must not end the server
                failures += 1
                self._metrics.faults.labels("repository").inc()
                logger.error("%d records wait: the repository failed: %s", len(self._waiting), folded(error))

    async def flush(self) -> None:
        """Write all that waits. Raises what the repository raises; nothing is lost then."""
        while self._waiting:
            batch = list(islice(self._waiting, BATCH))
            await self._repository.record(_latest(batch))
            # While it was being written the queue may have dropped some of these at its front.
            for record in batch:
                if self._waiting and self._waiting[0] is record:
                    self._waiting.popleft()
        self._arrived = trio.Event()
        self._many = trio.Event()
        self._dropping = False


def _latest(batch: list[Record]) -> list[Record]:
    """Leave out what a later record of the batch makes needless: of a user's or room's state the last one counts."""
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
