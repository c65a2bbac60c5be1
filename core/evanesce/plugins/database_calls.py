"""What is measured of the calls of the database."""

from __future__ import annotations

from dataclasses import dataclass, field

from evanesce.metrics import Count, Histogram, Metrics


@dataclass(slots=True)
class DatabaseCalls:
    """The calls of one repository: their `seconds`, how many `failed`, and whether the last one did not (`up`)."""

    seconds: Histogram = field(default_factory=Histogram)
    failed: Count = field(default_factory=Count)
    up: bool = True

    def count(self, seconds: float, *, failed: bool) -> None:
        """Count a call that has ended."""
        self.seconds.observe(seconds)
        self.up = not failed
        if failed:
            self.failed.inc()

    def watch(self, metrics: Metrics) -> None:
        """Show the measurements as metrics."""
        metrics.watch_histogram(
            "database_call_seconds", "Seconds that calls of the database took", self.seconds.buckets
        )
        metrics.watch_counter("database_failures", "Calls of the database that failed", lambda: self.failed.value)
        metrics.watch("database_up", "Whether the last call of the database succeeded", lambda: self.up)
