"""How long after its end an expired message is still in Redis, seen by DBSIZE, which erases nothing.

A server's message store runs in a process of its own, beside a real Valkey; each figure stands beside that of the same
server without its eraser, which leaves to Redis what has expired, as 0.1.0 did.
"""

from __future__ import annotations

import math
import os
import time
from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec
import redis
import trio

from evanesce.store.embedded import embedded_valkey
from tests.chaos.expiry_writer import Order, Writer, writer
from tests.chaos.report import Table
from tests.valkey_cluster import ValkeyCluster

COLUMNS = ("beside", "messages", "p50", "p99", "worst", "without: p50", "p99", "worst")

SAMPLE_SECONDS = 0.003
"""How often the keys are counted."""

DAY = 86_400_000

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Scale:
    """How much is measured. What is there `patience` seconds after the last end is told as later than that."""

    ttl: float
    keys: int
    idle_rooms: int
    load_seconds: float
    lease_seconds: float
    patience: float
    repeats: int


FULL = Scale(2.0, 100_000, 3_000, 6.0, 9.0, 6.0, 3)
SHORT = Scale(0.5, 5_000, 100, 1.0, 1.0, 1.0, 1)


def measure(short: bool) -> Table:
    """Measure the lag of what servers erase, and what that costs a message."""
    return trio.run(_measure, SHORT if short else FULL)


async def _measure(scale: Scale) -> Table:
    quiet = Order(ttl=scale.ttl, lease_seconds=scale.lease_seconds)
    turns = round(10 * scale.load_seconds)
    busy = msgspec.structs.replace(quiet, rooms=50, group=10, turns=turns, seconds=scale.load_seconds)
    single = msgspec.structs.replace(busy, rooms=100, group=1)
    used = msgspec.structs.replace(quiet, idle_rooms=scale.idle_rooms)
    soon, later = (msgspec.structs.replace(quiet, ttl=scale.lease_seconds * part) for part in (0.25, 1.7))
    many = f"{scale.keys:,} other keys with a TTL"
    rows = [
        await _row("nothing else", scale, quiet, 0),
        await _row(f"{scale.idle_rooms:,} rooms used within a day", scale, used, 0),
        await _row(many, scale, quiet, scale.keys),
        await _row(f"{many}, under 5,000 messages/s", scale, busy, scale.keys),
        await _row(f"{many}; server killed, they end before its lease", scale, soon, scale.keys, kill=True),
        await _row(f"{many}; server killed, they end after its lease", scale, later, scale.keys, kill=True),
        *await _cluster_rows(f"{many}, cluster of three", scale, quiet),
    ]
    notes = [
        "`without`: the same server without its eraser, which is 0.1.0's way. Times are in milliseconds. "
        f"A lease lasts {scale.lease_seconds:g} s.",
        await _cost("5,000 messages/s, ten at a time in 50 rooms", scale, busy),
        await _cost("1,000 messages/s, one at a time in 100 rooms", scale, single),
    ]
    return Table("What has expired is gone: how long after its end a message is still in Redis", COLUMNS, rows, notes)


# Looking on


class Observer:
    """Counts the keys of some servers of Redis, from time to time."""

    def __init__(self, clients: Sequence[redis.Redis]) -> None:
        self._clients = clients
        self._base = 0
        self._seen: list[tuple[float, int]] = []
        self.paused = False
        """Whether it does not look for now, because a server would not answer."""

    def look(self) -> tuple[float, int]:
        """Return the time of the store in milliseconds, and how many keys have come since `run` began."""
        count = sum(int(client.dbsize()) for client in self._clients) - self._base
        seconds, microseconds = self._clients[0].time()
        return seconds * 1000 + microseconds / 1000, count

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Count until cancelled."""
        _, self._base = self.look()
        task_status.started()
        while True:
            if not self.paused:
                self.sample()
            await trio.sleep(SAMPLE_SECONDS)

    def sample(self) -> None:
        """Look now, and note what is seen."""
        self._seen.append(self.look())

    def lags(self, keys: Sequence[tuple[float, int]], others: int) -> list[float]:
        """Return how long after its end each key was there, in milliseconds; infinite where it is there still.

        `keys` are known by when each was stored and when it ends; `others` have come and do not end. Those that end
        first are taken to go first: so many are gone as were stored and are not there any more.
        """
        stored, ends = sorted(start for start, _ in keys), sorted(end for _, end in keys)
        lags: list[float] = []
        for at, count in self._seen:
            gone = bisect_right(stored, at) + others - count
            while len(lags) < min(gone, len(ends)) and ends[len(lags)] <= at:
                lags.append(at - ends[len(lags)])
        return lags + [math.inf] * (len(ends) - len(lags))


async def _watch(observers: Sequence[Observer], order: Order, scale: Scale, one: Writer, *, kill: bool) -> _Lags:
    """Write messages, and observe Redis until they are gone, or for too long."""
    async with trio.open_nursery() as nursery:
        for observer in observers:
            await nursery.start(observer.run)
        rooms = await one.write()
        if kill:
            one.kill()
        last = max(map(max, rooms))
        late = _patience(scale, kill=kill)
        # A server with an eraser erases each room's index with the last message in it. The state of a room stays, and
        # who takes over erases the list of what a killed server had to erase.
        indices = [(min(ends) - order.ttl * 1000, max(ends)) for ends in rooms] if order.erasing else []
        others = len(rooms) * (1 if order.erasing else 2) - (1 if kill and order.erasing else 0)
        while True:
            looks = [observer.look() for observer in observers]
            if all(at > last + late or (at > last and count <= others) for at, count in looks):
                break
            await trio.sleep(SAMPLE_SECONDS)
        for observer in observers:
            observer.sample()  # all is gone, and this shows it
        nursery.cancel_scope.cancel()
    keys = [(end - order.ttl * 1000, end) for ends in rooms for end in ends]
    return len(keys), [observer.lags(keys + indices, others) for observer in observers]


_Lags = tuple[int, list[list[float]]]
"""How many messages there were, and the lags that each observer saw."""


def fill(client: redis.Redis, keys: int, tag: str) -> None:
    """Store keys of another program, which end after a day."""
    with client.pipeline(transaction=False) as many:
        for number in range(keys):
            many.set(f"other:{{{tag}}}:{number}", "", px=DAY)
        many.execute()


@asynccontextmanager
async def _valkey() -> AsyncGenerator[tuple[str, redis.Redis]]:
    async with embedded_valkey() as url:
        client = redis.Redis.from_url(url)
        try:
            yield url, client
        finally:
            client.close()


# Rows


async def _row(what: str, scale: Scale, order: Order, keys: int, *, kill: bool = False) -> list[str]:
    cells: list[str] = []
    messages = 0
    for erasing in (True, False):
        async with _valkey() as (url, client), AsyncExitStack() as stack:
            fill(client, keys, "other")
            mine = msgspec.structs.replace(order, url=url, erasing=erasing)
            one = await stack.enter_async_context(writer(mine))
            if kill:
                await stack.enter_async_context(writer(msgspec.structs.replace(mine, name="two")))
            messages, [lags] = await _watch([Observer([client])], mine, scale, one, kill=kill)
        cells += _figures(lags, _patience(scale, kill=kill))
    return [what, f"{messages:,}", *cells]


async def _cluster_rows(what: str, scale: Scale, order: Order) -> list[list[str]]:
    cells: list[list[str]] = [[], []]
    messages = 0
    cluster = ValkeyCluster()
    try:
        cluster.start()
        primaries = list(cluster.primaries)
        replicas = [cluster.replica_of(node) for node in primaries]
        for erasing in (True, False):
            cluster.empty()
            for node in primaries:
                tag = next(tag for tag in map(str, range(1_000)) if cluster.primary_of(tag) is node)
                fill(node.client, scale.keys // len(primaries), tag)
            mine = msgspec.structs.replace(
                order, url=cluster.url, cluster=True, rooms=20, turns=1, erasing=erasing, name=f"erasing-{erasing}"
            )
            observers = [Observer([node.client for node in nodes]) for nodes in (primaries, replicas)]
            async with writer(mine) as one:
                messages, lags = await _watch(observers, mine, scale, one, kill=False)
            for row, seen in zip(cells, lags, strict=True):
                row += _figures(seen, _patience(scale, kill=False))
    finally:
        cluster.stop()
    return [
        [f"{what}: {where}", f"{messages:,}", *row] for where, row in zip(("primaries", "replicas"), cells, strict=True)
    ]


def _patience(scale: Scale, *, kill: bool) -> float:
    """Return how long after the last end it is looked on, in milliseconds."""
    return 1000 * (scale.patience + (scale.lease_seconds * 4 / 3 if kill else 0))


def _figures(lags: Sequence[float], patience: float) -> list[str]:
    ordered = sorted(lags)

    def shown(part: float) -> str:
        lag = ordered[min(len(ordered) - 1, int(part * len(ordered)))]
        return f"{lag:,.0f}" if lag < math.inf else f"> {patience:,.0f}"

    return [shown(0.5), shown(0.99), shown(1)]


# What it costs


async def _cost(what: str, scale: Scale, order: Order) -> str:
    """Return how much CPU the server's store and Valkey use for a message, with the eraser and without, by turns."""
    used: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(scale.repeats):
        for erasing in (True, False):
            async with _valkey() as (url, client):
                mine = msgspec.structs.replace(order, url=url, erasing=erasing)
                pids = [int(client.info("server")["process_id"])]
                async with writer(mine) as one:
                    pids.append(one.pid)
                    before = sum(map(_cpu, pids))
                    rooms = await one.write()
                    last = max(map(max, rooms)) / 1000
                    await trio.sleep(max(0.0, last - time.time()) + 0.5)  # until all of it had to be erased
                    after = sum(map(_cpu, pids))
                used[erasing].append((after - before) / sum(map(len, rooms)) * 1e6)
    with_it, without = median(used[True]), median(used[False])
    return (
        f"CPU of the store and Valkey per message, {what}: {with_it:.0f} µs with the eraser, {without:.0f} µs without"
        f" (median of {scale.repeats}, by turns)."
    )


def _cpu(pid: int) -> float:
    """Return how many seconds of CPU a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
