"""Token buckets and counts of connections in memory."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from evanesce.errors import StoreUnavailable
from evanesce.store.memory.server import MemoryServer


class MemoryRateLimits:
    """The `RateLimits` of the server with the name `server_name`."""

    def __init__(self, server: MemoryServer, server_name: str) -> None:
        self._server = server
        self._server_name = server_name

    async def take_tokens(self, bucket: str, wanted: int, rate: float, burst: int) -> tuple[int, float]:
        """See `RateLimits.take_tokens`."""

        def act() -> tuple[int, float]:
            buckets, now = self._server.buckets, self._server.elapsed()
            full_at = max(now, buckets.get(bucket, now))
            taken = min(wanted, math.floor(burst - (full_at - now) * rate + 1e-6))
            if taken < 1:
                return 0, full_at - now - (burst - 1) / rate
            buckets[bucket] = full_at + taken / rate
            return taken, 0.0

        return await self._server.ask(act)

    async def connect(self, user_id: str, here: int, most: int) -> bool:
        """See `RateLimits.connect`."""

        def act() -> bool:
            known = self._server.connections.setdefault(user_id, {})
            others = sum(count for name, count in known.items() if name != self._server_name and self._is_alive(name))
            if others + here > most:
                return False
            known[self._server_name] = here
            return True

        try:
            return await self._server.ask(act)
        except StoreUnavailable:
            self.disconnect(user_id, here)
            raise

    def disconnect(self, user_id: str, here: int) -> None:
        """See `RateLimits.disconnect`."""

        def act() -> None:
            self._server.connections.setdefault(user_id, {})[self._server_name] = here

        if self._server.up:
            act()
        else:
            self._server.postponed.append(act)

    async def connected(self, user_ids: Sequence[str]) -> Collection[str]:
        """See `RateLimits.connected`."""

        def act() -> Collection[str]:
            return {
                user_id
                for user_id in user_ids
                for server, count in self._server.connections.get(user_id, {}).items()
                if count and self._is_alive(server)
            }

        return await self._server.ask(act)

    def _is_alive(self, server: str) -> bool:
        return self._server.expiries.get(server, -math.inf) > self._server.elapsed()
