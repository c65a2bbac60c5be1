"""Token buckets and counts of connections in Redis, which all servers share."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import trio

from evanesce.store.redis.client import CALL_SECONDS, Client, Deadline
from evanesce.store.redis.clock import Clock
from evanesce.store.redis.homes import Home, Homes
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.lease import REMEMBER_SECONDS, retry_until_available
from evanesce.store.redis.scripts import CONNECT, TOKENS, Command

logger = logging.getLogger(__name__)

KEEP = REMEMBER_SECONDS * 1000
"""How long the counts of a user are kept after the last change: as long as servers are remembered."""

SLICE = 100
"""How many users' counts are sent in one call."""

MOST_DIRTY = 100_000
"""For how many users a count may wait to be sent. Beyond that, the oldest are dropped."""


@dataclass(slots=True)
class _Count:
    """How many connections a user has on this server, as given last.

    `pending` counts the calls that wait for an answer; `dirty`: Redis may have another number. `home` is that of the
    user's key, whose task sends the count.
    """

    here: int
    home: Home
    pending: int = 0
    dirty: bool = False


class RedisRateLimits:
    """The `RateLimits`. `run` must run beside it.

    A count that Redis may not have is *dirty*: it is sent until Redis has acknowledged it. So connections that end
    while Redis is down do not count for ever. Each home has a task of its own, so that a primary that is down delays no
    counts of another one.
    """

    def __init__(self, client: Client, keys: Keys, clock: Clock, homes: Homes) -> None:
        self._client = client
        self._keys = keys
        self._clock = clock
        self._homes = homes
        self._counts: dict[str, _Count] = {}
        """The counts that are dirty or have a pending call. Redis has all others."""
        self._dirty: dict[Home, dict[str, None]] = {home: {} for home in homes}
        """The users whose counts are dirty."""
        self._work = {home: trio.Event() for home in homes}

    async def take_tokens(self, bucket: str, wanted: int, rate: float, burst: int) -> tuple[int, float]:
        """See `RateLimits.take_tokens`."""
        command = TOKENS.call([self._keys.tokens(bucket)], wanted, f"{rate / 1000:.17g}", burst)
        [(taken, wait)] = await self._client.run(command)
        return int(taken), float(wait) / 1000

    async def connect(self, user_id: str, here: int, most: int) -> bool:
        """See `RateLimits.connect`."""
        began = trio.current_time()
        count = self._count(user_id, here)
        count.pending += 1
        answered = False
        try:
            others = await self._connect(user_id, here, most, [])
            admitted = others is None
            if others is not None:
                with Deadline(max(0.0, began + CALL_SECONDS - trio.current_time())):  # for both calls together
                    admitted = await self._without_gone(user_id, here, most, others)
            answered = True
            return admitted
        finally:
            count.pending -= 1
            if not answered:  # the outcome is not known
                self._mark_dirty(user_id, count)
            self._tidy(user_id, count)

    async def _without_gone(self, user_id: str, here: int, most: int, others: Sequence[str]) -> bool:
        """Try again without the counts of servers that are gone, if there are any."""
        expiries = await self._homes.servers()
        if expiries is None:
            return False
        now = self._clock.now()
        gone = [server for server in others if expiries.get(server, 0) <= now]
        return bool(gone) and await self._connect(user_id, here, most, gone) is None

    async def _connect(self, user_id: str, here: int, most: int, gone: Sequence[str]) -> list[str] | None:
        keys = [self._keys.connections(user_id)]
        [others] = await self._client.run(CONNECT.call(keys, self._homes.name, here, most, KEEP, *gone))
        return None if others is None else [server.decode() for server in others]

    def disconnect(self, user_id: str, here: int) -> None:
        """See `RateLimits.disconnect`."""
        self._mark_dirty(user_id, self._count(user_id, here))

    async def connected(self, user_ids: Sequence[str]) -> Collection[str]:
        """See `RateLimits.connected`."""
        with Deadline():
            return await self._connected(user_ids)

    async def _connected(self, user_ids: Sequence[str]) -> Collection[str]:
        expiries = await self._homes.servers()
        now = self._clock.now()
        found: set[str] = set()
        for start in range(0, len(user_ids), SLICE):
            users = user_ids[start : start + SLICE]
            answers = await self._client.run(*(("HKEYS", self._keys.connections(user_id)) for user_id in users))
            for user_id, servers in zip(users, answers, strict=True):
                if any(expiries is None or expiries.get(server.decode(), 0) > now for server in servers):
                    found.add(user_id)
        return found

    async def run(self) -> None:
        """Send the dirty counts, until cancelled."""
        async with trio.open_nursery() as nursery:
            for home in self._homes:
                nursery.start_soon(self._keep_reconciling, home)

    async def _keep_reconciling(self, home: Home) -> None:
        while True:
            await self._work[home].wait()
            self._work[home] = trio.Event()
            await retry_until_available(partial(self._reconcile, home))

    async def _reconcile(self, home: Home) -> None:
        dirty = self._dirty[home]
        while users := list(islice(dirty, SLICE)):
            counts = [(user_id, self._counts[user_id]) for user_id in users]
            sent = [(user_id, count, count.here) for user_id, count in counts]
            await self._client.run(*(command for user_id, _, here in sent for command in self._set(user_id, here)))
            for user_id, count, here in sent:
                if count.here == here:  # otherwise it has changed meanwhile
                    count.dirty = False
                    dirty.pop(user_id, None)
                self._tidy(user_id, count)

    def _set(self, user_id: str, here: int) -> Sequence[Command]:
        key = self._keys.connections(user_id)
        if not here:
            return [("HDEL", key, self._homes.name)]
        return [("HSET", key, self._homes.name, here), ("PEXPIRE", key, KEEP)]

    def _count(self, user_id: str, here: int) -> _Count:
        count = self._counts.get(user_id)
        if count is None:
            if len(self._counts) >= MOST_DIRTY:
                oldest = next(iter(self._counts))
                self._dirty[self._counts.pop(oldest).home].pop(oldest, None)
                logger.error("too many users disconnected while the store was down: some connections still count")
            count = self._counts[user_id] = _Count(here, self._homes.of(self._keys.connections(user_id)))
        count.here = here
        return count

    def _mark_dirty(self, user_id: str, count: _Count) -> None:
        if self._counts.get(user_id) is count:  # otherwise it was dropped, as there were too many
            count.dirty = True
            self._dirty[count.home][user_id] = None
            self._work[count.home].set()

    def _tidy(self, user_id: str, count: _Count) -> None:
        if not count.dirty and not count.pending and self._counts.get(user_id) is count:
            del self._counts[user_id]
