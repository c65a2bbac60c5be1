"""The metrics of the server, for Prometheus. No label ever contains a name, an id or content."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

Buckets = tuple[Sequence[tuple[float, int]], float]
"""The number of values up to each bound, of which the last is infinite, and the sum of all values."""


class Metrics:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"evanesce_{name}", text, labels, registry=self._registry)

        self.connections = counter("connections", "Connections that were opened")
        self.closed = counter("connections_closed", "Connections that the server ended, by close code", "code")
        self.accepted = self._count("messages_accepted", "Messages that the store accepted")
        self.delivered = self._count("messages_delivered", "Messages handed to connections")
        self.skipped = self._count("messages_skipped", "Messages that expired while they waited for a slow client")
        self.refused = counter("commands_refused", "Commands that were refused, by error code", "code")
        self.groups = self._count("commit_groups", "Groups of messages that were sent to the store in one call")
        self.faults = counter("faults", "Contained faults of the server or of a plugin, by place", "where")
        self.sessions_ended = counter(
            "sessions_left_open", "Sessions that a killed server left open and another server ended"
        )
        self.deleted = counter("rows_deleted", "Rows that were deleted at the end of their retention, by kind", "kind")
        self.records_dropped = counter("records_dropped", "Records that the write-behind queue dropped")
        self.records_refused = counter("records_refused", "Records that the repository refused, dropped")

    def _count(self, name: str, text: str) -> Count:
        count = Count()
        self.watch_counter(name, text, lambda: count.value)
        return count

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show the value that `value` returns at each scrape."""
        Gauge(f"evanesce_{name}", text, registry=self._registry).set_function(value)

    def watch_counter(self, name: str, text: str, total: Callable[[], float]) -> None:
        """Show the counter that `total` returns at each scrape: for what is counted elsewhere, and only grows."""
        self._registry.register(_Total(f"evanesce_{name}", text, total))

    def watch_histogram(self, name: str, text: str, buckets: Callable[[], Buckets]) -> None:
        """Show the histogram that `buckets` returns at each scrape: for values that are counted elsewhere, in bulk."""
        self._registry.register(_Histogram(f"evanesce_{name}", text, buckets))

    def text(self) -> str:
        """Return all metrics as Prometheus text."""
        return generate_latest(self._registry).decode()


class Count:
    """A counter for what happens with every message, on the Trio thread alone.

    One of the library takes a lock at each `inc`, which costs several times as much as the addition.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        """Add `amount`, which is not negative."""
        self.value += amount


class _Total(Collector):
    """A counter that is counted elsewhere: by what knows no metrics."""

    def __init__(self, name: str, text: str, total: Callable[[], float]) -> None:
        self._name = name
        self._text = text
        self._total = total

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Return the counter as it is now."""
        yield CounterMetricFamily(self._name, self._text, value=self._total())


class _Histogram(Collector):
    """A histogram that is counted elsewhere, because one call for each value would cost more than the work measured."""

    def __init__(self, name: str, text: str, buckets: Callable[[], Buckets]) -> None:
        self._name = name
        self._text = text
        self._buckets = buckets

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Return the histogram as it is now."""
        buckets, total = self._buckets()
        shown = [("+Inf" if math.isinf(bound) else str(bound), float(count)) for bound, count in buckets]
        yield HistogramMetricFamily(self._name, self._text, buckets=shown, sum_value=total)
