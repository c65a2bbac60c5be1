"""What one person uses on all servers together: tokens of a rate, and connections."""

from __future__ import annotations

from collections.abc import Sequence

from evanesce.store.redis.clock import Clock
from evanesce.store.redis.commands import Commands
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.lease import REMEMBER_SECONDS, Lease
from evanesce.store.redis.scripts import CONNECT, TOKENS

KEEP = REMEMBER_SECONDS * 1000
"""How long a user's connections are remembered after the last one came or went: as long as servers are."""


class Usage:
    """The buckets and the connections of all people."""

    def __init__(self, link: Commands, keys: Keys, clock: Clock, lease: Lease) -> None:
        self._link = link
        self._keys = keys
        self._clock = clock
        self._lease = lease

    async def take_tokens(self, bucket: str, wanted: int, rate: float, burst: int) -> tuple[int, float]:
        """Take tokens out of a bucket."""
        command = TOKENS.call([self._keys.tokens(bucket)], wanted, f"{rate / 1000:.17g}", burst)
        [(taken, wait)] = await self._link.run(command)
        return int(taken), float(wait) / 1000

    async def connect(self, user_id: str, here: int, most: int) -> bool:
        """Note a user's connections on this server, unless there would be more than `most` on those that live."""
        others = await self._connect(user_id, here, most, [])
        if others is None:
            return True
        lives = await self._lease.servers()
        if lives is None:
            return False
        now = self._clock.now()
        gone = [server for server in others if lives.get(server, 0) <= now]
        return bool(gone) and await self._connect(user_id, here, most, gone) is None

    async def _connect(self, user_id: str, here: int, most: int, gone: Sequence[str]) -> list[str] | None:
        keys = [self._keys.connections(user_id)]
        [others] = await self._link.run(CONNECT.call(keys, self._lease.name, here, most, KEEP, *gone))
        return None if others is None else [server.decode() for server in others]

    def disconnect(self, user_id: str, here: int) -> None:
        """Note how many connections of a user are left here."""
        key = self._keys.connections(user_id)
        if here:
            self._link.post(("HSET", key, self._lease.name, here), ("PEXPIRE", key, KEEP))
        else:
            self._link.post(("HDEL", key, self._lease.name))
