"""What a server measures of its store: how long calls take, what was refused or lost, and the memory of Redis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from evanesce.metrics import Count, Histogram, Metrics


@dataclass(slots=True)
class StoreStatistics:
    """The measurements of one server, since its start.

    - `round_trips`: from the sending of a call until its answer.
    - `failed`: calls that got no answer, or were refused before they were sent.
    - `connects`: how often a connection for calls was made. `lost`: how often one broke.
    - `gaps`: how often events of a room had to be read again, because some of what was published did not arrive.
    - `lease_age`: returns how many seconds ago the oldest lease of this server was renewed.
    - `memory` and `memory_limit`: what all primaries use and may use, in bytes; 0 while it is not known, or without a
      limit.
    """

    round_trips: Histogram = field(default_factory=Histogram)
    failed: Count = field(default_factory=Count)
    connects: Count = field(default_factory=Count)
    lost: Count = field(default_factory=Count)
    gaps: Count = field(default_factory=Count)
    lease_age: Callable[[], float] = lambda: 0.0
    memory: int = 0
    memory_limit: int = 0

    def watch(self, metrics: Metrics) -> None:
        """Show the measurements as metrics."""
        metrics.watch_histogram(
            "redis_call_seconds",
            "Seconds from the sending of a call to Redis until its answer",
            self.round_trips.buckets,
        )
        failed = "Calls to Redis that got no answer, or were refused before they were sent"
        metrics.watch_counter("redis_failures", failed, lambda: self.failed.value)
        metrics.watch_counter("redis_connects", "Connections to Redis that were made", lambda: self.connects.value)
        metrics.watch_counter("redis_disconnects", "Connections to Redis that broke", lambda: self.lost.value)
        gaps = "Gaps in the events of rooms that were filled from Redis"
        metrics.watch_counter("gaps_filled", gaps, lambda: self.gaps.value)
        lease = "Seconds since this server renewed its lease, the oldest of several"
        metrics.watch("lease_age_seconds", lease, lambda: self.lease_age())
        used = "Memory that Redis uses, of all primaries; 0 while it is not known"
        metrics.watch("redis_memory_bytes", used, lambda: self.memory)
        most = "Memory that Redis may use, of all primaries; 0 without a limit"
        metrics.watch("redis_memory_limit_bytes", most, lambda: self.memory_limit)
