"""The report of one server about itself, which all servers publish: so any of them can answer for all."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version

import msgspec
import trio

from evanesce.admin.model import ServerStatus
from evanesce.context import ServerContext
from evanesce.errors import StoreUnavailable
from evanesce.metrics import Histogram
from evanesce.model import timestamp
from evanesce.rooms.hub import Hub
from evanesce.sessions.gateway import Gateway

REPORT_SECONDS = 2.0
"""How often a server reports."""

REPORTS = 6
"""Over how many reports the time of messages is taken: 10 s to 12 s."""


class RecentValues:
    """The values of a histogram between the present and up to `REPORTS` calls of `advance` ago."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._before: deque[Sequence[tuple[float, int]]] = deque(maxlen=REPORTS)
        self.advance()

    def advance(self) -> None:
        """Forget what is too old. Call it at each report."""
        self._before.append(self._histogram.buckets()[0])

    @property
    def p99(self) -> float:
        """The 99th percentile, rounded up to the bound of a bucket, the last one at most; 0 without values."""
        counts = [(bound, count - old) for (bound, count), (_, old) in zip(self._now(), self._before[0], strict=True)]
        total, last = counts[-1][1], counts[-2][0]
        return next((min(bound, last) for bound, count in counts if total and count * 100 >= total * 99), 0.0)

    def _now(self) -> Sequence[tuple[float, int]]:
        return self._histogram.buckets()[0]


class StatusReports:
    """Publishes the status of this server. `run` must run beside it."""

    def __init__(self, context: ServerContext, hub: Hub, gateway: Gateway) -> None:
        self._store = context.store
        self._metrics = context.metrics
        self._hub = hub
        self._gateway = gateway
        self._version = version("evanesce")
        self._started_at = timestamp(context.store.clock.now())
        self._redis_seconds = 0.0
        self._loop_seconds = 0.0
        self._message_seconds = RecentValues(context.metrics.store_seconds)

    async def run(self) -> None:
        """Report every `REPORT_SECONDS`, until cancelled. It waits while the store is unavailable."""
        while True:
            self._message_seconds.advance()
            began = trio.current_time()
            with suppress(StoreUnavailable):  # other parts log that
                await self._store.servers.publish_status(msgspec.json.encode(self.now()))
                self._redis_seconds = round(trio.current_time() - began, 6)
            due = trio.current_time() + REPORT_SECONDS
            await trio.sleep_until(due)
            self._loop_seconds = round(trio.current_time() - due, 6)

    def now(self) -> ServerStatus:
        """Return the status of this server."""
        metrics = self._metrics
        return ServerStatus(
            version=self._version,
            started_at=self._started_at,
            reported_at=timestamp(self._store.clock.now()),
            draining=self._gateway.leaves_service,
            connections=self._gateway.connections,
            users=len(self._hub.user_ids),
            rooms=self._hub.rooms,
            accepted=metrics.accepted.value,
            delivered=metrics.delivered.value,
            skipped=metrics.skipped.value,
            redis_seconds=self._redis_seconds,
            loop_seconds=self._loop_seconds,
            message_seconds=self._message_seconds.p99,
        )
