"""A bound on the lines of one kind: clients may cause any number of records, and the log takes only so many of them.

Records are of one kind if the same call in the code made them: same logger, level and text before its arguments.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

WINDOW_SECONDS = 60.0
"""How long the lines of one kind are counted together."""

MOST_LINES = 10
"""How many lines of one kind are written in that time. The others are counted, and summed up in one line."""

MOST_KINDS = 1_000
"""How many kinds are counted at once. Those beyond count as one kind together: texts that a plugin puts together."""

_OTHERS = "the kinds beyond MOST_KINDS"

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Sum(Generic[R]):
    """How many records of one kind were left out in how many seconds, and the first of them."""

    first: R
    count: int
    seconds: float


@dataclass(slots=True)
class _Kind(Generic[R]):
    since: float
    written: int = 0
    left_out: int = 0
    first: R | None = None


class Repeats(Generic[R]):
    """Decides which records are written. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._kinds: dict[Hashable, _Kind[R]] = {}
        self._summed_at: float | None = None

    @property
    def summed_at(self) -> float | None:
        """When `sums` has something to return; None while no record is left out."""
        return self._summed_at

    def takes(self, key: Hashable, now: float) -> bool:
        """Return whether a record of the kind `key` is written. Otherwise it has to be passed to `leave_out`."""
        kind = self._kind(key, now)
        if kind.written >= MOST_LINES:
            return False
        kind.written += 1
        return True

    def leave_out(self, key: Hashable, now: float) -> bool:
        """Count a record that is not written, and return whether `keep` has to be called with it: none is kept yet."""
        kind = self._kind(key, now)
        kind.left_out += 1
        return kind.first is None

    def keep(self, key: Hashable, record: R, now: float) -> None:
        """Keep the first record that was left out, for the sum."""
        kind = self._kind(key, now)
        kind.first = record
        at = kind.since + WINDOW_SECONDS
        self._summed_at = at if self._summed_at is None else min(self._summed_at, at)

    def sums(self, now: float, *, every: bool = False) -> list[Sum[R]]:
        """Return the sums of the kinds whose time is over, of all kinds with `every`, and count these anew."""
        if self._summed_at is None or not (every or now >= self._summed_at):
            return []
        found: list[Sum[R]] = []
        for key, kind in list(self._kinds.items()):
            if kind.first is not None and (every or now - kind.since >= WINDOW_SECONDS):
                del self._kinds[key]
                found.append(Sum(kind.first, kind.left_out, now - kind.since))
        waiting = (kind.since + WINDOW_SECONDS for kind in self._kinds.values() if kind.first is not None)
        self._summed_at = min(waiting, default=None)
        return found

    def _kind(self, key: Hashable, now: float) -> _Kind[R]:
        kind = self._kinds.get(key)
        if kind is None and len(self._kinds) >= MOST_KINDS:
            self._forget(now)
            if len(self._kinds) >= MOST_KINDS:
                key = _OTHERS
                kind = self._kinds.get(key)
        if kind is None or (kind.first is None and now - kind.since >= WINDOW_SECONDS):
            kind = self._kinds[key] = _Kind(now)
        return kind

    def _forget(self, now: float) -> None:
        """Forget the kinds whose time is over and of which nothing is to be summed up."""
        self._kinds = {
            key: kind
            for key, kind in self._kinds.items()
            if kind.first is not None or now - kind.since < WINDOW_SECONDS
        }
