"""How often somebody may do something: token buckets by key, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable


class RateLimit:
    """Lets each key do `rate` things a second on the long run, and up to `burst` at once.

    `clock` gives seconds that never go back. At most `most_keys` are remembered: past that, those whose bucket has
    filled up again are forgotten (it makes no difference to them), and failing that the oldest.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float], *, most_keys: int = 100_000) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._most_keys = most_keys
        self._full_at: dict[Hashable, float] = {}  # when each key's bucket will have filled up again

    def take(self, key: Hashable) -> float:
        """Count one thing done by `key`: 0 where it may, else after how many seconds it may (nothing is counted)."""
        now = self._clock()
        full_at = max(self._full_at.get(key, now), now)
        wait = full_at + 1 / self._rate - (now + self._burst / self._rate)
        # Rounding in the sums above must not refuse the last one of a burst.
        if wait > 1e-9:
            return wait
        if key not in self._full_at and len(self._full_at) >= self._most_keys:
            self._forget(now)
        self._full_at[key] = full_at + 1 / self._rate
        return 0.0

    def _forget(self, now: float) -> None:
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        while len(self._full_at) >= self._most_keys:
            del self._full_at[next(iter(self._full_at))]
