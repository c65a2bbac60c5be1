"""The message store on Redis: its parts put together as one `MessageStore`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType

import trio

from evanesce.config.model import RedisTable
from evanesce.errors import StoreUnavailable
from evanesce.model import Draft, Timestamp, timestamp
from evanesce.store.background import background
from evanesce.store.base import Conflict, Feed, Gone, History, MessageStore, Notice, Person, Presence, Stored
from evanesce.store.embedded import embedded_valkey
from evanesce.store.redis.clock import Clock
from evanesce.store.redis.cluster import Cluster
from evanesce.store.redis.connection import Address, cluster_address
from evanesce.store.redis.feed import RoomFeed
from evanesce.store.redis.inspection import inspect
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.lease import Lease
from evanesce.store.redis.link import Link
from evanesce.store.redis.log import Log
from evanesce.store.redis.notices import Notices, encode
from evanesce.store.redis.presence import PresenceKeeper
from evanesce.store.redis.sentinel import SentinelAddress
from evanesce.store.redis.shards import ClusterSubscriber
from evanesce.store.redis.subscriber import Subscriber
from evanesce.store.redis.usage import Usage

CALL_SECONDS = 2.2
"""How long a caller waits for an answer, whatever it takes: with a question before it no more than 2.5 s."""

LOOK_SECONDS = 3600.0
"""How often the state of quiet rooms is looked at, which also keeps it from being forgotten."""

FOLLOW_SECONDS = 2.0
"""How long a follower waits for the subscription."""


@asynccontextmanager
async def open_redis_store(redis: RedisTable, *, ttl: float, server_id: str) -> AsyncGenerator[MessageStore, None]:
    """Give the message store that the configuration names; messages live for `ttl` seconds.

    With the URL `embedded` a Valkey of our own is started first. A Redis that does not answer yet is no error: the
    store is not `healthy` until it does. `server_id` tells this server from others on the same Redis; whoever comes
    with the same one is taken for its successor. Enter it on the main thread.
    """
    async with AsyncExitStack() as stack:
        keys, clock = Keys(redis.prefix), Clock()
        way: Link | Cluster
        subscriber: Subscriber | ClusterSubscriber
        if redis.cluster:
            address, nodes = cluster_address(redis.url)
            way = await stack.enter_async_context(Cluster(address, nodes))
            await stack.enter_async_context(background(way.run_forever))
            subscriber = ClusterSubscriber(way, address, keys)
        else:
            embedded = redis.url == "embedded"
            url = await stack.enter_async_context(embedded_valkey()) if embedded else redis.url
            address = SentinelAddress(url) if "+sentinel:" in url else Address(url)
            link = way = await stack.enter_async_context(Link(address))
            subscriber = Subscriber(address, keys.wake, lambda channel: link.post(("PUBLISH", channel, "")), link.look)
        await stack.enter_async_context(subscriber)
        lease = Lease(way, keys, clock, server_id)
        presence = PresenceKeeper(way, keys, lease, replicated=redis.cluster or address.moves)
        stack.push_async_callback(presence.stop)
        store = _RedisStore(way, subscriber, keys, clock, lease, presence, round(ttl * 1000))
        await stack.enter_async_context(background(lease.keep, presence.run, store.look_after_rooms))
        yield store


class _Bounded:
    """Raises `StoreUnavailable` where what is in it takes too long. A generator would cost every call more."""

    __slots__ = ("_patience",)

    def __init__(self, seconds: float = CALL_SECONDS) -> None:
        self._patience = trio.move_on_after(seconds)

    def __enter__(self) -> None:
        self._patience.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patience.__exit__(kind, error, trace)
        if self._patience.cancelled_caught:
            raise StoreUnavailable()


class _RedisStore:
    """A `MessageStore`; each method does what the contract says of it."""

    def __init__(
        self,
        link: Link | Cluster,
        subscriber: Subscriber | ClusterSubscriber,
        keys: Keys,
        clock: Clock,
        lease: Lease,
        presence: PresenceKeeper,
        ttl: int,
    ) -> None:
        self._link = link
        self._subscriber = subscriber
        self._keys = keys
        self._clock = clock
        self._log = Log(link, keys, clock, ttl)
        self._presence = presence
        self._lease = lease
        self._usage = Usage(link, keys, clock, lease)
        self._notices = Notices()
        self._feeds: set[RoomFeed] = set()
        subscriber.add(keys.control, self._notices)

    @property
    def healthy(self) -> bool:
        """Whether Redis is believed to answer."""
        return self._link.up

    @property
    def server_name(self) -> str:
        """The name of this server's present life."""
        return self._lease.name

    def now(self) -> int:
        """Give Redis's time, never behind it."""
        return self._clock.now()

    async def append(self, room_id: str, drafts: Sequence[Draft]) -> Sequence[Stored | Conflict] | Gone:
        """Store messages in one call of a script."""
        with _Bounded():
            return await self._log.append(room_id, drafts)

    async def withdraw(self, room_id: str, message_id: str, sender_id: str) -> bool | Gone | None:
        """Take a message back."""
        with _Bounded():
            return await self._log.withdraw(room_id, message_id, sender_id)

    async def history(self, room_id: str, since: str | None, most: int, most_bytes: int) -> History | Gone:
        """Give a page of the live messages behind `since`."""
        with _Bounded():
            return await self._log.history(room_id, since, most, most_bytes)

    async def enter(
        self, room_id: str, people: Sequence[Person], capacity: int, roster: int
    ) -> tuple[Presence, frozenset[str]] | Gone:
        """Note that users came in on this server."""
        with _Bounded():
            return await self._presence.enter(room_id, people, capacity, roster)

    async def leave(self, room_id: str, user_ids: Sequence[str]) -> int:
        """Note that users left on this server."""
        with _Bounded():
            return await self._presence.leave(room_id, user_ids)

    async def rename(self, room_id: str, person: Person) -> None:
        """Change a user's name in a room."""
        with _Bounded():
            await self._presence.rename(room_id, person)

    async def presence(self, room_id: str, roster: int) -> Presence:
        """Say who is in a room."""
        with _Bounded():
            return await self._presence.presence(room_id, roster)

    async def counts(self, room_ids: Sequence[str]) -> list[int]:
        """Say how many are in each room."""
        with _Bounded():
            return await self._presence.counts(room_ids)

    async def writing(self, room_id: str, user_id: str) -> None:
        """Tell the followers that a user is typing."""
        with _Bounded():
            await self._link.run(("SPUBLISH", self._keys.events(room_id), f"-\nt {user_id}"))

    async def close_room(self, room_id: str, reason: str) -> None:
        """Close a room for good, and erase what it holds."""
        with _Bounded():
            await self._log.close(room_id, reason)

    @asynccontextmanager
    async def follow(self, room_id: str, roster: int) -> AsyncGenerator[Feed, None]:
        """Hear of what happens in a room from now on."""
        if not self._link.up:
            raise StoreUnavailable()
        feed = RoomFeed(room_id, roster, self._log, self._presence, self._clock)
        channel = self._keys.events(room_id)
        self._subscriber.add(channel, feed)
        self._feeds.add(feed)
        try:
            with _Bounded(FOLLOW_SECONDS):
                await feed.start()
            yield feed
        finally:
            self._feeds.discard(feed)
            self._subscriber.remove(channel, feed)

    async def look_after_rooms(self) -> None:
        """Have every quiet room looked at from time to time: one task for all, as a deadline for each costs more."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            for feed in self._feeds:
                feed.look()

    async def announce(self, notice: Notice) -> None:
        """Tell every server on this Redis."""
        with _Bounded():
            await self._link.run(("SPUBLISH", self._keys.control, encode(notice)))

    async def notices(self) -> Notice:
        """Wait for the next notice."""
        return await self._notices.next()

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        """Keep `value` for a while."""
        with _Bounded():
            await self._link.run(("SET", self._keys.kept(key), value, "PX", max(1, round(seconds * 1000))))

    async def take(self, key: str) -> bytes | None:
        """Take what was put."""
        with _Bounded():
            [value] = await self._link.run(("GETDEL", self._keys.kept(key)))
        return None if value is None else bytes(value)

    async def take_tokens(self, bucket: str, wanted: int, rate: float, burst: int) -> tuple[int, float]:
        """Take tokens out of a bucket."""
        with _Bounded():
            return await self._usage.take_tokens(bucket, wanted, rate, burst)

    async def connect(self, user_id: str, here: int, most: int) -> bool:
        """Note a user's connections on this server, where there are not too many."""
        with _Bounded():
            return await self._usage.connect(user_id, here, most)

    def disconnect(self, user_id: str, here: int) -> None:
        """Note how many connections of a user are left here."""
        self._usage.disconnect(user_id, here)

    async def servers(self) -> Mapping[str, Timestamp] | None:
        """Say until when each server lives or lived."""
        with _Bounded():
            known = await self._lease.servers()
        return None if known is None else {name: timestamp(until) for name, until in known.items()}

    async def claim(self, duty: str, seconds: float) -> bool:
        """Take on a duty, where nobody has it."""
        claim = ("SET", self._keys.duty(duty), self.server_name, "NX", "PX", max(1, round(seconds * 1000)))
        with _Bounded():
            [taken] = await self._link.run(claim)
        return taken is not None

    async def check(self) -> Sequence[str]:
        """Say how Redis is, and what in its settings would keep content."""
        with _Bounded():
            return await inspect(self._link)
