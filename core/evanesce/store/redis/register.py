"""The keys that a server has to erase, recorded in Redis for the servers that take over if it dies.

The register is a sorted set under the name of the server's lease: keys by the time at which to access them, in
milliseconds. It has one more member from the start, whose score is infinite, or the time at which the server stopped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from evanesce.store.redis.client import Client
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.lease import LEASE_SECONDS, REMEMBER_SECONDS, Lease

PAGE = 500
"""How many keys are read or written in one command."""

_OWN = b"-"


class Page(NamedTuple):
    """Some keys of a server that is gone. `since` is the earliest time at which it may have died."""

    keys: Sequence[tuple[str, int]]
    since: int


class Register:
    """The register of this server, and those of dead servers. All coroutine methods raise `StoreUnavailable`."""

    def __init__(self, client: Client, keys: Keys, lease: Lease) -> None:
        self._client = client
        self._keys = keys
        self._lease = lease

    @property
    def _name(self) -> str:
        return self._keys.erase(self._lease.holder)

    async def renew(self) -> None:
        """Ensure that the set exists, and that it is kept for as long as servers are remembered."""
        await self._client.run(("ZADD", self._name, "inf", _OWN), ("PEXPIRE", self._name, REMEMBER_SECONDS * 1000))

    def add(self, key: str, at: int) -> None:
        """Record a key, unless it is recorded for an earlier time. On one node, this runs before all later commands."""
        self._client.post(("ZADD", self._name, "LT", at, key))

    def move(self, key: str, at: int) -> None:
        """Record a later time for a key."""
        self._client.post(("ZADD", self._name, at, key))

    async def add_all(self, keys: Iterable[tuple[str, int]]) -> None:
        """Record many keys, each unless it is recorded for an earlier time."""
        pairs = list(keys)
        for start in range(0, len(pairs), PAGE):
            page = pairs[start : start + PAGE]
            await self._client.run(("ZADD", self._name, "LT", *(part for key, at in page for part in (at, key))))

    def remove(self, keys: Sequence[str]) -> None:
        """Remove keys that are gone."""
        self._client.post(("ZREM", self._name, *keys))

    async def between(self, first: int, last: int) -> Sequence[tuple[str, int]]:
        """Return up to `PAGE` keys that are due between two times, the earliest first."""
        [flat] = await self._client.run(("ZRANGEBYSCORE", self._name, first, last, "WITHSCORES", "LIMIT", 0, PAGE))
        return _pairs(flat)

    async def left_by(self, holder: str) -> Page:
        """Return some keys that a dead server has left, the earliest first; none if none are left."""
        name = self._keys.erase(holder)
        flat, own, lease = await self._client.run(
            ("ZRANGE", name, 0, PAGE, "WITHSCORES"),
            ("ZSCORE", name, _OWN),
            ("ZSCORE", self._keys.leases, holder),
        )
        ended = float(own) if own is not None else math.inf
        if ended == math.inf:  # it was killed after the last renewal of its lease
            ended = float(lease) - LEASE_SECONDS * 1000 if lease is not None else 0
        return Page(_pairs(flat), int(ended))

    async def strike_out(self, holder: str, keys: Sequence[str]) -> None:
        """Remove keys of a dead server that this one has recorded for itself."""
        await self._client.run(("ZREM", self._keys.erase(holder), *keys))

    async def drop(self, holder: str) -> None:
        """Erase the set of a server that has left no more keys."""
        await self._client.run(("UNLINK", self._keys.erase(holder)))

    async def close(self, now: int) -> bool:
        """Leave the set to other servers, or erase it if it is empty. Return whether it is left."""
        [first] = await self._client.run(("ZRANGE", self._name, 0, 1))
        if len(first) < 2:
            await self.drop(self._lease.holder)
            return False
        await self._client.run(("ZADD", self._name, now, _OWN))
        return True


def _pairs(flat: Sequence[bytes]) -> list[tuple[str, int]]:
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return [(key.decode(), int(float(at))) for key, at in pairs if key != _OWN]
