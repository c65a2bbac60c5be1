"""When to access which key: keys that are due soon are in memory, later ones only in the register."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

HORIZON = 120_000
"""How far ahead keys are held in memory, in milliseconds."""

SCHEDULED = 100_000
"""How many keys are held in memory. Further keys wait in the register until there is room."""

REMEMBERED = 100_000
"""For how many later keys it is remembered that the register has them. Others are written to it again."""


class Schedule:
    """Keys by the time at which to access them (`look`), in milliseconds of the store's clock, as all times here.

    Every key of the register that is due before `horizon` is also in memory. `earlier` is called when a key is due
    before all others. The schedule uses one of `share` equal parts of a server's limits.
    """

    def __init__(self, now: int, earlier: Callable[[], None], share: int = 1) -> None:
        self.horizon = now + HORIZON
        self._earlier = earlier
        self._share = share
        self._heap: list[tuple[int, int, str]] = []  # when to access it, its end, the key
        self._loaded: dict[str, int] = {}  # the end of each key in the heap; entries there with another end are void
        self._later: OrderedDict[str, int] = OrderedDict()  # a `dict` finds its first key slowly
        self._unconfirmed: dict[str, None] = {}  # keys of `_later` that the register may not have

    def __contains__(self, key: str) -> bool:
        return key in self._loaded or key in self._later

    @property
    def has_room(self) -> bool:
        """Whether there is room to load keys from the register."""
        return len(self._loaded) < SCHEDULED // self._share // 2

    def ends_by(self, key: str, end: int) -> bool:
        """Return whether a key is known to end at `end` or before."""
        known = self._loaded.get(key)
        if known is None:
            known = self._later.get(key)
        return known is not None and known <= end

    def is_held_until(self, key: str, end: int) -> bool:
        """Return whether a key is in memory, to be accessed for an end at `end` or before."""
        return self._loaded.get(key, end + 1) <= end

    def is_later(self, end: int, now: int) -> bool:
        """Return whether a key with this end needs to be in the register only."""
        return end > max(self.horizon, now + HORIZON // 2)

    def add(self, key: str, end: int, now: int, look: int) -> bool:
        """Add a key that is in the register. Return whether it is held in memory, to be accessed at `look`."""
        soon = not self.is_later(end, now)
        if soon and len(self._loaded) < SCHEDULED // self._share:
            self.push(key, end, look)
            return True
        if soon:
            self.horizon = min(self.horizon, end - 1)
        if len(self._later) >= REMEMBERED // self._share:
            self._forget_later(next(iter(self._later)))
        self._later[key] = end
        self._unconfirmed[key] = None
        return False

    def push(self, key: str, end: int, look: int) -> None:
        """Hold a key in memory, to be accessed at `look`, whatever the limit."""
        self._forget_later(key)
        self._loaded[key] = end
        heapq.heappush(self._heap, (look, end, key))
        if self._heap[0][2] is key:
            self._earlier()

    def pop(self, now: int, most: int) -> Iterator[tuple[str, int]]:
        """Remove and yield up to `most` keys that are due now, with their ends."""
        while most and self._heap and self._heap[0][0] <= now:
            _, end, key = heapq.heappop(self._heap)
            if self._loaded.get(key) == end:
                del self._loaded[key]
                most -= 1
                yield key, end

    def next_look(self) -> int | None:
        """Return when the next key is due; None if there is none in memory."""
        return self._heap[0][0] if self._heap else None

    def mark_later_unconfirmed(self) -> None:
        """Record that the register may have lost all later keys."""
        self._unconfirmed = dict.fromkeys(self._later)

    def unconfirmed(self, most: int) -> list[tuple[str, int]]:
        """Return up to `most` later keys that the register may not have, with their ends."""
        return [(key, self._later[key]) for key in islice(self._unconfirmed, most)]

    def confirm(self, keys: Iterable[tuple[str, int]]) -> None:
        """Record that the register has later keys, with these ends."""
        for key, end in keys:
            if self._later.get(key) == end:
                self._unconfirmed.pop(key, None)

    def _forget_later(self, key: str) -> None:
        if self._later.pop(key, None) is not None:
            self._unconfirmed.pop(key, None)

    def known(self) -> list[str]:
        """Return all keys in memory, and all remembered later ones."""
        return [*self._loaded, *self._later]

    def held(self) -> Iterable[tuple[str, int]]:
        """Return all keys in memory, with their ends."""
        return list(self._loaded.items())
