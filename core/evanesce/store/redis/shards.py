"""What a Redis Cluster publishes: a `Subscriber` to each primary, and each channel with the one that has its slot."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from evanesce.store.redis.cluster import Cluster
from evanesce.store.redis.connection import Address
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.subscriber import Listener, Subscriber
from evanesce.store.redis.topology import Node, slot_of_key


@dataclass(slots=True)
class _Channel:
    """Who wants a channel, and with which primary it is now."""

    node: Node | None
    listeners: list[Listener] = field(default_factory=list[Listener])


class ClusterSubscriber:
    """All channels of a cluster. Use it as a context, from the Trio thread alone."""

    def __init__(self, cluster: Cluster, address: Address, keys: Keys) -> None:
        self._cluster = cluster
        self._address = address
        self._keys = keys
        self._channels: dict[str, _Channel] = {}
        self._subscribers: dict[Node, Subscriber] = {}
        self._lost: set[str] = set()
        """Channels that their primary gave up, or would not take, until it is known whose they are."""
        self._token = trio.lowlevel.current_trio_token()
        cluster.on_change(self._place_all)

    async def __aenter__(self) -> ClusterSubscriber:
        """Begin with the primaries that are known."""
        self._place_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        """End all threads."""
        with trio.move_on_after(1) as patience:
            patience.shield = True
            async with trio.open_nursery() as nursery:
                for subscriber in self._subscribers.values():
                    nursery.start_soon(subscriber.__aexit__)

    def add(self, channel: str, listener: Listener) -> None:
        """Tell `listener` of `channel` from now on, as `Subscriber.add`."""
        known = self._channels.setdefault(channel, _Channel(self._cluster.node_of(channel)))
        known.listeners.append(listener)
        if (subscriber := self._subscriber(known.node)) is not None:
            subscriber.add(channel, listener)

    def remove(self, channel: str, listener: Listener) -> None:
        """Tell `listener` no more."""
        known = self._channels[channel]
        known.listeners.remove(listener)
        if (subscriber := self._subscriber(known.node)) is not None:
            subscriber.remove(channel, listener)
        if not known.listeners:
            del self._channels[channel]

    def _subscriber(self, node: Node | None) -> Subscriber | None:
        return None if node is None else self._subscribers.get(node)

    def _place_all(self) -> None:
        """Take each channel to the primary that has its slot now; who listens fills the gap when it is acknowledged."""
        links = self._cluster.links
        for new in links.keys() - self._subscribers.keys():
            self._subscribers[new] = self._connected(new)
        gone = {old: self._subscribers.pop(old) for old in self._subscribers.keys() - links.keys()}
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

    def _connected(self, node: Node) -> Subscriber:
        subscriber = Subscriber(
            self._address.at(*node),
            self._keys.wake,
            lambda channel: self._cluster.post_to(node, ("PUBLISH", channel, "")),
            self._broken,
            self._given_up,
        )
        subscriber.start()
        return subscriber

    def _broken(self) -> None:
        """Have the topology read again; on the thread of a subscriber."""
        try:
            self._token.run_sync_soon(self._cluster.suspect)
        except trio.RunFinishedError:
            return  # the program is ending

    def _given_up(self, channel: str | None, slot: int | None) -> None:
        """Learn that a primary has no longer a channel, or any of a slot."""
        self._lost.update(
            name for name in self._channels if name == channel or (slot is not None and slot_of_key(name) == slot)
        )
        if self._lost:
            self._cluster.suspect()
