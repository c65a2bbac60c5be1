"""Reports of how late each server erases expired keys, kept in Redis for `evanesce check`. They have no content."""

from __future__ import annotations

import msgspec
import trio

from evanesce.store.health import ExpiryReport
from evanesce.store.lag import ExpiryLag
from evanesce.store.redis.client import Client
from evanesce.store.redis.clock import Clock
from evanesce.store.redis.homes import Home, Homes
from evanesce.store.redis.lease import retry_until_available

REPORT_SECONDS = 10.0
"""How often a server updates its report."""

FRESH_SECONDS = 30.0
"""How old a report may be to be valid."""

KEEP = 60_000
"""How long the reports are kept after the last update, in milliseconds."""


class _Report(msgspec.Struct, frozen=True, array_like=True):
    """The report of one server. `at` is its time, in ms of the store's clock; the rest is as in `LagSummary`."""

    at: int
    keys: int
    p99: float
    worst: float


_decoder = msgspec.json.Decoder(_Report)


class LagReports:
    """The report of this server, in one home, and those of all servers."""

    def __init__(self, client: Client, homes: Homes, clock: Clock, lag: ExpiryLag) -> None:
        self._client = client
        self._homes = homes
        self._clock = clock
        self._lag = lag

    async def run(self) -> None:
        """Update the report every `REPORT_SECONDS`, until cancelled."""
        while True:
            await retry_until_available(lambda: self._homes.any(self._update))
            await trio.sleep(REPORT_SECONDS)

    async def _update(self, home: Home) -> None:
        summary = self._lag.summary()
        report = _Report(self._clock.now(), summary.keys, summary.p99, summary.worst)
        *_, reports = await self._client.run(
            ("HSET", home.keys.lag, self._homes.name, msgspec.json.encode(report)),
            ("PEXPIRE", home.keys.lag, KEEP),
            ("HGETALL", home.keys.lag),
        )
        # Each update renews the hash: the report of a killed server would stay in it for ever.
        before = report.at - KEEP
        if over := [
            name for name, other in zip(reports[::2], reports[1::2], strict=True) if _decoder.decode(other).at < before
        ]:
            await self._client.run(("HDEL", home.keys.lag, *over))

    async def delete(self) -> None:
        """Delete this server's report. Raises `StoreUnavailable`."""
        await self._homes.each(lambda home: self._client.run(("HDEL", home.keys.lag, self._homes.name)))

    async def read(self) -> ExpiryReport | None:
        """Return how late all servers erased keys in the last minute; None if they erased none.

        Raises `StoreUnavailable`.
        """
        answers = await self._homes.each(lambda home: self._client.run(("HGETALL", home.keys.lag)))
        latest: dict[bytes, _Report] = {}
        for [flat] in answers:
            for name, encoded in zip(flat[::2], flat[1::2], strict=True):
                report = _decoder.decode(encoded)
                if name not in latest or latest[name].at < report.at:
                    latest[name] = report
        since = self._clock.now() - FRESH_SECONDS * 1000
        fresh = [report for report in latest.values() if report.at >= since and report.keys]
        if not fresh:
            return None
        return ExpiryReport(
            servers=len(fresh),
            keys=sum(report.keys for report in fresh),
            p99=max(report.p99 for report in fresh),
            worst=max(report.worst for report in fresh),
        )
