"""A simulation of people, servers and faults in virtual time, and the checks that no promise is broken."""

from __future__ import annotations

import hashlib
import random
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio
from trio.testing import wait_all_tasks_blocked

from evanesce.config.model import LimitsTable, MessagesTable, ServerTable
from evanesce.model import milliseconds
from evanesce.store.memory import memory_store
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import TestServer, memory_server
from tests.promises.client import PromiseClient
from tests.promises.ledger import Ledger
from tests.promises.rules import Options
from tests.simulation.faults import Faults
from tests.simulation.people import REPLY_SECONDS, Gate, Person

SERVERS = ["north", "south"]
ROOMS = 20
"""How many rooms there are from the beginning."""

TTL = 60.0

QUIET_EVERY = 3_600.0
"""How often everything is checked while nothing happens, in seconds."""

QUIET_SECONDS = 3 * REPLY_SECONDS
"""How long nothing may happen before that: retries end, and those who are behind read on."""

_LIMITS = LimitsTable(hello_seconds=20, heartbeat_seconds=50, connections_per_address=1_000_000, rooms_per_hour=1000)


@dataclass
class Result:
    """What a run came to. `trace` is a digest of every frame that any client got, and when; `tally` counts replies."""

    seed: int
    broken: list[str] = field(default_factory=list[str])
    tally: Counter[str] = field(default_factory=Counter[str])
    messages: int = 0
    deliveries: int = 0
    leaked: int = 0
    trace: str = ""


@dataclass(frozen=True)
class _Running:
    """A server that is told to `stop`, then is `gone` for those who connect, and has `stopped` when nothing is left."""

    server: TestServer
    stop: trio.Event
    gone: trio.Event
    stopped: trio.Event


class Simulation:
    """One run of `hours` with so many `clients`."""

    def __init__(self, seed: int, *, hours: float, clients: int) -> None:
        self._result = Result(seed)
        self._hours = hours
        self._clients = clients
        self._chance = random.Random(seed)
        self._digest = hashlib.sha256()

    async def run(self) -> Result:
        """Run until the time is over, and end everything."""
        before = trio.lowlevel.current_statistics().tasks_living
        self._ledger = Ledger(TTL)
        self._repository = MemoryRepository()
        self._gate = Gate()
        self._servers: dict[str, _Running] = {}
        self._rooms: list[str] = []
        self._invites: dict[str, list[str]] = {}
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for name in SERVERS:
                await nursery.start(self._host, name)
            await self._open_rooms()
            self._people = [self._person(number) for number in range(self._clients)]
            async with trio.open_nursery() as living:
                for person in self._people:
                    living.start_soon(person.live)
                living.start_soon(self._faults().run)
                await self._watch()
                living.cancel_scope.cancel()
            for person in self._people:
                if person.client is not None and person.client.open:
                    person.client.hang_up()
            for name in SERVERS:
                await self._stop(name, drains=True)
        await wait_all_tasks_blocked()
        return self._end(before)

    def _end(self, before: int) -> Result:
        result = self._result
        result.leaked = trio.lowlevel.current_statistics().tasks_living - before
        result.trace = self._digest.hexdigest()
        result.messages = sum(len(ledger.entries) for ledger in self._ledger.ledgers.values())
        for ledger in self._ledger.ledgers.values():
            for user in ledger.room.names:
                result.broken.append(f"{user} is in a room for ever")
        return result

    # Servers

    async def _host(self, name: str, *, task_status: trio.TaskStatus[None]) -> None:
        messages = MessagesTable(ttl=TTL, history=50)
        store = memory_store(ttl=messages.ttl, server_id=name, server=self._ledger)
        stop, gone, stopped = trio.Event(), trio.Event(), trio.Event()
        async with memory_server(
            store=store,
            repository=self._repository,
            server=ServerTable(secret="a secret for tests, of 32 characters"),
            messages=messages,
            limits=_LIMITS,
        ) as server:
            self._servers[name] = _Running(server, stop, gone, stopped)
            task_status.started()
            await stop.wait()
            if self._drains:
                with trio.move_on_after(10):
                    await server.gateway.drain(restarting=True)
            gone.set()
        store.stop()
        stopped.set()

    async def _stop(self, name: str, *, drains: bool) -> None:
        running = self._servers[name]
        self._drains = drains
        running.stop.set()
        await running.stopped.wait()

    async def _restart(self, name: str, drains: bool) -> None:
        await self._stop(name, drains=drains)
        await trio.sleep(self._chance.uniform(0.1, 5))
        await self._nursery.start(self._host, name)

    # People

    def _person(self, number: int) -> Person:
        return Person(
            f"Person {number}",
            random.Random(self._chance.random()),
            connect=self._connect,
            gate=self._gate,
            ledger=self._ledger,
            rooms=self._rooms,
            invites=self._invites,
            broken=self._result.broken,
            tally=self._result.tally,
            trace=self._trace,
        )

    def _connect(self, client: PromiseClient) -> None:
        running = self._servers[self._chance.choice(SERVERS)]
        if running.gone.is_set():
            client.hang_up()
        else:
            running.server.serve(client)

    def _trace(self, name: str, wire: bytes) -> None:
        self._digest.update(struct.pack("d", trio.current_time()) + name.encode() + wire)
        self._result.deliveries += wire.count(b'"type":"message"')

    async def _open_rooms(self) -> None:
        founder = await self._servers[SERVERS[0]].server.sign_in("Founder")
        for _ in range(ROOMS):
            self._rooms.append(await self._servers[SERVERS[0]].server.open_room(founder))
        founder.leave()

    def _faults(self) -> Faults:
        return Faults(
            self._chance,
            gate=self._gate,
            ledger=self._ledger,
            repository=self._repository,
            restart=self._restart,
            servers=SERVERS,
            tally=self._result.tally,
        )

    # What has to hold

    async def _watch(self) -> None:
        """Let the time pass, with a pause every `QUIET_EVERY` in which everything is checked."""
        end = trio.current_time() + self._hours * 3600
        while (left := end - trio.current_time()) > 0:
            await trio.sleep(min(left, QUIET_EVERY))
            self._gate.close()
            while self._gate.busy:  # noqa: ASYNC110  it takes as long as the last act
                await trio.sleep(1)
            await trio.sleep(QUIET_SECONDS)
            self._check()
            if trio.current_time() < end:  # else a fault would begin, and never end
                self._gate.open()

    def _check(self) -> None:
        """Check, while nothing is under way, that everybody has everything."""
        here: dict[str, set[str]] = {}
        for person in self._people:
            client = person.client
            if client is None or not client.open:
                continue
            if client.unanswered:
                self._result.broken.append(f"{client.name}: no reply to {client.unanswered}")
            for room_id, record in client.rooms.items():
                record.check(trio.current_time(), complete=True)
                here.setdefault(room_id, set()).add(client.user_id)
                if record.roster != self._ledger.ledger(room_id).room.names:
                    self._result.broken.append(f"{client.name}: a roster differs from the store's")
                if record.rules.options != self._options(room_id):
                    self._result.broken.append(f"{client.name}: the rules of a room differ from the database's")
        for room_id, ledger in self._ledger.ledgers.items():
            if set(ledger.room.names) != here.get(room_id, set()):
                self._result.broken.append("the store has other members of a room than there are")
            if any(user_id in ledger.room.names for user_id in self._banned(room_id)):
                self._result.broken.append("somebody is in a room who is banned")

    def _options(self, room_id: str) -> Options | None:
        """Return the options of a room, as the database has them."""
        room = self._repository.chat_rooms.get(room_id)
        if room is None:
            return None
        return Options(TTL if room.message_ttl is None else room.message_ttl, room.access, room.locked)

    def _banned(self, room_id: str) -> list[str]:
        """Return who is banned from a room, as the database has it, since the clock of the store was set last."""
        now, set_to = self._ledger.now(), self._ledger.set_to
        bans = [ban for (room, _), ban in self._repository.room_bans.items() if room == room_id]
        return [
            ban.user_id
            for ban in bans
            if ban.user_id is not None and set_to < milliseconds(ban.since) <= now < milliseconds(ban.until)
        ]


def simulation(seed: int, *, hours: float, clients: int) -> Callable[[], Awaitable[Result]]:
    """Return what runs a simulation."""
    return Simulation(seed, hours=hours, clients=clients).run
