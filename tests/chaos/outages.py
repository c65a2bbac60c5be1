"""The stage `outages`: Redis is killed, stopped or fails over under load, and no promise may be broken.

`python -m tests.chaos.outages OUTAGE… [--short]` runs some of them, prints one line and ends with 1 if any was broken.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import redis
import trio

from evanesce.client.errors import Disconnected, Refused
from tests.chaos.promises import RoomRecord, Verdict
from tests.chaos.report import Judgement, Table, conclude
from tests.core.store.test_sentinel import Watched
from tests.e2e.clients import ChatClient, until
from tests.e2e.reconnecting import has_message, wait_before_retry
from tests.e2e.running import Server
from tests.e2e.valkey import Valkey
from tests.patience import PATIENCE, Taken
from tests.valkey_cluster import ClusterNode, ValkeyCluster

COLUMNS = (
    "outage",
    "times",
    "acknowledged",
    "refused",
    "slowest reply in s",
    "served again after s",
    "lost, but told",
    "lost and not told",
    "twice",
    "holds",
)

ROOMS = 6
MEMBERS = 4
"""In each room, half of them on each of two servers. Two send."""

SENDERS = 2
PERIOD_SECONDS = 0.05
"""The time between two messages of a sender."""

REPLY_SECONDS = 2.5
"""Within this time every command is answered, whatever Redis does."""

SERVED_SECONDS = 2.0
"""Within this time after its return, all rooms work again."""

TTL = 600
"""In seconds: longer than a run, so that what is missing has not expired."""

OUTAGE, SHORT_OUTAGE = 10.0, 2.5
FAILOVERS = 5
NODE_TIMEOUT = 2000
"""After how many milliseconds a primary of the cluster counts as failed."""


@dataclass
class Load:
    """Members in rooms on two servers, some of which send without an end."""

    rooms: list[RoomRecord] = field(default_factory=list[RoomRecord])
    refused: int = 0
    slowest: float = 0.0
    served: list[float] = field(default_factory=list[float])
    """How long after each return of Redis all rooms worked again, in seconds."""
    problems: list[str] = field(default_factory=list[str])
    verdict: Verdict = field(default_factory=Verdict)
    _running: bool = True

    @property
    def acknowledged(self) -> int:
        """How many messages were acknowledged."""
        return sum(len(room.acknowledged) for room in self.rooms)

    async def send(self, room: RoomRecord, sender: ChatClient) -> None:
        """Send a message every `PERIOD_SECONDS`, one after the other, until `finish`."""
        while self._running:
            began = trio.current_time()
            try:
                await self._say(room, sender)
            except Disconnected as lost:
                self.problems.append(f"a connection was lost: {lost}")
                return
            self.slowest = max(self.slowest, trio.current_time() - began)
            await trio.sleep(PERIOD_SECONDS)

    async def _say(self, room: RoomRecord, sender: ChatClient) -> str | None:
        """Send one message; return its id if it was acknowledged."""
        message_id = str(uuid.uuid4())
        room.sent[message_id] = f"said {message_id}"
        try:
            await sender.say(room.room_id, room.sent[message_id], message_id)
        except Refused as refused:
            self.refused += 1
            if (refused.code, refused.retry) != ("store_unavailable", True):
                self.problems.append(f"refused with {refused.code}")
            return None
        room.acknowledge(message_id)
        return message_id

    async def grow(self, messages: int) -> None:
        """Wait until every room has so many acknowledged messages more."""
        wanted = [len(room.acknowledged) + messages for room in self.rooms]
        await until(
            lambda: all(len(room.acknowledged) >= count for room, count in zip(self.rooms, wanted, strict=True))
        )

    async def leave(self) -> None:
        """Let the last member of each room lose its connection, and wait until some messages more were sent."""
        for room in self.rooms:
            await room.members[-1].abort()
        await self.grow(5)

    async def returned(self) -> None:
        """Note that Redis is back, wait until every room works, and let those who left come back."""
        began = time.monotonic()
        await self.grow(1)
        self.served.append(time.monotonic() - began)
        for room in self.rooms:
            member = room.members[-1]
            while member.connection.close_reason is not None:
                await self._come_back(room, member)

    async def _come_back(self, room: RoomRecord, member: ChatClient) -> None:
        """Try once to come back to a room with the last cursor."""
        since = member.cursor(room.room_id)
        try:
            await member.connect()
            await member.join(room.room_id, since)
        except Refused as refused:
            await member.abort()
            await wait_before_retry(refused)

    async def finish(self) -> None:
        """End the load, wait until every member has received a last message, and judge all rooms."""
        self._running = False
        with trio.fail_after(PATIENCE):
            for room in self.rooms:
                while (last := await self._say(room, room.members[0])) is None:  # noqa: ASYNC110 - nothing tells
                    await trio.sleep(0.05)
                for member in room.members:
                    await member.wait_for(partial(has_message, last))
                room.judge(self.verdict)


@asynccontextmanager
async def loaded(url: str, *settings: str) -> AsyncIterator[Load]:
    """Run two servers on a Redis, and load them."""
    with tempfile.TemporaryDirectory(prefix="outages-") as folder:
        shared = [
            f"redis.url={url}",
            f"server.secret={'s' * 32}",
            f"plugins.sqlite.path={folder}/shared.db",
            f"messages.ttl={TTL}",
            "limits.messages_per_second=100000",
            "limits.burst=100000",
            *settings,
        ]
        with ExitStack() as stack:  # the servers end before the folder of their database
            servers = [Server(Path(stack.enter_context(tempfile.TemporaryDirectory())), *shared) for _ in range(2)]
            for server in servers:
                await trio.to_thread.run_sync(server.start)
                stack.callback(server.kill)
            async with trio.open_nursery() as nursery:
                load = Load()
                for number in range(ROOMS):
                    members = [
                        await ChatClient.open(servers[place % 2], nursery, f"Member {number}.{place}")
                        for place in range(MEMBERS)
                    ]
                    room_id = str((await members[0].ask("create_room"))["roomId"])
                    for member in members:
                        await member.join(room_id)
                    load.rooms.append(RoomRecord(room_id, members))
                for room in load.rooms:
                    for sender in room.members[:SENDERS]:
                        nursery.start_soon(load.send, room, sender)
                await load.grow(20)
                yield load
                nursery.cancel_scope.cancel()


async def on_valkey(outage: Callable[[Valkey, float], Awaitable[None]], short: bool) -> Load:
    """Run a load on one Valkey through an outage of 10 s."""
    with Valkey() as valkey:
        async with loaded(valkey.url) as load:
            await load.leave()
            await outage(valkey, SHORT_OUTAGE if short else OUTAGE)
            await load.returned()
            await load.finish()
        return load


async def kill(valkey: Valkey, seconds: float) -> None:
    """Kill Valkey, and start it again after some seconds, without anything that it held."""
    valkey.process.kill()
    valkey.process.wait()
    await trio.sleep(seconds)
    await trio.to_thread.run_sync(valkey.__enter__)


async def stop(valkey: Valkey, seconds: float) -> None:
    """Stop Valkey by SIGSTOP, and let it go on after some seconds."""
    os.kill(valkey.process.pid, signal.SIGSTOP)
    await trio.sleep(seconds)
    os.kill(valkey.process.pid, signal.SIGCONT)


async def sentinel(short: bool) -> Load:
    """Let sentinels promote the replica, again and again: by their command, or because the primary was killed.

    What the primary has taken right before it was killed is lost with it.
    """
    with ExitStack() as stack:
        watched = Watched(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sentinels-"))))
        stack.callback(watched.stop)
        await until(watched.ready)
        async with loaded(watched.url) as load:
            for number in range(1 if short else FAILOVERS):
                killed = number % 2 == 0
                if killed:
                    replica = watched.processes[watched.ports[1]].pid
                    with watched.redis(watched.ports[0]) as client:
                        cut_off(replica, client)
                    await load.leave()
                    watched.kill(watched.ports[0])
                    os.kill(replica, signal.SIGCONT)
                else:
                    await load.leave()
                    await until(watched.fail_over)
                await until(partial(promoted, watched))
                await load.returned()
                watched.ports.reverse()
                if killed:
                    watched.restart(watched.ports[1], replica_of=watched.ports[0])
                await until(watched.ready)
                await load.grow(3)
            await load.finish()
        return load


def cut_off(replica: int, primary: redis.Redis) -> None:
    """Stop the process of a replica, so that it never learns of what its primary takes from now on."""
    os.kill(replica, signal.SIGSTOP)
    primary.client_kill_filter(_type="replica")  # what is sent to it would wait in its socket


def promoted(watched: Watched) -> bool:
    """Return whether the Redis that was the replica is a primary."""
    with watched.redis(watched.ports[1]) as client:
        return bool(client.info("replication")["role"] == "master")


async def cluster(short: bool) -> Load:
    """Let replicas of a cluster take the place of primaries that were killed, or that are alive and do not know it."""
    nodes = ValkeyCluster(node_timeout=NODE_TIMEOUT)
    try:
        await trio.to_thread.run_sync(nodes.start)
        async with loaded(nodes.url, "redis.cluster=true") as load:
            for number in range(1 if short else FAILOVERS):
                primary = nodes.primaries[number % len(nodes.primaries)]
                replica = nodes.replica_of(primary)
                killed = number % 2 == 0
                if killed:
                    cut_off(replica.process.pid, primary.client)
                    await load.leave()
                    nodes.kill(primary)
                    os.kill(replica.process.pid, signal.SIGCONT)
                else:
                    await load.leave()
                    replica.client.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
                await until(lambda: replica.role == "master")  # noqa: B023
                await load.returned()
                if killed:
                    nodes.restart(primary)
                await until(partial(follows, primary))
                await load.grow(3)
            await load.finish()
        return load
    finally:
        nodes.stop()


def follows(node: ClusterNode) -> bool:
    """Return whether a node of a cluster is a replica that has all that its primary has."""
    try:
        state = node.client.info("replication")
    except redis.RedisError:
        return False
    return bool(state["role"] == "slave" and state["master_link_status"] == "up")


@dataclass(frozen=True)
class Stage:
    """An outage. Where it is `lossless`, it must not cost any message."""

    name: str
    outage: str
    run: Callable[[bool], Awaitable[Load]]
    lossless: bool = False


STAGES = (
    Stage("Redis is killed for 10 s", "killed", partial(on_valkey, kill)),
    Stage("Redis is stopped for 10 s", "stopped", partial(on_valkey, stop), lossless=True),
    Stage("Sentinel fails over", "sentinel", sentinel),
    Stage("primaries of a cluster fail over", "cluster", cluster),
)


@dataclass(frozen=True)
class Result:
    """What an outage has shown."""

    stage: Stage
    load: Load
    late: float
    """How many seconds the machine has taken from the processes: by this much replies may be slower."""

    @property
    def judgement(self) -> Judgement:
        """What was not as it has to be."""
        load, verdict = self.load, self.load.verdict
        found = Judgement(list(load.problems))
        found.bound("a reply", load.slowest, REPLY_SECONDS, self.late)
        found.bound("rooms worked again", max(load.served), SERVED_SECONDS, self.late)
        if verdict.broken:
            found.problems.append(f"{verdict.broken} promises were broken")
        if self.stage.lossless and verdict.lost:
            found.problems.append(f"{verdict.lost} deliveries are missing")
        return found

    def figures(self) -> str:
        """Return what was measured in words."""
        load, verdict = self.load, self.load.verdict
        told = [
            f"{load.acknowledged:,} acknowledged, {load.refused:,} refused",
            f"slowest reply {load.slowest:.2f} s",
            f"served again after {max(load.served):.1f} s",
            f"{verdict.lost:,} deliveries lost and told, {verdict.untold:,} not told, {verdict.doubled:,} twice",
        ]
        return ", ".join(told)

    def cells(self) -> Sequence[str]:
        """Return the row of the table."""
        load, verdict = self.load, self.load.verdict
        return [
            self.stage.name,
            str(len(load.served)),
            f"{load.acknowledged:,}",
            f"{load.refused:,}",
            f"{load.slowest:.2f}",
            ", ".join(f"{seconds:.1f}" for seconds in load.served),
            f"{verdict.lost:,} of {verdict.lost + verdict.delivered + verdict.untold:,}",
            f"{verdict.untold:,}",
            f"{verdict.doubled:,}",
            self._holds(),
        ]

    def _holds(self) -> str:
        found = self.judgement
        reasons = ", ".join([*found.problems, *found.doubts])
        return f"no: {reasons}" if found.problems else f"not known: {reasons}" if found.doubts else "yes"


def measure(short: bool) -> Table:
    """Run all outages. This takes about five minutes, or one if it is `short`."""
    results = [run(stage, short) for stage in STAGES]
    return Table(
        "Outages of Redis under load",
        COLUMNS,
        [result.cells() for result in results],
        [
            f"{ROOMS} rooms of {MEMBERS} clients each, half of them on each of two servers, {ROOMS * SENDERS} of whom "
            f"send {1 / PERIOD_SECONDS:g} messages a second each, and {ROOMS} lose their connection before each outage "
            "and come back after it. “refused” are messages with the error "
            "`store_unavailable`. “lost” is the number of deliveries of acknowledged messages that are missing: the "
            "member was told so by `gap` or `missed: null`, or not, which must never be. It holds if no promise was "
            f"broken, every reply came within {REPLY_SECONDS:g} s, and all rooms worked {SERVED_SECONDS:g} s after "
            "Redis did."
        ],
    )


def run(stage: Stage, short: bool) -> Result:
    """Run an outage, and print its row to standard error at once, as a sign of progress."""
    taken = Taken()
    result = Result(stage, trio.run(stage.run, short), taken.seconds())
    print(" | ".join(result.cells()), file=sys.stderr, flush=True)
    return result


def main() -> int:
    """Run the named outages, and print their figures on one line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.outages", description=__doc__)
    parser.add_argument("outages", nargs="+", choices=[stage.outage for stage in STAGES])
    parser.add_argument("--short", action="store_true", help="let Redis be away once, and not for long")
    options = parser.parse_args()
    results = [run(stage, options.short) for stage in STAGES if stage.outage in options.outages]
    judgement = Judgement()
    for result in results:
        judgement.add(result.judgement)
    return conclude([f"{result.stage.name}: {result.figures()}" for result in results], judgement)


if __name__ == "__main__":
    sys.exit(main())
