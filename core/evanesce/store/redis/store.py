"""Opens the message store on Redis."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import trio

from evanesce.config.model import RedisTable
from evanesce.errors import StoreUnavailable
from evanesce.store import Store
from evanesce.store.background import background
from evanesce.store.embedded import embedded_valkey
from evanesce.store.lag import ExpiryLag
from evanesce.store.redis.client import Client
from evanesce.store.redis.clock import SharedClock
from evanesce.store.redis.cluster_client import ClusterClient
from evanesce.store.redis.cluster_subscriber import ClusterSubscriber
from evanesce.store.redis.connection import Address, cluster_address
from evanesce.store.redis.control_bus import RedisControlBus
from evanesce.store.redis.eraser import Erasers
from evanesce.store.redis.events import RedisRoomEvents
from evanesce.store.redis.expiring import TrackingClient
from evanesce.store.redis.health import RedisHealth
from evanesce.store.redis.heartbeat import HEARTBEAT_SECONDS
from evanesce.store.redis.homes import Home, Homes
from evanesce.store.redis.key_sharing import SharedKeys, share_keys
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.memory_watch import watch_memory
from evanesce.store.redis.message_log import RedisMessageLog
from evanesce.store.redis.node_client import NodeClient
from evanesce.store.redis.one_time_values import RedisOneTimeValues
from evanesce.store.redis.presence import RedisPresence
from evanesce.store.redis.rate_limits import RedisRateLimits
from evanesce.store.redis.rules import RedisRules
from evanesce.store.redis.sentinel import SentinelAddress
from evanesce.store.redis.server_registry import RedisServerRegistry
from evanesce.store.redis.subscriber import Subscriber
from evanesce.store.statistics import StoreStatistics

logger = logging.getLogger(__name__)

STOP_SECONDS = 1.0
"""How long a server that stops may take to leave its rooms, and to hand the keys to erase over to others."""


@asynccontextmanager
async def open_redis_store(
    redis: RedisTable,
    *,
    ttl: float,
    longest_ttl: float = 86_400.0,
    server_id: str,
    lag: ExpiryLag | None = None,
    statistics: StoreStatistics | None = None,
    passing: bool = False,
    secrets: Sequence[str] = (),
) -> AsyncGenerator[Store, None]:
    """Open the message store that the configuration names, for as long as the context lasts.

    Messages live for `ttl` seconds where their room has no other TTL, and for `longest_ttl` at most. If the URL is
    `embedded`, a Valkey server is started first. It is no error if Redis does not answer yet: the store is not
    `healthy` until it does. `server_id` tells this server from others on the same Redis; a server that starts with the
    same id is taken for the successor of the one before. `lag` counts how late expired keys are erased, `statistics`
    how Redis answers. A store that is opened for a moment, by a command, is `passing`: it has no members in rooms, and
    leaves no lease behind. With `secrets`, which all servers have, content is encrypted; that needs the extra
    `encryption`. The first of them proves that notices about keys are this server's, and those of all are accepted.
    Enter the context on the main thread.
    """
    async with AsyncExitStack() as stack:
        keys, clock = Keys(redis.prefix), SharedClock()
        statistics = statistics or StoreStatistics()
        client: NodeClient | ClusterClient
        subscriber: Subscriber | ClusterSubscriber
        if redis.cluster:
            address, nodes = cluster_address(redis.url)
            client = cluster = await stack.enter_async_context(ClusterClient(address, nodes, statistics))
            await stack.enter_async_context(background(cluster.run_forever))
            subscriber = ClusterSubscriber(cluster, address, keys)
        else:
            embedded = redis.url == "embedded"
            url = await stack.enter_async_context(embedded_valkey()) if embedded else redis.url
            address = SentinelAddress(url) if "+sentinel:" in url else Address(url)
            client = node = await stack.enter_async_context(NodeClient(address, statistics))
            subscriber = Subscriber(address, keys, node)
        await stack.enter_async_context(subscriber)
        homes = Homes(client, redis.prefix, clock, server_id)
        statistics.lease_age = lambda: max(home.lease.age for home in homes)
        milliseconds, longest = round(ttl * 1000), round(max(ttl, longest_ttl) * 1000)
        erasers = Erasers(client, homes, clock, milliseconds, longest, lag or ExpiryLag())
        tracked = TrackingClient(client, erasers.note)
        replicated = redis.cluster or address.moves
        presence = RedisPresence(tracked, keys, homes, erasers.inherit, replicated=replicated)
        servers = RedisServerRegistry(client, tracked, homes)
        if isinstance(client, ClusterClient):
            client.on_change(partial(_move_rooms, client, presence))
        stack.push_async_callback(_stop, client, homes, presence, erasers, servers, passing=passing)
        for home in homes:
            subscriber.add(home.keys.ended, _EndedListener(home))
        shared_keys: SharedKeys | None = None
        if secrets:
            shared_keys = share_keys(stack, client, homes, subscriber, clock, ttl=longest, secrets=secrets)
        messages = RedisMessageLog(tracked, keys, clock, milliseconds, cipher=shared_keys)
        events = RedisRoomEvents(tracked, subscriber, keys, messages, presence, statistics.gaps)
        rate_limits = RedisRateLimits(tracked, keys, clock, homes)
        store = Store(
            messages=messages,
            events=events,
            presence=presence,
            rules=RedisRules(tracked, keys, clock, homes),
            rate_limits=rate_limits,
            servers=servers,
            control=RedisControlBus(tracked, homes, subscriber),
            one_time_values=RedisOneTimeValues(tracked, keys),
            clock=clock,
            health=RedisHealth(client, subscriber, keys, clock, erasers.reports),
        )
        await stack.enter_async_context(
            background(
                *(homes.keep, presence.run, erasers.run, events.run, rate_limits.run),
                partial(_send_heartbeats, subscriber),
                partial(watch_memory, client, statistics),
            )
        )
        if shared_keys is not None:
            await stack.enter_async_context(background(shared_keys.run))
            await shared_keys.start()
        yield store


def _move_rooms(cluster: ClusterClient, presence: RedisPresence) -> None:
    presence.topology_read(cluster.layout)


async def _send_heartbeats(subscriber: Subscriber | ClusterSubscriber) -> None:
    while True:
        await subscriber.beat()
        await trio.sleep(HEARTBEAT_SECONDS)


async def _stop(
    client: Client,
    homes: Homes,
    presence: RedisPresence,
    erasers: Erasers,
    servers: RedisServerRegistry,
    *,
    passing: bool,
) -> None:
    """Remove this server's users from all rooms, and leave the keys to erase to other servers, in `STOP_SECONDS`."""
    left = 0

    async def leave(home: Home) -> None:
        nonlocal left
        try:
            await presence.stop(home)
            leaves = await erasers.close(home)
            await home.lease.end(leaves=leaves)
            if passing:
                await client.run(("ZREM", home.keys.expiries, homes.name))
            if leaves:
                await client.run(("SPUBLISH", home.keys.ended, ""))
            left += 1
        except StoreUnavailable:
            return

    with trio.move_on_after(STOP_SECONDS) as patience:
        patience.shield = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(erasers.delete_report)
            nursery.start_soon(servers.delete_settings)
            for home in homes:
                nursery.start_soon(leave, home)
    if left < len(homes) and not passing:  # a store that is passing has no members in rooms
        logger.warning("presence of this server stays in the store until its lease expires")


class _EndedListener:
    """A listener for servers that stopped and left something in a home: it looks for expired leases at once."""

    def __init__(self, home: Home) -> None:
        self._lease = home.lease

    def subscribed(self) -> None:
        """Do nothing: leases are also checked at intervals."""

    def push(self, payloads: Sequence[bytes]) -> None:
        """Check the leases."""
        self._lease.look()

    def subscription_lost(self, outage: int) -> None:
        """Do nothing: leases are also checked at intervals."""
