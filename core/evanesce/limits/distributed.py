"""A rate limit that all servers share: each server leases some tokens at a time from the store."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import trio

from evanesce.errors import StoreUnavailable
from evanesce.limits.token_bucket import TokenBucket
from evanesce.store.rate_limits import RateLimits

LEASED_SHARE = 4
"""The part of a burst that is leased at a time: at most a fourth. Each leased token saves a round trip."""

LEASE_SECONDS = 5.0
"""How long leased tokens are valid. No more are leased than the bucket regains in that time, so none are lost."""

ASK_SECONDS = 0.2
"""How long the store may take: the command must not wait for this on top of its own calls of the store."""

ALONE_SECONDS = 1.0
"""How long a server counts alone after the store did not answer."""


@dataclass(slots=True)
class _Lease:
    """The state of one key: its tokens end at `until`, a refusal at `none_until`, counting alone at `alone_until`."""

    tokens: int = 0
    until: float = 0.0
    none_until: float = 0.0
    alone_until: float = 0.0
    asking: trio.Event | None = None

    def over(self, now: float) -> bool:
        return self.asking is None and max(self.until, self.none_until, self.alone_until) <= now


class DistributedRateLimit:
    """A token bucket for each key on all servers together: `rate` tokens a second on average, `burst` at once.

    A server may use leased tokens some seconds later. So the average holds, and at one moment each server may take a
    fourth of a burst more. While the store does not answer, each server counts alone: commands that need the store are
    refused then anyhow. At most `most_keys` are remembered.
    """

    def __init__(
        self,
        name: str,
        rate: float,
        burst: int,
        shared: RateLimits,
        clock: Callable[[], float],
        *,
        most_keys: int = 100_000,
    ) -> None:
        self._name = name
        self._rate = rate
        self._burst = burst
        self._shared = shared
        self._clock = clock
        self._most_keys = most_keys
        self._alone = TokenBucket(rate, burst, clock, most_keys=most_keys)
        self._leases: OrderedDict[str, _Lease] = OrderedDict()  # a `dict` finds its first key slowly

    async def take(self, key: str) -> float:
        """Take a token: return 0, or, where there is none, in how many seconds there is one: nothing is taken.

        While there are leased tokens it returns at once, without a checkpoint.
        """
        while not self.take_leased(key):
            now = self._clock()
            lease = self._leases.get(key) or self._new(key, now)
            if now < lease.alone_until:
                return self._alone.take(key)
            if (wait := lease.none_until - now) > 1e-9:  # rounding must not refuse a client that waited exactly as long
                return wait
            if lease.asking is None:
                await self._ask(key, lease)
            else:
                await lease.asking.wait()
        return 0.0

    def take_leased(self, key: str) -> bool:
        """Take a token that this server has leased; return whether there was one."""
        lease = self._leases.get(key)
        if lease is None or not lease.tokens or self._clock() >= lease.until:
            return False
        lease.tokens -= 1
        return True

    async def _ask(self, key: str, lease: _Lease) -> None:
        lease.asking = asking = trio.Event()
        wanted = max(1, min(self._burst // LEASED_SHARE, int(self._rate * LEASE_SECONDS)))
        asked_at = self._clock()
        try:
            with trio.fail_after(ASK_SECONDS):
                lease.tokens, wait = await self._shared.take_tokens(
                    f"{self._name}:{key}", wanted, self._rate, self._burst
                )
            lease.until = asked_at + LEASE_SECONDS
            lease.none_until = self._clock() + wait
        except (trio.TooSlowError, StoreUnavailable):
            lease.alone_until = self._clock() + ALONE_SECONDS
        finally:
            lease.asking = None
            asking.set()

    def _new(self, key: str, now: float) -> _Lease:
        if len(self._leases) >= self._most_keys:
            self._leases = OrderedDict((key, lease) for key, lease in self._leases.items() if not lease.over(now))
        while len(self._leases) >= self._most_keys:
            self._leases.popitem(last=False)
        lease = self._leases[key] = _Lease()
        return lease
