"""The stage `memory_flat`: what a server and its Valkey hold while a million messages pass through them."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, linear_regression

import trio

from tests.benchmarks.load.wire import text
from tests.benchmarks.processes import resident_bytes
from tests.chaos.client import REFERENCE_ADDRESS, Client, signed_in
from tests.chaos.latency import CONNECT_PAUSE_SECONDS
from tests.chaos.report import Judgement, Table, conclude
from tests.e2e.running import Server

COLUMNS = ("process", "at first in MiB", "at 20 % in MiB", "at the end in MiB", "drift over the last 80 %", "holds")

MOST_DRIFT = 0.02
"""How much the memory may grow over the last 80 % of the messages, by a straight line through all samples."""

WARM_UP = 0.2
"""The part of the messages after which a process has all that it needs."""

SAMPLES = 100

SAMPLE_SECONDS = 600.0
"""How long the messages between two samples may take: a server that stops is not waited for."""

ROOMS = 10
MEMBERS = 3
BATCH = 20
"""How many messages a sender has under way: it waits for all their replies."""

MESSAGES_PER_SECOND = 4_000
"""The rate of all senders together: a steady one, so that the number of live messages is steady."""

_SETTINGS = (
    "messages.ttl=2",
    "limits.heartbeat_seconds=86400",  # the clients answer no pings
    "limits.messages_per_second=1000000",
    "limits.burst=1000000",
    "limits.commands_per_second=1000000",
)


@dataclass(frozen=True)
class Scale:
    """How many messages are sent."""

    messages: int


FULL = Scale(1_000_000)
SHORT = Scale(4_000)


@dataclass
class Memory:
    """The resident memory of one process, in bytes, at equal numbers of messages."""

    name: str
    pid: int
    samples: list[int] = field(default_factory=list[int])

    def sample(self) -> None:
        """Add a sample."""
        self.samples.append(resident_bytes([self.pid]))

    def drift(self) -> float:
        """Return by which part of their mean the samples grow after the warm-up."""
        later = self.samples[int(WARM_UP * len(self.samples)) :]
        return linear_regression(range(len(later)), later).slope * (len(later) - 1) / fmean(later)

    def row(self) -> Sequence[str]:
        """Return the row of the table."""
        warm = self.samples[int(WARM_UP * len(self.samples))]
        sizes = [f"{size / 2**20:.1f}" for size in (self.samples[0], warm, self.samples[-1])]
        return [self.name, *sizes, f"{self.drift():+.1%}", "yes" if self.drift() < MOST_DRIFT else "no"]


class Load:
    """Senders, one in each room, that send at a steady rate; all members read."""

    def __init__(self, rooms: Sequence[tuple[str, Sequence[Client]]]) -> None:
        self._rooms = rooms
        self.sent = 0
        """How many messages were acknowledged."""
        self.received = 0
        """How many messages arrived, of `MEMBERS` times as many."""
        self._acknowledged = [0] * len(rooms)
        self._progress = trio.lowlevel.ParkingLot()

    async def read(self, number: int, client: Client) -> None:
        """Count what one member of a room receives."""
        while True:
            for event in await client.receive():
                if event["type"] == "message":
                    self.received += 1
                elif event["type"] == "sent":
                    self.sent += 1
                    self._acknowledged[number] += 1
                elif event["type"] != "member_joined":
                    raise AssertionError(f"not a message but {event['type']}: {event.get('code')}")
            self._progress.unpark_all()

    async def send(self, number: int, count: int) -> None:
        """Send `count` messages to one room."""
        room_id, [sender, *_] = self._rooms[number]
        frame = text(json.dumps({"type": "send", "ref": 1, "roomId": room_id, "content": "x" * 100}))
        due = trio.current_time()
        for done in range(0, count, BATCH):
            await trio.sleep_until(due)
            due = max(due, trio.current_time() - 1.0) + BATCH * len(self._rooms) / MESSAGES_PER_SECOND
            await sender.send_raw(frame * BATCH)
            while self._acknowledged[number] < done + BATCH:
                await self._progress.park()

    async def until(self, sent: int) -> None:
        """Wait until so many messages were acknowledged."""
        while self.sent < sent:
            await self._progress.park()

    async def all_received(self) -> None:
        """Wait until every member has received every message."""
        while self.received < MEMBERS * self.sent:
            await self._progress.park()


def measure(short: bool) -> Table:
    """Send all messages, and measure the memory meanwhile. This takes some minutes."""
    scale = SHORT if short else FULL
    memories, load = trio.run(_run, scale)
    note = f"{load.sent:,} messages of 100 bytes, {load.received:,} deliveries, {MESSAGES_PER_SECOND:,} a second."
    return Table("Memory while messages pass through", COLUMNS, [memory.row() for memory in memories], [note])


async def _run(scale: Scale) -> tuple[list[Memory], Load]:
    """Send so many messages through a server; return the memory of its processes, and what was sent."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        server = Server(Path(folder), f'limits.exempt_addresses=["{REFERENCE_ADDRESS}"]', *_SETTINGS)
        await trio.to_thread.run_sync(server.start)
        try:
            assert server.process is not None
            with server.redis() as client:
                valkey = int(client.info("server")["process_id"])
            memories = [Memory("server", server.process.pid), Memory("Valkey", valkey)]
            async with _loaded(server.port) as load:
                await _send_all(load, scale.messages, memories)
            return memories, load
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(server.kill)


async def _send_all(load: Load, messages: int, memories: Sequence[Memory]) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(ROOMS):
            nursery.start_soon(load.send, number, messages // ROOMS)
        for number in range(1, SAMPLES + 1):
            with trio.fail_after(SAMPLE_SECONDS):
                await load.until(messages * number // SAMPLES)
            for memory in memories:
                memory.sample()
    with trio.fail_after(SAMPLE_SECONDS):
        await load.all_received()


@asynccontextmanager
async def _loaded(port: int) -> AsyncIterator[Load]:
    """Connect the clients, join them to their rooms, and read until the context ends."""
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        rooms: list[tuple[str, list[Client]]] = []
        for number in range(ROOMS):
            members: list[Client] = []
            for place in range(MEMBERS):
                await trio.sleep(CONNECT_PAUSE_SECONDS)
                client = signed_in(port, REFERENCE_ADDRESS, f"Reference {number}.{place}")
                members.append(await stack.enter_async_context(client))
            room_id = (await members[0].ask(type="create_room"))["roomId"]
            for member in members:
                await member.ask(type="join", roomId=room_id)
            rooms.append((room_id, members))
        load = Load(rooms)
        for number, (_, members) in enumerate(rooms):
            for member in members:
                nursery.start_soon(load.read, number, member)
        yield load
        nursery.cancel_scope.cancel()


def main() -> int:
    """Measure, and say whether the memory of both processes is flat; of a short run it is not asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.memory_flat", description=__doc__)
    parser.add_argument("--short", action="store_true", help=f"with {SHORT.messages:,} messages")
    short = parser.parse_args().short
    memories, _ = trio.run(_run, SHORT if short else FULL)
    judgement = Judgement()
    if not short:
        judgement.problems += [f"{memory.name} grows" for memory in memories if memory.drift() >= MOST_DRIFT]
    return conclude([f"{memory.name}: {memory.drift():+.1%}" for memory in memories], judgement)


if __name__ == "__main__":
    sys.exit(main())
