"""How often somebody may do something, over all servers: tokens are leased from the store, some at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from evanesce.errors import StoreUnavailable
from evanesce.sessions.limits import RateLimit
from evanesce.store.base import MessageStore

LEASED_SHARE = 4
"""Which part of a burst is leased at a time: the fourth. Who does one thing after the other asks for as many less."""

LEASE_SECONDS = 5.0
"""How long leased tokens serve. What is left over then has come back to the bucket by itself."""

ASK_SECONDS = 0.2
"""How long the store may take; what is asked must not wait for it on top of what the store takes for the rest."""

ALONE_SECONDS = 1.0
"""How long the store is not asked again after it did not answer."""


@dataclass(slots=True)
class _Lease:
    """What this server holds for one key: times are those at which tokens, a refusal or being alone end."""

    tokens: int = 0
    until: float = 0.0
    none_until: float = 0.0
    alone_until: float = 0.0
    asking: trio.Event | None = None

    def over(self, now: float) -> bool:
        return self.asking is None and max(self.until, self.none_until, self.alone_until) <= now


class SharedLimit:
    """Lets each key do `rate` things a second on the long run, and up to `burst` at once, over all servers together.

    A server may spend what it leased some seconds later: so on the long run it is as said, and in a moment a fourth of
    a burst more for each server at most. While the store does not answer each server counts for itself: what the store
    has to do with is refused then anyway. At most `most_keys` are remembered.
    """

    def __init__(
        self,
        name: str,
        rate: float,
        burst: int,
        store: MessageStore,
        clock: Callable[[], float],
        *,
        most_keys: int = 100_000,
    ) -> None:
        self._name = name
        self._rate = rate
        self._burst = burst
        self._store = store
        self._clock = clock
        self._most_keys = most_keys
        self._alone = RateLimit(rate, burst, clock, most_keys=most_keys)
        self._leases: dict[str, _Lease] = {}

    async def take(self, key: str) -> float:
        """Count one thing done by `key`: 0 where it may, else after how many seconds it may (nothing is counted).

        Comes back at once, without a checkpoint, as long as there are leased tokens.
        """
        while True:
            lease = self._leases.get(key)
            now = self._clock()
            if lease is None:
                lease = self._new(key, now)
            elif lease.tokens and now < lease.until:
                lease.tokens -= 1
                return 0.0
            if now < lease.alone_until:
                return self._alone.take(key)
            if (wait := lease.none_until - now) > 1e-9:  # who waited just as long must not be refused by rounding
                return wait
            if lease.asking is None:
                await self._ask(key, lease)
            else:
                await lease.asking.wait()

    async def _ask(self, key: str, lease: _Lease) -> None:
        lease.asking = asking = trio.Event()
        wanted = max(1, self._burst // LEASED_SHARE)
        asked_at = self._clock()
        try:
            with trio.fail_after(ASK_SECONDS):
                lease.tokens, wait = await self._store.take_tokens(
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
            self._leases = {key: lease for key, lease in self._leases.items() if not lease.over(now)}
        while len(self._leases) >= self._most_keys:
            del self._leases[next(iter(self._leases))]
        lease = self._leases[key] = _Lease()
        return lease
