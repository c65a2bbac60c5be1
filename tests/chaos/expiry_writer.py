"""A server's message store as a process of its own: it stores messages at a rate, and says when each of them ends.

`python -m tests.chaos.expiry_writer JSON`, the JSON being an `Order`. It prints `ready`, and after a line on its
standard input the ends of all messages, by room, as JSON. Then it stays until it is killed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import msgspec
import trio

from evanesce.config.model import RedisTable
from evanesce.model import Draft, milliseconds
from evanesce.store import Store
from evanesce.store.message_log import Stored
from evanesce.store.redis import lag_reports, lease, open_redis_store
from evanesce.store.redis.eraser import Eraser
from evanesce.store.redis.expiring import Expiring

START_SECONDS = 60.0
"""How long a server may take until it is ready."""

SETTLE_SECONDS = 0.5
"""How long a server is given to write what it writes once, when it has begun: nothing tells when it has."""


class Order(msgspec.Struct, kw_only=True, frozen=True):
    """What is to be done: `group` messages at once in each of `rooms` rooms, `turns` times in `seconds`.

    `idle_rooms` rooms have been used before. Without `erasing` the server leaves what has expired to Redis, as 0.1.0
    did. `lease_seconds` is how long others wait for a server that was killed.
    """

    url: str = ""
    cluster: bool = False
    name: str = "one"
    ttl: float = 2.0
    rooms: int = 1
    group: int = 10
    turns: int = 20
    seconds: float = 0.0
    idle_rooms: int = 0
    erasing: bool = True
    lease_seconds: float = lease.LEASE_SECONDS


class Writer:
    """The process of a server, seen from outside."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._read = b""

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()

    async def line(self) -> bytes:
        """Wait for the next line that it prints."""
        assert self._process.stdout is not None
        while b"\n" not in self._read:
            more = await self._process.stdout.receive_some()
            if not more:
                raise RuntimeError("the writer ended")
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line

    async def write(self) -> list[list[int]]:
        """Start to write messages; return when each of them ends, by room."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(b"write\n")
        return msgspec.json.decode(await self.line(), type=list[list[int]])


@asynccontextmanager
async def writer(order: Order) -> AsyncGenerator[Writer]:
    """Run a server, which is killed at the end."""
    command = [sys.executable, "-m", "tests.chaos.expiry_writer", msgspec.json.encode(order).decode()]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        running = Writer(process)
        with trio.fail_after(START_SECONDS):
            assert await running.line() == b"ready"
        yield running
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


# In the process


async def _never(self: Eraser) -> None:
    await trio.sleep_forever()


def _nothing(self: Eraser, keys: Sequence[Expiring]) -> None:
    """Take note of nothing."""


async def _turn(store: Store, room_id: str, group: int, ends: list[int]) -> None:
    drafts = [
        Draft(message_id=str(uuid4()), room_id=room_id, sender_id="ada", sender_name="Ada", content="hello" * 20)
        for _ in range(group)
    ]
    answers = await store.messages.append(room_id, drafts)
    assert isinstance(answers, Sequence)
    for answer in answers:
        assert isinstance(answer, Stored)
        ends.append(milliseconds(answer.expires_at))


async def _write(store: Store, order: Order) -> list[list[int]]:
    ends: list[list[int]] = [[] for _ in range(order.rooms)]
    began = trio.current_time()
    for turn in range(order.turns):
        await trio.sleep_until(began + order.seconds * turn / order.turns)
        async with trio.open_nursery() as nursery:
            for room, of_room in enumerate(ends):
                nursery.start_soon(_turn, store, f"room-{order.name}-{room}", order.group, of_room)
    return ends


async def _main(order: Order) -> None:
    if not order.erasing:
        Eraser.run, Eraser.note = _never, _nothing  # type: ignore[method-assign]
    lag_reports.REPORT_SECONDS = float("inf")  # a report is a key more, where it is the first in a part of a cluster
    lease.LEASE_SECONDS = order.lease_seconds
    lease.RENEW_SECONDS = min(lease.RENEW_SECONDS, order.lease_seconds / 4)
    table = RedisTable(url=order.url, cluster=order.cluster)
    async with open_redis_store(table, ttl=order.ttl, server_id=order.name) as store:
        for number in range(order.idle_rooms):
            await store.presence.snapshot(f"idle-{number}", 10)
        await trio.sleep(SETTLE_SECONDS)
        print("ready", flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        ends = await _write(store, order)
        print(msgspec.json.encode(ends).decode(), flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(_main, msgspec.json.decode(sys.argv[1], type=Order))
