"""What the memory store knows of one person's use of all servers: tokens of a rate, and connections."""

from __future__ import annotations

import math
from collections.abc import Mapping


class MemoryUsage:
    """The buckets and the connections of all people."""

    def __init__(self) -> None:
        self._full_at: dict[str, float] = {}
        self._connections: dict[str, dict[str, int]] = {}

    def forget(self) -> None:
        """Lose the memory."""
        self._full_at.clear()
        self._connections.clear()

    def take_tokens(self, bucket: str, wanted: int, rate: float, burst: int, now: float) -> tuple[int, float]:
        """Take tokens out of a bucket, at a time in seconds."""
        full_at = max(now, self._full_at.get(bucket, now))
        taken = min(wanted, math.floor(burst - (full_at - now) * rate + 1e-6))
        if taken < 1:
            return 0, full_at - now - (burst - 1) / rate
        self._full_at[bucket] = full_at + taken / rate
        return taken, 0.0

    def connect(self, user_id: str, server: str, here: int, most: int, lives: Mapping[str, float], now: float) -> bool:
        """Note connections, unless there would be more than `most` on servers that live."""
        known = self._connections.setdefault(user_id, {})
        others = sum(count for name, count in known.items() if name != server and lives.get(name, -math.inf) > now)
        if others + here > most:
            return False
        known[server] = here
        return True

    def disconnect(self, user_id: str, server: str, here: int) -> None:
        """Note how many are left."""
        self._connections.get(user_id, {})[server] = here
