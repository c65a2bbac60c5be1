"""Two servers on one store, all in memory and in a thread with a clock that only moves when it is told to.

A Hypothesis state machine is synchronous, and Trio is not: the machine calls `World.do`, which runs one step in Trio's
thread and returns when it is done. Between steps nothing runs and no time passes.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import Literal, TypeVar

import outcome
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.config.model import LimitsTable, MessagesTable, RoomsTable, ServerTable
from evanesce.store.memory import memory_store
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import TestServer, memory_server
from tests.promises.client import PromiseClient
from tests.promises.ledger import Ledger

T = TypeVar("T")

NAMES = ("north", "south")
TTL = 10.0
SHORTEST_TTL = 2.0
HISTORY = 4
CAPACITY = 3
ROOMS_PER_CONNECTION = 2
CONTENT_BYTES = 64
OUTBOX_BYTES = 524_288

WAIT_SECONDS = 30.0
"""The most virtual time that a step may take."""

JOIN_SECONDS = 60.0
"""The most real time that the thread may take to end."""

_LIMITS = LimitsTable(
    messages_per_second=100_000,
    burst=100_000,
    commands_per_second=100_000,
    joins_per_second=100_000,
    members_per_second=100_000,
    renames_per_minute=100_000,
    rooms_per_hour=100_000,
    sign_ins_per_minute=100_000,
    rooms_per_connection=ROOMS_PER_CONNECTION,
    outbox_bytes=OUTBOX_BYTES,
)


class _Host:
    """One server at a time under one name, until it is told to stop."""

    def __init__(self, server: TestServer) -> None:
        self.server = server
        self.stop = trio.Event()
        self.stopped = trio.Event()
        self.drains = True


class World:
    """The servers, their clients, and the promises that were broken. All but `do` and `end` runs in Trio's thread."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.clients: list[PromiseClient] = []
        self._names = 0
        self._clock = MockClock()
        self._began: SimpleQueue[trio.lowlevel.TrioToken] = SimpleQueue()
        self._ended: outcome.Outcome[None] | None = None
        self._thread = threading.Thread(target=self._run, name="world")
        self._thread.start()
        self._token = self._began.get()
        self.do(self._begin)

    # From the thread of the machine

    def do(self, step: Callable[[], Awaitable[T]]) -> T:
        """Run one step."""
        return trio.from_thread.run(step, trio_token=self._token)

    def end(self) -> None:
        """End the servers, and the thread. Raises where a task is left."""
        try:
            self.do(self._end)
        finally:
            self._token.run_sync_soon(self._over.set)
            self._thread.join(JOIN_SECONDS)
        assert not self._thread.is_alive()
        assert self._ended is not None
        self._ended.unwrap()

    def _run(self) -> None:
        self._ended = outcome.capture(trio.run, self._main, clock=self._clock)

    async def _main(self) -> None:
        self._over = trio.Event()
        self.ledger = Ledger(TTL)
        self.repository = MemoryRepository()
        self._hosts: dict[str, _Host] = {}
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._tasks = trio.lowlevel.current_statistics().tasks_living
            self._began.put(trio.lowlevel.current_trio_token())
            await self._over.wait()
            nursery.cancel_scope.cancel()

    # Servers

    async def _begin(self) -> None:
        for name in NAMES:
            await self._nursery.start(self._host, name)
        self._idle_tasks = self._tasks + 1  # of the step itself

    async def _host(self, name: str, *, task_status: trio.TaskStatus[None]) -> None:
        store = memory_store(ttl=TTL, server_id=name, server=self.ledger)
        async with memory_server(
            store=store,
            repository=self.repository,
            server=ServerTable(secret="a secret for tests, of 32 characters"),
            messages=MessagesTable(ttl=TTL, shortest_ttl=SHORTEST_TTL, history=HISTORY, content_bytes=CONTENT_BYTES),
            rooms=RoomsTable(capacity=CAPACITY),
            limits=_LIMITS,
        ) as server:
            host = self._hosts[name] = _Host(server)
            task_status.started()
            await host.stop.wait()
            if host.drains:
                await server.gateway.drain(restarting=True)
        store.stop()
        host.stopped.set()

    async def restart(self, name: str, *, drains: bool) -> None:
        """Stop a server, with or without closing its connections first, and start it again."""
        await self._stop(name, drains=drains)
        await self._nursery.start(self._host, name)
        await self.settle()

    async def _stop(self, name: str, *, drains: bool) -> None:
        host = self._hosts[name]
        host.drains = drains
        host.stop.set()
        await self.until(host.stopped.is_set)

    async def _end(self) -> None:
        for name in NAMES:
            await self._stop(name, drains=True)
        await wait_all_tasks_blocked()
        left = trio.lowlevel.current_statistics().tasks_living - self._idle_tasks
        assert left == 0, f"{left} tasks are left"

    # Time

    @property
    def now(self) -> float:
        """The time of the clock. Any thread may read it while no step runs."""
        return self._clock.current_time()

    async def store_time(self) -> int:
        """Return the time of the store's clock, in milliseconds."""
        return self.ledger.now()

    async def until(self, done: Callable[[], object]) -> None:
        """Let time pass until something is done, and no longer."""
        patience = trio.current_time() + WAIT_SECONDS
        while True:
            await wait_all_tasks_blocked()
            if done():
                return
            assert trio.current_time() < patience, "it does not end"
            self._jump(WAIT_SECONDS)

    async def wait(self, seconds: float) -> None:
        """Let so much time pass, one deadline after the other."""
        end = trio.current_time() + seconds
        await wait_all_tasks_blocked()
        while (left := end - trio.current_time()) > 1e-9:
            self._jump(left)
            await wait_all_tasks_blocked()

    async def sleep(self, seconds: float) -> None:
        """Let so much time pass at once, as on a machine that was asleep."""
        await wait_all_tasks_blocked()
        self._clock.jump(seconds)
        await self.settle()

    async def settle(self) -> None:
        """Let all tasks run, and what they put off for an instant."""
        await self.wait(0.1)

    def _jump(self, most: float) -> None:
        next_deadline = trio.lowlevel.current_statistics().seconds_to_next_deadline
        self._clock.jump(max(0.0, min(most, next_deadline if next_deadline < math.inf else most)))

    # Clients

    async def connect(self, server: str) -> PromiseClient:
        """Open a connection that has not signed in."""
        self._names += 1
        client = PromiseClient(f"client {self._names}", self.ledger, self.broken, history=HISTORY)
        host = self._hosts[server]
        host.server.serve(client)
        self.clients.append(client)
        return client

    def at_once(self, act: Callable[[], object]) -> Callable[[], Awaitable[None]]:
        """Return a step that does something, and lets all tasks run."""

        async def step() -> None:
            act()
            await self.settle()

        return step

    async def say(self, client: PromiseClient, frame: str | bytes) -> dict[str, object] | None:
        """Send a frame as it is; return the error that answers it."""
        client.expects_errors = True
        client.send(frame)
        await self.settle()
        client.expects_errors = False
        return client.errors.pop() if client.errors else None

    async def ask(self, client: PromiseClient, type: str, **fields: object) -> dict[str, object]:
        """Send a command, and let time pass until its reply is there, or the connection has ended: then nothing."""
        ref = client.command(type, **fields)
        replies: list[dict[str, object]] = []

        def replied() -> bool:
            if (reply := client.reply(ref)) is not None:
                replies.append(reply)
            return bool(replies) or not client.open

        await self.until(replied)
        await self.settle()
        return replies[0] if replies else {}

    def fault(self, kind: Literal["down", "held", "none", "amnesia"]) -> None:
        """Begin or end a fault of the store: it refuses, or does not answer; it is back, with its data or without."""
        self.ledger.release_answers()
        if kind == "down":
            self.ledger.go_down()
        elif kind == "held":
            self.ledger.hold_answers()
        else:
            self.ledger.come_back(with_memory=kind == "none")
