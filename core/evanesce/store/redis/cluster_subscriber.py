"""Subscriptions to a Redis Cluster: a `Subscriber` for each primary, and each channel at the primary of its slot."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from evanesce.store.background import Tasks
from evanesce.store.redis.cluster_client import ClusterClient
from evanesce.store.redis.connection import Address
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.node_client import NodeClient
from evanesce.store.redis.subscriber import Listener, Subscriber
from evanesce.store.redis.topology import Node, slot_of_key


@dataclass(slots=True)
class _Channel:
    """The listeners of a channel, and the primary at which it is subscribed to."""

    node: Node | None
    listeners: list[Listener] = field(default_factory=list[Listener])


class ClusterSubscriber:
    """All channels of a cluster. Use it as a context, from the Trio thread alone."""

    def __init__(self, cluster: ClusterClient, address: Address, keys: Keys) -> None:
        self._cluster = cluster
        self._address = address
        self._keys = keys
        self._channels: dict[str, _Channel] = {}
        self._subscribers: dict[Node, Subscriber] = {}
        self._lost: set[str] = set()
        """Channels that their primary has dropped or refused, until the new primary is known."""
        self._tasks = Tasks()
        self._closed = False

    async def __aenter__(self) -> ClusterSubscriber:
        """Start a subscriber for each known primary."""
        await self._tasks.__aenter__()
        self._cluster.on_change(self._place_all)
        self._place_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop all subscribers."""
        self._closed = True
        await self._tasks.__aexit__(*error)

    def add(self, channel: str, listener: Listener) -> None:
        """Add a listener to a channel; see `Subscriber.add`."""
        known = self._channels.setdefault(channel, _Channel(self._cluster.node_of(channel)))
        known.listeners.append(listener)
        if (subscriber := self._subscriber(known.node)) is not None:
            subscriber.add(channel, listener)

    def remove(self, channel: str, listener: Listener) -> None:
        """Remove a listener from a channel."""
        known = self._channels[channel]
        known.listeners.remove(listener)
        if (subscriber := self._subscriber(known.node)) is not None:
            subscriber.remove(channel, listener)
        if not known.listeners:
            del self._channels[channel]

    @property
    def up(self) -> bool:
        """Whether messages of every primary arrive here, as far as the heartbeats tell."""
        return all(subscriber.up for subscriber in self._subscribers.values())

    async def beat(self) -> None:
        """Publish a heartbeat at each primary; see `Subscriber.beat`."""
        async with trio.open_nursery() as nursery:
            for subscriber in self._subscribers.values():
                nursery.start_soon(subscriber.beat)

    def _subscriber(self, node: Node | None) -> Subscriber | None:
        return None if node is None else self._subscribers.get(node)

    def _place_all(self) -> None:
        """Move each channel to the present primary of its slot. Listeners fill the gap when they are `subscribed`."""
        if self._closed:
            return
        clients = self._cluster.clients
        for new in clients.keys() - self._subscribers.keys():
            self._subscribers[new] = self._connected(new, clients[new])
        gone = {old: self._subscribers.pop(old) for old in self._subscribers.keys() - clients.keys()}
        for channel, known in self._channels.items():
            node = self._cluster.node_of(channel)
            if node == known.node and node not in gone:
                if channel in self._lost and (subscriber := self._subscriber(node)) is not None:
                    subscriber.ask_again(channel)
                continue
            before, now = self._subscriber(known.node), self._subscriber(node)
            known.node = node
            for listener in known.listeners:
                if before is not None:
                    before.remove(channel, listener)
                if now is not None:
                    now.add(channel, listener)
        self._lost.clear()
        for subscriber in gone.values():
            subscriber.stop()

    def _connected(self, node: Node, client: NodeClient) -> Subscriber:
        subscriber = Subscriber(self._address.at(*node), self._keys, client, self._cluster.suspect, self._moved)
        self._tasks.start(subscriber.serve)
        return subscriber

    def _moved(self, channel: str | None, slot: int | None) -> None:
        """Subscribe again to a channel, or to all channels of a slot, when their new primary is known."""
        self._lost.update(
            name for name in self._channels if name == channel or (slot is not None and slot_of_key(name) == slot)
        )
        if self._lost:
            self._cluster.suspect()
