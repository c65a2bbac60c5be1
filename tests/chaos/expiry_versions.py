"""How long after its end an expired message is still in Redis, on each version of Redis and Valkey, and in failovers.

As in `expiry.py`, a server's message store runs in a process of its own, beside 100,000 other keys with a TTL, and
DBSIZE counts what is there, on replicas as well. A replica erases nothing by itself: what its primary has not told it
to erase stays there, though nobody can read it.

`python -m tests.chaos.expiry_versions [--short]` prints one line, and ends with 1 if a bound is not met.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import redis
import trio

from evanesce.store.embedded import valkey_binary
from tests.chaos.expiry import SAMPLE_SECONDS, Observer, fill
from tests.chaos.expiry_writer import Order, Writer, writer
from tests.chaos.outages import cut_off, promoted
from tests.chaos.report import Judgement, Table, conclude
from tests.core.store.test_sentinel import Watched
from tests.e2e.clients import until
from tests.e2e.valkey import Valkey
from tests.patience import Taken
from tests.redis_versions import RELEASES, Unavailable, fetch, version_of
from tests.valkey_cluster import ValkeyCluster

LATEST = 250
"""How long after its end a message may be there, in milliseconds."""

RETURNED = 1_000
"""How long after a failover servers may need until they are connected again, and have erased what ended meanwhile, in
milliseconds. The lag of what ended before is counted from when the new primary can be found: by the cluster's nodes it
is at once, and more than half of the sentinels name it up to 2 s after they have chosen it."""

DOWN_AFTER = 2_000
"""After how many milliseconds without an answer a primary counts as lost."""


@dataclass(frozen=True)
class Scale:
    """How much is measured. What is there `patience` seconds after its end is told as later than that."""

    keys: int
    turns: int
    seconds: float
    """Over how long the messages are written that end before a failover, in it, and after it."""
    patience: float


FULL = Scale(100_000, 50, 8.0, 10.0)
SHORT = Scale(5_000, 10, 6.0, 4.0)

ALONE = "alone"
SENTINEL, CLUSTER = "Sentinel", "cluster"
PRIMARY, REPLICA = "primary", "replica"
DURING, AFTER = "failover, ended by 1 s after it", "failover, ended later"
BEHIND = "failover, erased while the replica was cut off"

ROWS: Mapping[str, int] = {ALONE: LATEST} | {
    f"{who}: {what}": bound
    for who in (SENTINEL, CLUSTER)
    for what, bound in ((PRIMARY, LATEST), (REPLICA, LATEST), (DURING, RETURNED), (AFTER, LATEST), (BEHIND, RETURNED))
}
"""What is measured, and how long a message may be there, in milliseconds."""

Lags = Sequence[float]
"""How long each of some messages was there, in milliseconds; infinite where it was there to the end."""


@dataclass
class Result:
    """The lags on one version by row, and how much the machine has taken from the processes meanwhile, in seconds."""

    version: str
    lags: dict[str, Lags] = field(default_factory=dict[str, Lags])
    taken: dict[str, float] = field(default_factory=dict[str, float])

    def add(self, lags: Mapping[str, Lags], taken: Taken) -> None:
        """Add rows that were measured together, and print them to standard error, as a sign of progress."""
        self.lags |= lags
        self.taken |= dict.fromkeys(lags, taken.seconds())
        for row in lags:
            print(f"{self.version} | {row} | {self.figures(row)}", file=sys.stderr, flush=True)

    def figures(self, row: str) -> str:
        """Return p50, p99 and the worst of a row, and how many messages were there for too long."""
        ordered = sorted(self.lags[row])
        if not ordered:
            return "none"
        parts = (ordered[min(len(ordered) - 1, int(part * len(ordered)))] for part in (0.5, 0.99, 1))
        told = " / ".join(f"{lag:,.0f}" if lag < math.inf else "never" for lag in parts)
        late = sum(lag > ROWS[row] for lag in ordered)
        return f"{told} ({late} late)" if late else told

    def worst(self, bound: int) -> float:
        """Return the worst lag of the rows with a bound."""
        return max(lag for row, lags in self.lags.items() if ROWS[row] == bound for lag in lags)

    @property
    def judgement(self) -> Judgement:
        """What was there for too long."""
        found = Judgement()
        for row, lags in self.lags.items():
            worst = max(lags, default=0.0) / 1000
            found.bound(f"{self.version}: {row}", worst, ROWS[row] / 1000, self.taken[row])
        return found


# The servers


@dataclass
class Pair:
    """A primary and its replica, and how a store reaches them. `name` is that of a server whose room is there."""

    url: str
    cluster: bool
    name: str
    primary: redis.Redis
    replica: redis.Redis
    replica_pid: int
    kill: Callable[[], None]
    """Kills the primary."""
    found: Callable[[], bool]
    """Returns whether servers can find the replica as the new primary."""


@asynccontextmanager
async def _watched(binary: Path) -> AsyncGenerator[Pair]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sentinels-")))
        watched = Watched(folder, binary=binary, down_after=DOWN_AFTER)
        stack.callback(watched.stop)
        await until(watched.ready)
        primary, replica = (stack.enter_context(watched.redis(port)) for port in watched.ports)
        pid = watched.processes[watched.ports[1]].pid
        kill, found = partial(watched.kill, watched.ports[0]), partial(_is_named, watched)
        yield Pair(watched.url, False, "one", primary, replica, pid, kill, found)


@asynccontextmanager
async def _clustered(binary: Path) -> AsyncGenerator[Pair]:
    cluster = ValkeyCluster(node_timeout=DOWN_AFTER, binary=binary)
    try:
        await trio.to_thread.run_sync(cluster.start)
        primary = cluster.primaries[0]
        replica = cluster.replica_of(primary)
        name = next(name for name in map(str, range(1_000)) if cluster.primary_of(f"{{{_room(name)}}}") is primary)
        kill = partial(cluster.kill, primary)
        pid = replica.process.pid
        yield Pair(cluster.url, True, name, primary.client, replica.client, pid, kill, lambda: replica.role == "master")
    finally:
        cluster.stop()


def _is_named(watched: Watched) -> bool:
    """Return whether more than half of the sentinels name the replica, which accepts writes."""
    named = 0
    for port in watched.sentinels:
        with watched.sentinel(port) as sentinel:
            named += sentinel.sentinel_master("chat")["port"] == watched.ports[1]
    return 2 * named > len(watched.sentinels) and promoted(watched)


def _room(server: str) -> str:
    return f"room-{server}-0"


@asynccontextmanager
async def _written(pair: Pair, order: Order, keys: int) -> AsyncGenerator[Writer]:
    """Store other keys beside the room, run a server, and wait until the replica has what it writes once."""
    fill(pair.primary, keys, _room(pair.name))
    async with writer(msgspec.structs.replace(order, url=pair.url, cluster=pair.cluster, name=pair.name)) as one:
        await until(lambda: pair.replica.dbsize() == pair.primary.dbsize())
        yield one


# Situations


async def _alone(binary: Path, scale: Scale) -> Lags:
    """Return the lags on a server without a replica."""
    with Valkey(binary=binary) as server:
        fill(server.client, scale.keys, "other")
        order = Order(url=server.url, turns=scale.turns)
        async with writer(order) as one:
            [lags] = await _undisturbed([server.client], one, order, scale)
    return lags


async def _replicated(pair: Pair, scale: Scale) -> Sequence[Lags]:
    """Return the lags on a primary, and on its replica."""
    order = Order(turns=scale.turns)
    async with _written(pair, order, scale.keys) as one:
        return await _undisturbed([pair.primary, pair.replica], one, order, scale)


async def _undisturbed(clients: Sequence[redis.Redis], one: Writer, order: Order, scale: Scale) -> Sequence[Lags]:
    """Return the lags on each server, where nothing is lost."""
    observers = [Observer([client]) for client in clients]
    async with trio.open_nursery() as nursery:
        for observer in observers:
            await nursery.start(observer.run)
        [ends] = await one.write()
        for observer in observers:
            await _all_gone(observer, ends, max(ends), scale)
        nursery.cancel_scope.cancel()
    return [_lags(observer, ends, order) for observer in observers]


async def _killed(pair: Pair, scale: Scale) -> Sequence[Lags]:
    """Kill the primary; return the lags of what ended before the servers must have found the replica, and after."""
    order = Order(turns=scale.turns, ttl=scale.seconds + 1, seconds=scale.seconds)
    async with _written(pair, order, scale.keys) as one, trio.open_nursery() as nursery:
        observer = Observer([pair.replica])
        await nursery.start(observer.run)
        [ends] = await one.write()
        await until(lambda: pair.replica.dbsize() == pair.primary.dbsize())
        pair.kill()
        found = await _found(pair)
        await _all_gone(observer, ends, max(found, *ends), scale)
        nursery.cancel_scope.cancel()
    lags = list(zip(sorted(ends), _lags(observer, ends, order), strict=True))
    during = [end + lag - max(end, found) for end, lag in lags if end <= found + RETURNED]
    return [during, [lag for end, lag in lags if end > found + RETURNED]]


async def _behind(pair: Pair, scale: Scale) -> Sequence[Lags]:
    """Kill the primary when it has erased messages and the replica does not know it; return the lags from then on."""
    order = Order(turns=scale.turns)
    async with _written(pair, order, scale.keys) as one, trio.open_nursery() as nursery:
        observer = Observer([pair.replica])
        await nursery.start(observer.run)
        [ends] = await one.write()
        await until(lambda: pair.replica.dbsize() == pair.primary.dbsize())
        observer.paused = True
        cut_off(pair.replica_pid, pair.primary)
        there = pair.primary.dbsize()
        await until(lambda: pair.primary.dbsize() <= there - len(ends))
        pair.kill()
        os.kill(pair.replica_pid, signal.SIGCONT)
        observer.paused = False
        found = await _found(pair)
        await _all_gone(observer, ends, found, scale)
        nursery.cancel_scope.cancel()
    return [[end + lag - found for end, lag in zip(sorted(ends), _lags(observer, ends, order), strict=True)]]


async def _found(pair: Pair) -> float:
    """Wait until servers can find the new primary, and return when that was, in milliseconds of its clock."""
    await until(pair.found)
    seconds, microseconds = pair.replica.time()
    return int(seconds) * 1000 + int(microseconds) / 1000


STATE = 1
"""What a room leaves: its state."""


async def _all_gone(observer: Observer, ends: Sequence[int], last: float, scale: Scale) -> None:
    """Wait until the messages of a room are gone, and its index, or for too long."""
    while True:
        at, count = observer.look()
        if (count <= STATE and at > max(ends)) or at > last + scale.patience * 1000:
            break
        await trio.sleep(SAMPLE_SECONDS)
    observer.sample()


def _lags(observer: Observer, ends: Sequence[int], order: Order) -> Lags:
    """Return the lag of each message, in the order of their ends. The index goes with the last of them."""
    keys = [(end - order.ttl * 1000, end) for end in ends]
    index = (min(ends) - order.ttl * 1000, max(ends))
    return observer.lags([*keys, index], STATE)[: len(ends)]


# All of it


async def _version(version: str, binary: Path, scale: Scale) -> Result:
    result, taken = Result(version), Taken()
    result.add({ALONE: await _alone(binary, scale)}, taken)
    for who, servers in ((SENTINEL, _watched), (CLUSTER, _clustered)):
        for what, measured in (((PRIMARY, REPLICA), _replicated), ((DURING, AFTER), _killed), ((BEHIND,), _behind)):
            taken = Taken()
            async with servers(binary) as pair:
                lags = await measured(pair, scale)
            result.add({f"{who}: {row}": of_row for row, of_row in zip(what, lags, strict=True)}, taken)
    return result


def _run(short: bool) -> tuple[Sequence[Result], Sequence[str]]:
    """Measure the installed version, and if it is not `short` all others. Return also which are left out, and why."""
    scale = SHORT if short else FULL
    results, left_out = [trio.run(_version, version_of(valkey_binary()), valkey_binary(), scale)], list[str]()
    with tempfile.TemporaryDirectory(prefix="redis-versions-") as folder:
        for release in () if short else RELEASES:
            try:
                binary = fetch(release, Path(folder))
            except Unavailable as reason:
                left_out.append(f"{release.name} is left out: {reason}")
            else:
                results.append(trio.run(_version, version_of(binary), binary, scale))
    return results, left_out


def measure(short: bool) -> Table:
    """Measure all versions, which takes two minutes for each; the installed one alone if it is `short`."""
    results, left_out = _run(short)
    return Table(
        "What has expired is gone, on each version of Redis and Valkey, and in failovers",
        ("messages", *(result.version for result in results)),
        [[row, *(result.figures(row) for result in results)] for row in ROWS],
        [
            "p50 / p99 / worst in milliseconds after the end of a message, or after the new primary could be found if "
            f"that was later. “late” are those that were there for more than {LATEST} ms; in and before a failover for "
            f"more than {RETURNED:,} ms.",
            *left_out,
        ],
    )


def main() -> int:
    """Measure, and print the worst of each version on one line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.expiry_versions", description=__doc__)
    parser.add_argument("--short", action="store_true", help="measure the installed version alone, with few messages")
    results, left_out = _run(parser.parse_args().short)
    judgement = Judgement()
    for result in results:
        judgement.add(result.judgement)
    figures = [
        f"{result.version}: at worst {result.worst(LATEST):,.0f} ms, in a failover {result.worst(RETURNED):,.0f} ms"
        for result in results
    ]
    return conclude([*figures, *left_out], judgement)


if __name__ == "__main__":
    sys.exit(main())
