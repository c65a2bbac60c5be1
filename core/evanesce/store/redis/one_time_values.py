"""Values that are read once: a key with a TTL for each."""

from __future__ import annotations

from evanesce.store.redis.client import Client
from evanesce.store.redis.keys import Keys


class RedisOneTimeValues:
    """Values that any server can store, and any server can take."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        """See `OneTimeValues.put`."""
        await self._client.run(("SET", self._keys.kept(key), value, "PX", max(1, round(seconds * 1000))))

    async def take(self, key: str) -> bytes | None:
        """See `OneTimeValues.take`."""
        [value] = await self._client.run(("GETDEL", self._keys.kept(key)))
        return None if value is None else bytes(value)
