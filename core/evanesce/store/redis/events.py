"""The events of rooms: a `RoomFeed` for each follower, and what is published without being stored."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from evanesce.errors import StoreUnavailable
from evanesce.metrics import Count
from evanesce.store.events import Feed
from evanesce.store.redis.client import Client
from evanesce.store.redis.cluster_subscriber import ClusterSubscriber
from evanesce.store.redis.feed import RoomFeed
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.message_log import RedisMessageLog
from evanesce.store.redis.presence import RedisPresence
from evanesce.store.redis.subscriber import Subscriber

LOOK_SECONDS = 3600.0
"""How often the state of a quiet room is read. This also keeps it from expiring."""


class RedisRoomEvents:
    """The feeds of all rooms. `run` must run beside it. `gaps` counts the gaps that feeds fill."""

    def __init__(
        self,
        client: Client,
        subscriber: Subscriber | ClusterSubscriber,
        keys: Keys,
        messages: RedisMessageLog,
        presence: RedisPresence,
        gaps: Count,
    ) -> None:
        self._client = client
        self._subscriber = subscriber
        self._keys = keys
        self._messages = messages
        self._presence = presence
        self._gaps = gaps
        self._feeds: set[RoomFeed] = set()

    @asynccontextmanager
    async def follow(self, room_id: str, roster: int) -> AsyncGenerator[Feed, None]:
        """See `RoomEvents.follow`."""
        if not self._client.up:
            raise StoreUnavailable()
        feed = RoomFeed(room_id, roster, self._messages, self._presence, self._gaps)
        channel = self._keys.events(room_id)
        self._subscriber.add(channel, feed)
        self._feeds.add(feed)
        try:
            await feed.start()
            yield feed
        finally:
            self._feeds.discard(feed)
            self._subscriber.remove(channel, feed)
            feed.deliver_to(None)  # it may have been told of messages that are being handed over

    async def typing(self, room_id: str, user_id: str) -> None:
        """See `RoomEvents.typing`."""
        await self._client.run(("SPUBLISH", self._keys.events(room_id), f"-\nt {user_id}"))

    async def run(self) -> None:
        """Read the state of each quiet room at intervals. One task for all rooms costs less than one for each."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            for feed in self._feeds:
                feed.look()
