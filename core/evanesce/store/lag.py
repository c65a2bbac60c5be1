"""How late expired keys are erased: a histogram since the start, and a summary of the last minute."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

BOUNDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""The upper bounds of the histogram's buckets, in seconds; above the last one there is one more bucket."""

SLOT_SECONDS = 10.0
"""How much time one part of the summary covers."""

SLOTS = 6
"""How many parts the summary has: a minute."""


@dataclass(frozen=True, slots=True)
class LagSummary:
    """How many keys were erased in the last minute, and how late: the 99th percentile and the worst, in seconds.

    The percentile is rounded up to a bucket's bound, and is never above the worst.
    """

    keys: int
    p99: float
    worst: float


@dataclass(slots=True)
class _Slot:
    ends: float
    worst: float = 0.0
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))


class ExpiryLag:
    """The lag of the keys that one server erased: the time from the end of a key until it was known to be erased."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0
        self._slots: deque[_Slot] = deque(maxlen=SLOTS)

    def add(self, lags: Iterable[float]) -> None:
        """Count keys by their lag in seconds."""
        now = time.monotonic()
        if not self._slots or self._slots[-1].ends <= now:
            self._slots.append(_Slot(now + SLOT_SECONDS))
        slot = self._slots[-1]
        for lag in lags:
            bucket = bisect_left(BOUNDS, lag)
            self._counts[bucket] += 1
            slot.counts[bucket] += 1
            self._sum += lag
            if lag > slot.worst:
                slot.worst = lag

    def histogram(self) -> tuple[Sequence[tuple[float, int]], float]:
        """Return how many keys had at most each bound's lag, the last bound being infinite, and the sum of all lags."""
        total, buckets = 0, list[tuple[float, int]]()
        for bound, count in zip((*BOUNDS, math.inf), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        return buckets, self._sum

    def summary(self) -> LagSummary:
        """Return a summary of the last minute."""
        since = time.monotonic() - SLOTS * SLOT_SECONDS
        slots = [slot for slot in self._slots if slot.ends > since]
        counts = [sum(each) for each in zip(*(slot.counts for slot in slots), strict=True)]
        keys, worst = sum(counts), max((slot.worst for slot in slots), default=0.0)
        seen = 0
        for bound, count in zip((*BOUNDS, math.inf), counts, strict=False):
            seen += count
            if seen * 100 >= keys * 99:
                return LagSummary(keys, min(bound, worst), worst)
        return LagSummary(0, 0.0, 0.0)
