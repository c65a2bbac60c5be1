"""The metrics of the server, for Prometheus. No label ever contains a name, an id or content.

What happens with every message is counted by `Count` and `Histogram`, on the Trio thread alone: the library takes a
lock for each value, which costs several times as much as an addition. What can be read is read at each scrape.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product

from prometheus_client import CollectorRegistry, Gauge, Info, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from evanesce.errors import CloseCode, ErrorCode

Buckets = tuple[Sequence[tuple[float, int]], float]
"""The number of values up to each bound, of which the last is infinite, and the sum of all values."""

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""The upper bounds of the buckets of times, in seconds."""

MEMBERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
"""The upper bounds of the buckets of numbers of members."""

OTHER = "other"
"""What a label shows in place of a value that was not declared: so no client can add one."""


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.connections = self.count("connections", "Connections that were opened")
        self.closed = self.counter(
            "connections_closed",
            "Connections that the server ended, by close code",
            code=[str(code.value) for code in CloseCode],
        )
        self.accepted = self.count("messages_accepted", "Messages that the store accepted")
        self.delivered = self.count("messages_delivered", "Messages handed to connections")
        self.skipped = self.count("messages_skipped", "Messages that expired while they waited for a slow client")
        self.store_seconds = self.histogram(
            "message_store_seconds", "Seconds from the request of a member to send a message until Redis has stored it"
        )
        self.delivery_seconds = self.histogram(
            "message_delivery_seconds",
            "Seconds from the storing of a message, by the clock of Redis, until it was written to the members here",
        )
        self.fanout = self.histogram("message_fanout", "Members on this server that a message was written to", MEMBERS)
        self.refused = self.counter(
            "commands_refused", "Commands that were refused, by error code", code=[code.value for code in ErrorCode]
        )
        self.groups = self.count("commit_groups", "Groups of messages that were sent to the store in one call")
        self.faults = self.counter(
            "faults",
            "Contained faults of the server or of a plugin, by place",
            where=("command", "repository", "room", "session"),
        )
        self.sessions_ended = self.count(
            "sessions_left_open", "Sessions that a killed server left open and another server ended"
        )
        self.deleted = self.counter(
            "rows_deleted",
            "Rows that were deleted at the end of their retention, by kind",
            kind=("guests", "rooms", "rules", "sessions"),
        )
        self.records_dropped = self.count("records_dropped", "Records that the write-behind queue dropped")
        self.records_refused = self.count("records_refused", "Records that the repository refused, dropped")
        self.scrape: Callable[[], Awaitable[str]] = self._scrape_alone
        """Return the metrics of all workers; of several workers, each replaces it."""

    def count(self, name: str, text: str) -> Count:
        """Return a new counter."""
        count = Count()
        self.watch_counter(name, text, lambda: count.value)
        return count

    def counter(self, name: str, text: str, **labels: Collection[str]) -> LabelledCount:
        """Return a new counter with labels, of which all values are declared."""
        counter = LabelledCount(labels)
        self.watch_counters(name, text, tuple(labels), counter.values)
        return counter

    def histogram(self, name: str, text: str, bounds: Sequence[float] = SECONDS) -> Histogram:
        """Return a new histogram, whose buckets have these upper bounds."""
        histogram = Histogram(bounds)
        self.watch_histogram(name, text, histogram.buckets)
        return histogram

    def info(self, name: str, text: str, facts: Mapping[str, str]) -> None:
        """Show facts that do not change, as labels."""
        Info(f"evanesce_{name}", text, registry=self._registry).info(dict(facts))

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show the value that `value` returns at each scrape."""
        Gauge(f"evanesce_{name}", text, registry=self._registry).set_function(value)

    def watch_counter(self, name: str, text: str, total: Callable[[], float]) -> None:
        """Show the counter that `total` returns at each scrape: for what is counted elsewhere, and only grows."""
        self.watch_counters(name, text, (), lambda: {(): total()})

    def watch_counters(
        self, name: str, text: str, labels: Sequence[str], totals: Callable[[], Mapping[tuple[str, ...], float]]
    ) -> None:
        """Show the counters that `totals` returns at each scrape, by the values of their labels.

        The caller sees that these are of a bounded number.
        """
        self._watch_family(lambda: CounterMetricFamily(f"evanesce_{name}", text, labels=labels), totals)

    def watch_gauges(
        self, name: str, text: str, labels: Sequence[str], values: Callable[[], Mapping[tuple[str, ...], float]]
    ) -> None:
        """Show the values that `values` returns at each scrape, as `watch_counters` does."""
        self._watch_family(lambda: GaugeMetricFamily(f"evanesce_{name}", text, labels=labels), values)

    def _watch_family(
        self,
        new: Callable[[], CounterMetricFamily | GaugeMetricFamily],
        values: Callable[[], Mapping[tuple[str, ...], float]],
    ) -> None:
        def family() -> Metric:
            shown = new()
            for labels, value in values().items():
                shown.add_metric(labels, value)
            return shown

        self._registry.register(_Watched(family))

    def watch_histogram(self, name: str, text: str, buckets: Callable[[], Buckets]) -> None:
        """Show the histogram that `buckets` returns at each scrape: for values that are counted elsewhere."""

        def family() -> Metric:
            counted, total = buckets()
            shown = [("+Inf" if math.isinf(bound) else str(bound), float(count)) for bound, count in counted]
            return HistogramMetricFamily(f"evanesce_{name}", text, buckets=shown, sum_value=total)

        self._registry.register(_Watched(family))

    def watch_process(self) -> None:
        """Show what the system knows of this process, under the usual names, such as `process_cpu_seconds_total`."""
        ProcessCollector(registry=self._registry)

    def text(self, worker: int | None = None) -> str:
        """Return all metrics as Prometheus text; those of a worker with its number as the label `worker`."""
        if worker is None:
            return generate_latest(self._registry).decode()
        return generate_latest(_OfWorker(self._registry, str(worker))).decode()

    async def _scrape_alone(self) -> str:
        return self.text()


class Count:
    """A counter for what happens with every message, on the Trio thread alone."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        """Add `amount`, which is not negative."""
        self.value += amount


class LabelledCount:
    """A counter with labels, on the Trio thread alone. `labels` has all the values that each may have."""

    def __init__(self, labels: Mapping[str, Collection[str]]) -> None:
        self._known = [frozenset(values) for values in labels.values()]
        # From the start, because a counter that appears with its first value shows no increase for that.
        self._counts = {values: Count() for values in product(*labels.values())}

    def labels(self, *values: str) -> Count:
        """Return the counter with these values of the labels. One that was not declared is counted as `OTHER`."""
        counter = self._counts.get(values)
        if counter is None:
            pairs = zip(values, self._known, strict=True)
            known = tuple(value if value in declared else OTHER for value, declared in pairs)
            counter = self._counts.setdefault(known, Count())
        return counter

    def values(self) -> dict[tuple[str, ...], float]:
        """Return all counters by the values of their labels."""
        return {values: float(count.value) for values, count in self._counts.items()}


class Histogram:
    """Counts values by their size, on the Trio thread alone. `bounds` are the ascending upper bounds of its buckets."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, so many times."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def buckets(self) -> Buckets:
        """Return how many values there were up to each bound, and their sum."""
        total, buckets = 0, list[tuple[float, int]]()
        for bound, count in zip((*self._bounds, math.inf), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        return buckets, self._sum


class _Watched(Collector):
    """What is read at each scrape."""

    def __init__(self, family: Callable[[], Metric]) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        """Return it as it is now."""
        yield self._family()


class _OfWorker(Collector):
    """All metrics of a registry, with the label `worker`."""

    def __init__(self, registry: CollectorRegistry, worker: str) -> None:
        self._registry = registry
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        """Return them as they are now."""
        for family in self._registry.collect():
            labelled = [one._replace(labels={**one.labels, "worker": self._worker}) for one in family.samples]
            family.samples = labelled  # a family is made anew for each scrape
            yield family


def merged(texts: Iterable[str]) -> str:
    """Return Prometheus texts as one: all values of a metric together, with the description that comes first."""
    families: dict[str, tuple[list[str], list[str]]] = {}
    for text in texts:
        head, samples, is_new = list[str](), list[str](), False
        for line in text.splitlines():
            if line.startswith("# HELP "):
                name = line.split(" ", 3)[2]
                is_new = name not in families
                head, samples = families.setdefault(name, ([], []))
            if not line.startswith("#"):
                samples.append(line)
            elif is_new:
                head.append(line)
    return "".join(f"{line}\n" for head, samples in families.values() for line in (*head, *samples))
