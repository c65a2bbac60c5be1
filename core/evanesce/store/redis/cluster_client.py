"""The client of a Redis Cluster: a `NodeClient` for each primary, and each command to the one that has its keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import trio
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError, TryAgainError

from evanesce.errors import StoreUnavailable
from evanesce.store.background import Tasks
from evanesce.store.redis.client import CALL_SECONDS, Deadline
from evanesce.store.redis.connection import Address, refused
from evanesce.store.redis.faults import UNKNOWN, Fault, unavailable
from evanesce.store.redis.node_client import NodeClient
from evanesce.store.redis.scripts import Command
from evanesce.store.redis.topology import Node, Topology, slot_of, slot_of_key
from evanesce.store.statistics import StoreStatistics

TELL_SECONDS = 0.5
"""How long a node may take to return the topology, before the next one is asked."""

LOOK_SECONDS = 10.0
"""How often the topology is read if there is no sign of a change."""

DOWN_LOOK_SECONDS = 0.25
"""How often the topology is read while a node does not answer, or a slot has no node."""

LEAST_SECONDS = 0.05
"""The shortest time between two readings of the topology."""

AGAIN_SECONDS = 0.02
"""After how long a command is sent again if its keys are being moved."""


class ClusterClient:
    """All primaries of a cluster. Use it as a context, from the Trio thread alone, while `run_forever` runs beside it.

    It is a `Client`. `up` is True if any primary answers: while one is down, the rooms on the others work.
    """

    def __init__(self, address: Address, seeds: Sequence[Node], statistics: StoreStatistics | None = None) -> None:
        self._address = address
        self._statistics = statistics or StoreStatistics()
        self._seeds = seeds
        self._clients: dict[Node, NodeClient] = {}
        self._topology = Topology([], seeds[0])
        self.layout = 0
        """A number that changes when any slot is on another primary than before."""
        self._fault = UNKNOWN  # why the topology could not be read
        self._suspected = trio.Event()
        self._read = trio.Event()
        self._on_connect: list[Callable[[], None]] = []
        self._changed: list[Callable[[], None]] = []
        self._tasks = Tasks()

    async def __aenter__(self) -> ClusterClient:
        """Read the topology, and wait until each client has tried to connect once, but at most 1 s."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._tasks)
            with trio.move_on_after(1):
                await self._look()
                for client in list(self._clients.values()):
                    await client.tried()
            stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop all clients."""
        for client in self._clients.values():
            client.stop()
        await self._tasks.__aexit__(*error)

    # Commands

    @property
    def up(self) -> bool:
        """Whether any primary answers."""
        return any(client.up for client in self._clients.values())

    async def run(self, *commands: Command, urgent: bool = False) -> list[Any]:
        """Run each command on the primary that has its keys; those for one primary in one round trip, in order.

        The call ends within `CALL_SECONDS`, including redirections.
        """
        with Deadline():
            answers = await self._run(commands, urgent)
        if (refusal := refused(answers)) is not None:
            raise self._refused(refusal)
        return answers

    def _refused(self, refusal: RedisError) -> StoreUnavailable:
        if isinstance(refusal, ClusterDownError):
            self.suspect()
        return unavailable(refusal)

    async def _run(self, commands: Sequence[Command], urgent: bool) -> list[Any]:
        answers: list[Any] = [None] * len(commands)
        places = list(range(len(commands)))
        while places:
            again: list[int] = []
            for node, there in self._by_node(commands, places).items():
                given = await self._exchange(node, [commands[place] for place in there], urgent)
                for place, answer in zip(there, given, strict=True):
                    answers[place] = answer
                    if isinstance(answer, AskError | TryAgainError):  # it did not run
                        again.append(place)
            for place in again:
                answers[place] = await self._redirected(commands[place], answers[place], urgent)
            places = [place for place in again if isinstance(answers[place], AskError | TryAgainError)]
        return answers

    def call(self, command: Command, done: Callable[[Any], None]) -> None:
        """See `Client.call`."""
        until = trio.current_time() + CALL_SECONDS

        def answered(answer: Any) -> None:
            if isinstance(answer, StoreUnavailable):
                self.suspect()
            elif isinstance(answer, MovedError | AskError | TryAgainError):  # it did not run
                self._tasks.start(partial(self._call_again, command, done, until))
                return
            elif isinstance(answer, RedisError):
                answer = self._refused(answer)
            done(answer)

        self._client(self._topology.node(_slot_of(command))).call_raw(command, answered)

    async def _call_again(self, command: Command, done: Callable[[Any], None], until: float) -> None:
        answer: Any = StoreUnavailable()  # where this is cancelled
        try:
            with Deadline(max(0.0, until - trio.current_time())):
                [answer] = await self.run(command)
        except StoreUnavailable as error:
            answer = error
        finally:
            done(answer)

    def post(self, *commands: Command) -> None:
        """See `Client.post`."""
        for node, places in self._by_node(commands, range(len(commands))).items():
            self.post_to(node, *(commands[place] for place in places))

    def post_to(self, node: Node | None, *commands: Command) -> None:
        """Run commands at one primary without waiting for them."""
        client = None if node is None else self._clients.get(node)
        if client is not None:
            client.post(*commands)

    def on_connect(self, connected: Callable[[], None]) -> None:
        """See `Client.on_connect`. This is called for each primary."""
        self._on_connect.append(connected)
        for client in self._clients.values():
            client.on_connect(connected)

    def _by_node(self, commands: Sequence[Command], places: Iterable[int]) -> Mapping[Node | None, list[int]]:
        found: dict[Node | None, list[int]] = {}
        for place in places:
            found.setdefault(self._topology.node(_slot_of(commands[place])), []).append(place)
        return found

    def _client(self, node: Node | None) -> NodeClient:
        client = None if node is None else self._clients.get(node)
        if client is None:
            raise UNKNOWN.error() if self._clients else self._fault.error()
        return client

    async def _exchange(self, node: Node | None, commands: Sequence[Command], urgent: bool) -> list[Any]:
        client = self._client(node)
        was_up = client.up
        try:
            return await client.exchange(*commands, urgent=urgent)
        except StoreUnavailable:
            if was_up:  # otherwise the topology is read often enough
                self.suspect()
            raise

    async def _redirected(self, command: Command, answer: Exception, urgent: bool) -> Any:
        """Follow the redirection of a command. Return its answer, or an error after which it has to be sent again."""
        if isinstance(answer, MovedError):
            read = self._read
            self.suspect()
            await read.wait()
        elif isinstance(answer, AskError):  # the slot is being moved, and the key is there already, or new
            told: Any = answer  # the driver has no complete types
            node = Node(told.host, told.port)
            await (self._clients.get(node) or self._open(node)).tried()
            return (await self._exchange(node, [("ASKING",), command], urgent))[1]
        else:
            await trio.sleep(AGAIN_SECONDS)
        return answer

    # Topology

    @property
    def addresses(self) -> Mapping[Node, Address]:
        """The addresses of the primaries; before any is known, those of the configured nodes."""
        return {node: self._address.at(*node) for node in self._clients or self._seeds}

    @property
    def clients(self) -> Mapping[Node, NodeClient]:
        """The client of each primary."""
        return self._clients

    @property
    def primaries(self) -> Set[Node]:
        """The primaries that have slots and a client."""
        return self._topology.nodes & self._clients.keys()

    @property
    def uncovered(self) -> int:
        """The number of slots without a primary."""
        return self._topology.uncovered

    def node_of(self, key: str) -> Node | None:
        """Return the primary of a key, or of a sharded channel."""
        return self._topology.node(slot_of_key(key))

    def node_at(self, slot: int) -> Node | None:
        """Return the primary of a slot."""
        return self._topology.node(slot)

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call `changed` on the Trio thread each time the topology was read."""
        self._changed.append(changed)

    def suspect(self) -> None:
        """Request that the topology is read soon, because it may have changed."""
        self._suspected.set()

    async def run_forever(self) -> None:
        """Read the topology at intervals, and after `suspect`."""
        while True:
            self._suspected = trio.Event()
            await self._look()
            await trio.sleep(LEAST_SECONDS)
            healthy = not self.uncovered and all(client.up for client in self._clients.values())
            with trio.move_on_after(LOOK_SECONDS if healthy else DOWN_LOOK_SECONDS):
                await self._suspected.wait()

    async def _look(self) -> None:
        """Read the topology from the first node that returns it: from a known primary, or else a configured node.

        The configured nodes are asked at the same time, as many of them may be down.
        """
        for node, client in list(self._clients.items()):
            if client.up and await self._read_topology(node, client):
                return
        async with trio.open_nursery() as nursery:

            async def ask(node: Node) -> None:
                async with NodeClient(self._address.at(*node)) as client:
                    if await self._read_topology(node, client):
                        nursery.cancel_scope.cancel()

            for node in self._seeds:
                nursery.start_soon(ask, node)

    async def _read_topology(self, node: Node, client: NodeClient) -> bool:
        try:
            with trio.fail_after(TELL_SECONDS):
                [slots] = await client.run(("CLUSTER", "SLOTS"), urgent=True)
        except trio.TooSlowError:
            return False
        except StoreUnavailable as error:
            self._fault = Fault(error.message, error.advice)
            return False
        self._take(Topology(slots, node))
        return True

    def _open(self, node: Node) -> NodeClient:
        """Start a client for a node. It is stopped when the node has no slots."""
        client = self._clients[node] = NodeClient(self._address.at(*node), self._statistics)
        for connected in self._on_connect:
            client.on_connect(connected)
        self._tasks.start(client.serve)
        return client

    def _take(self, topology: Topology) -> None:
        if not topology.is_like(self._topology):
            self.layout += 1
        self._topology = topology
        for node in topology.nodes - self._clients.keys():
            self._open(node)
        for node in self._clients.keys() - topology.nodes:
            self._clients.pop(node).stop()
        read, self._read = self._read, trio.Event()
        read.set()
        for changed in self._changed:
            changed()


def _slot_of(command: Command) -> int:
    slot = slot_of(command)
    if slot is None:
        raise AssertionError("a command without keys has no node")
    return slot
