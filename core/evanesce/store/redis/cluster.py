"""The way to a Redis Cluster: a `Link` to each primary, and each command to the one that has its keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import trio
from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError

from evanesce.errors import StoreUnavailable
from evanesce.store.redis.connection import Address, refused
from evanesce.store.redis.faults import unavailable
from evanesce.store.redis.link import Link
from evanesce.store.redis.scripts import Command
from evanesce.store.redis.topology import Node, Topology, slot_of, slot_of_key

TELL_SECONDS = 0.5
"""How long a node may take to tell the topology, before the next one is asked."""

LOOK_SECONDS = 10.0
"""How often the topology is read where nothing says that it has changed."""

ANXIOUS_SECONDS = 0.25
"""How often it is read while a node does not answer."""

LEAST_SECONDS = 0.05
"""How long there is at least between two readings."""

AGAIN_SECONDS = 0.02
"""How soon a command is sent again whose keys are just being moved."""


class Cluster:
    """All primaries of a cluster. Use it as a context, from the Trio thread alone, while `run_forever` runs beside it.

    It is `Commands`. `up` is whether any primary answers: rooms are shared out over all of them, and those of the
    others go on where one is away.
    """

    def __init__(self, address: Address, seeds: Sequence[Node]) -> None:
        self._address = address
        self._seeds = seeds
        self._links: dict[Node, Link] = {}
        self._topology = Topology([], seeds[0])
        self._suspected = trio.Event()
        self._read = trio.Event()
        self._watchers: list[Callable[[], None]] = []
        self._changed: list[Callable[[], None]] = []

    async def __aenter__(self) -> Cluster:
        """Read the topology, and wait until each primary was tried once, for 1 s at most."""
        with trio.move_on_after(1):
            await self._look()
            for link in list(self._links.values()):
                await link.tried()
        return self

    async def __aexit__(self, *error: object) -> None:
        """End all threads."""
        with trio.move_on_after(1) as patience:
            patience.shield = True
            async with trio.open_nursery() as nursery:
                for link in self._links.values():
                    nursery.start_soon(link.__aexit__)

    # What asks

    @property
    def up(self) -> bool:
        """Whether any primary answers."""
        return any(link.up for link in self._links.values())

    async def run(self, *commands: Command) -> list[Any]:
        """Run commands, each at the primary that has its keys; those at one of them in one round trip, in order."""
        answers: list[Any] = [None] * len(commands)
        places = list(range(len(commands)))
        while places:
            again: list[int] = []
            for node, there in self._by_node(commands, places).items():
                given = await self._exchange(node, [commands[place] for place in there])
                for place, answer in zip(there, given, strict=True):
                    answers[place] = answer
                    if isinstance(answer, AskError | TryAgainError):  # it was not done: MovedError is one of them
                        again.append(place)
            for place in again:
                answers[place] = await self._redirected(commands[place], answers[place])
            places = [place for place in again if isinstance(answers[place], AskError | TryAgainError)]
        if (refusal := refused(answers)) is not None:
            if isinstance(refusal, ClusterDownError):
                self.suspect()
            raise unavailable(refusal)
        return answers

    def post(self, *commands: Command) -> None:
        """Run commands without waiting for them, as far as their primaries answer."""
        for node, places in self._by_node(commands, range(len(commands))).items():
            self.post_to(node, *(commands[place] for place in places))

    def post_to(self, node: Node | None, *commands: Command) -> None:
        """Run commands at one primary without waiting for them."""
        link = None if node is None else self._links.get(node)
        if link is not None:
            link.post(*commands)

    def watch(self, connected: Callable[[], None]) -> None:
        """Call `connected` on the Trio thread whenever there is a new connection to any primary."""
        self._watchers.append(connected)
        for link in self._links.values():
            link.watch(connected)

    def _by_node(self, commands: Sequence[Command], places: Iterable[int]) -> Mapping[Node | None, list[int]]:
        found: dict[Node | None, list[int]] = {}
        for place in places:
            slot = slot_of(commands[place])
            if slot is None:
                raise AssertionError("a command without keys is for one node")
            found.setdefault(self._topology.node(slot), []).append(place)
        return found

    async def _exchange(self, node: Node | None, commands: Sequence[Command]) -> list[Any]:
        link = None if node is None else self._links.get(node)
        try:
            if link is None:
                raise StoreUnavailable()
            return await link.exchange(*commands)
        except StoreUnavailable:
            self.suspect()
            raise

    async def _redirected(self, command: Command, answer: Exception) -> Any:
        """Do what a node said instead of doing a command: gives the answer, or what is to be tried again."""
        if isinstance(answer, MovedError):
            read = self._read
            self.suspect()
            await read.wait()
        elif isinstance(answer, AskError):  # its slot is being moved, and this key is on the other side, or new
            told: Any = answer  # half typed
            node = Node(told.host, told.port)
            await (self._links.get(node) or self._open(node)).tried()
            return (await self._exchange(node, [("ASKING",), command]))[1]
        else:
            await trio.sleep(AGAIN_SECONDS)
        return answer

    # Who is where

    @property
    def links(self) -> Mapping[Node, Link]:
        """The way to each primary."""
        return self._links

    @property
    def uncovered(self) -> int:
        """How many slots no primary has."""
        return self._topology.uncovered

    def node_of(self, key: str) -> Node | None:
        """Give the primary of a key, or of a sharded channel."""
        return self._topology.node(slot_of_key(key))

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call `changed` on the Trio thread whenever the topology was read again."""
        self._changed.append(changed)

    def suspect(self) -> None:
        """Have the topology read again soon: somebody has reason to doubt it."""
        self._suspected.set()

    async def run_forever(self) -> None:
        """Read the topology from time to time, and when it is doubted."""
        while True:
            self._suspected = trio.Event()
            await self._look()
            await trio.sleep(LEAST_SECONDS)
            calm = bool(self._links) and all(link.up for link in self._links.values())
            with trio.move_on_after(LOOK_SECONDS if calm else ANXIOUS_SECONDS):
                await self._suspected.wait()

    async def _look(self) -> None:
        """Read the topology from whoever tells it: the primaries that are known first, then the configured nodes."""
        for node, link in list(self._links.items()):
            if link.up and await self._told(node, link):
                return
        for node in self._seeds:
            async with Link(self._address.at(*node)) as link:
                if await self._told(node, link):
                    return

    async def _told(self, node: Node, link: Link) -> bool:
        try:
            with trio.fail_after(TELL_SECONDS):
                [told] = await link.run(("CLUSTER", "SLOTS"))
        except (StoreUnavailable, trio.TooSlowError):
            return False
        self._take(Topology(told, node))
        return True

    def _open(self, node: Node) -> Link:
        """Have a way to a node, until it is found to have no slots."""
        link = self._links[node] = Link(self._address.at(*node))
        for connected in self._watchers:
            link.watch(connected)
        link.start()
        return link

    def _take(self, topology: Topology) -> None:
        self._topology = topology
        for node in topology.nodes - self._links.keys():
            self._open(node)
        for node in self._links.keys() - topology.nodes:
            self._links.pop(node).stop()
        read, self._read = self._read, trio.Event()
        read.set()
        for changed in self._changed:
            changed()
