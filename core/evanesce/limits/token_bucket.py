"""Rate limits in the memory of one process: token buckets by key, and times to retry."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable


class TokenBucket:
    """A token bucket for each key: `rate` tokens a second on average, and up to `burst` at once.

    `clock` returns seconds that never go back. At most `most_keys` are remembered. Past that the key that was not used
    for the longest time is forgotten, whose bucket is most likely full again. The cost does not depend on the number
    of keys.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float], *, most_keys: int = 100_000) -> None:
        self._each = 1 / rate  # how many seconds a token takes
        self._most_full = burst / rate - self._each  # how long before it is full a bucket has a token
        self._clock = clock
        self._most_keys = most_keys
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()  # when each bucket is full again

    def take(self, key: Hashable) -> float:
        """Take a token: return 0, or, where there is none, in how many seconds there is one: nothing is taken."""
        now = self._clock()
        full_at = max(self._full_at.get(key, now), now)
        wait = full_at - now - self._most_full
        # Rounding in the sums above must not refuse the last token of a burst.
        if wait > 1e-9:
            return wait
        self._full_at[key] = full_at + self._each
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._most_keys:
            self._full_at.popitem(last=False)
        return 0.0


class RetryTimes:
    """Times to retry for refused requests: each request of a key gets a time of its own, `rate` of them in a second.

    With the same time for all, all but one would be refused again at that time. No wait is extended beyond
    `most_seconds`. At most `most_keys` are remembered, as in `TokenBucket`.
    """

    def __init__(
        self, rate: float, most_seconds: float, clock: Callable[[], float], *, most_keys: int = 100_000
    ) -> None:
        self._rate = rate
        self._most_seconds = most_seconds
        self._clock = clock
        self._most_keys = most_keys
        self._given: OrderedDict[Hashable, float] = OrderedDict()  # the latest time that each key was given

    def after(self, key: Hashable, wait: float) -> float:
        """Return in how many seconds to retry; `wait` is in how many the bucket accepts the next request."""
        now = self._clock()
        retry_at = max(now + wait, self._given.get(key, -math.inf) + 1 / self._rate)
        if retry_at - now > max(wait, self._most_seconds):
            return max(wait, self._most_seconds)
        self._given[key] = retry_at
        self._given.move_to_end(key)
        if len(self._given) > self._most_keys:
            self._given.popitem(last=False)
        return retry_at - now
