"""Where servers record data about themselves. In a cluster, each primary has the records for its own rooms.

What a server records for a room (its lease, that it has members there, the keys to erase) is on the primary of the
room. So if a primary is lost, only the records for its own rooms are lost. A *home* is the hash tag of such records. A
single Redis has one home. A cluster has a fixed number, `HOMES`, so that every server finds the records of all others,
whatever primaries there were before. The slots of the homes are spread evenly: each primary has at least one, if there
are no more than `HOMES` primaries of about the same size. The home of a room is the one nearest to its slot, if the
same primary has both, otherwise another home of that primary.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import TypeVar

import trio

from evanesce.errors import StoreUnavailable
from evanesce.store.redis.clock import Clock, LedClock, SharedClock
from evanesce.store.redis.cluster_client import ClusterClient
from evanesce.store.redis.keys import HOME, Keys
from evanesce.store.redis.lease import Lease
from evanesce.store.redis.node_client import NodeClient
from evanesce.store.redis.topology import SLOTS, Node, slot_of_key

HOMES = 32
"""How many homes a cluster has. Each server calls one script for each home every 2.5 s."""

EACH_SECONDS = 1.0
"""How long a primary may take if all are asked and the answers of more than half are enough."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Home:
    """The keys, this server's lease and the clock of one home. `slot` is its slot in a cluster."""

    keys: Keys
    clock: Clock
    lease: Lease
    slot: int


class Homes:
    """All homes. `clock` follows the clock of one of them."""

    def __init__(self, client: NodeClient | ClusterClient, prefix: str, clock: SharedClock, server_id: str) -> None:
        self._cluster = client if isinstance(client, ClusterClient) else None
        self._homes: list[Home] = []
        name: str | None = None
        for tag in _tags() if self._cluster else [HOME]:
            keys = Keys(prefix, tag)
            own = LedClock(clock) if self._cluster else clock
            lease = Lease(client, keys, own, server_id, name)
            name = lease.name
            self._homes.append(Home(keys, own, lease, slot_of_key(keys.leases)))

    def __iter__(self) -> Iterator[Home]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)

    @property
    def name(self) -> str:
        """The name of this server process, the same in all homes."""
        return self._homes[0].lease.name

    def of(self, key: str) -> Home:
        """Return the home for records about a key, by the present topology."""
        if self._cluster is None:
            return self._homes[0]
        slot = slot_of_key(key)
        nearest = self._homes[_part(slot)]
        node = self._cluster.node_at(slot)
        if node == self._cluster.node_at(nearest.slot):
            return nearest
        return next((home for home in self._homes if self._cluster.node_at(home.slot) == node), nearest)

    async def keep(self) -> None:
        """Acquire this server's lease in each home, and renew it, until cancelled."""
        async with trio.open_nursery() as nursery:
            for home in self._homes:
                nursery.start_soon(home.lease.keep)

    async def servers(self) -> dict[str, int] | None:
        """Return when the lease of each server expires, or expired: the latest time of all homes (see `Lease.servers`).

        Returns None while no more than half of the primaries know. Raises `StoreUnavailable`.
        """
        told = await self.each(lambda home: home.lease.servers())
        known = [expiries for expiries in told if expiries is not None]
        if 2 * len(known) <= len(self._one_each()):
            return None
        merged: dict[str, int] = {}
        for expiries in known:
            for name, until in expiries.items():
                merged[name] = max(until, merged.get(name, until))
        return merged

    async def each(self, act: Callable[[Home], Awaitable[T]]) -> Sequence[T]:
        """Call `act` for one home on each primary, at the same time, and return the answers that arrived.

        Raises `StoreUnavailable` if no more than half of the primaries answer within `EACH_SECONDS`. So for any two
        calls there is a primary that answered both, unless slots have moved in between.
        """
        if self._cluster is None:
            return [await act(self._homes[0])]
        answers: list[T] = []
        error = StoreUnavailable()

        async def ask(home: Home) -> None:
            nonlocal error
            try:
                answers.append(await act(home))
            except StoreUnavailable as refused:
                error = refused

        asked = self._one_each()
        with trio.move_on_after(EACH_SECONDS):
            async with trio.open_nursery() as nursery:
                for node, home in asked.items():
                    if node is not None:
                        nursery.start_soon(ask, home)
        if 2 * len(answers) <= len(asked):
            raise error
        return answers

    async def any(self, act: Callable[[Home], Awaitable[T]]) -> T:
        """Call `act` for one home after the other until one succeeds. Raises `StoreUnavailable` if none does."""
        error = StoreUnavailable()
        for home in self._one_each().values():
            try:
                return await act(home)
            except StoreUnavailable as refused:
                error = refused
        raise error

    def first_up(self) -> Home:
        """Return a home on a primary that seems to answer; any, if none does."""
        return next(iter(self._one_each().values()))

    def _one_each(self) -> dict[Node | None, Home]:
        """Return a home on each primary, those that seem to answer first; under None one that no primary has."""
        if self._cluster is None:
            return {None: self._homes[0]}
        found: dict[Node | None, Home] = {}
        for home in self._homes:
            found.setdefault(self._cluster.node_at(home.slot), home)
        up = {node for node, client in self._cluster.clients.items() if client.up}
        return dict(sorted(found.items(), key=lambda item: item[0] not in up))


def _part(slot: int) -> int:
    return slot * HOMES // SLOTS


def _tags() -> list[str]:
    """Return the hash tags of a cluster's homes: for each part of the slots the first name whose slot is in it."""
    found: dict[int, str] = {}
    names = chain([HOME], (f"{HOME}:{number}" for number in count()))
    while len(found) < HOMES:
        tag = next(names)
        found.setdefault(_part(slot_of_key(tag)), tag)
    return [found[part] for part in range(HOMES)]
