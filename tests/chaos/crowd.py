"""Kill or terminate a server under a crowd that talks, and see what becomes of everybody.

`python -m tests.chaos.crowd killed|terminated… [--short]` prints one line and ends with 1 if a bound was not met.
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from evanesce.client.errors import Disconnected, Refused, Unreachable
from tests.chaos.promises import RoomRecord, Verdict
from tests.chaos.report import Judgement, conclude
from tests.e2e.clients import ChatClient, until
from tests.e2e.running import Server
from tests.e2e.test_fast_readers import deaf_member
from tests.e2e.valkey import Valkey
from tests.patience import PATIENCE, Taken

CLIENTS, SHORT_CLIENTS = 500, 40
MEMBERS = 10
"""In each room. The first one sends."""

PERIOD_SECONDS = 0.5
STALLED = 5
AT_ONCE = 20
"""How many clients connect at the same time at the start. After a loss, all come back at once."""

SERVED_SECONDS = 2.0
DRAIN_SECONDS = 10.0
"""The default of `server.drain_seconds`."""

GOING_AWAY = 1001
SETTINGS = (f"server.secret={'s' * 32}", "limits.messages_per_second=100000", "limits.burst=100000", "messages.ttl=600")


@dataclass
class Crowd:
    """Clients in rooms, of which the first one of each sends every `period` seconds. `nursery` runs their tasks."""

    nursery: trio.Nursery
    period: float = PERIOD_SECONDS
    rooms: list[RoomRecord] = field(default_factory=list[RoomRecord])
    judgement: Judgement = field(default_factory=Judgement)
    stopping: bool = False

    @property
    def members(self) -> Sequence[ChatClient]:
        """All clients."""
        return [member for room in self.rooms for member in room.members]

    async def send(self, room: RoomRecord) -> None:
        """Send to a room, until the connection or the run ends."""
        sender = room.members[0]
        while not self.stopping:
            message_id = str(uuid.uuid4())
            room.sent[message_id] = f"said {message_id}"
            try:
                await sender.say(room.room_id, room.sent[message_id], message_id)
            except Disconnected:
                return
            except Refused as refused:
                if not refused.retry:
                    self.judgement.problems.append(f"refused with {refused.code}")
            else:
                room.acknowledge(message_id)
            await trio.sleep(self.period)

    async def spoken(self, messages: int) -> None:
        """Wait until every room has so many acknowledged messages more."""
        wanted = [len(room.acknowledged) + messages for room in self.rooms]
        await until(
            lambda: all(len(room.acknowledged) >= count for room, count in zip(self.rooms, wanted, strict=True))
        )

    def judge(self) -> Verdict:
        """Compare what everybody received with what was acknowledged: nothing may be missing."""
        verdict = Verdict()
        for room in self.rooms:
            room.judge(verdict)
        if verdict.broken or verdict.lost:
            self.judgement.problems.append(
                f"{verdict.lost + verdict.untold} deliveries are missing, {verdict.doubled} came twice"
            )
        return verdict


@asynccontextmanager
async def crowd(servers: Sequence[Server], clients: int, period: float = PERIOD_SECONDS) -> AsyncIterator[Crowd]:
    """Connect a crowd to servers in turn, the first member of each room to the first one, and let it talk."""
    limit = trio.CapacityLimiter(AT_ONCE)
    async with trio.open_nursery() as nursery:
        gathered = Crowd(nursery, period)

        async def gather(number: int) -> None:
            async with limit:
                members = [
                    await ChatClient.open(servers[place % len(servers)], nursery, f"Member {number}.{place}")
                    for place in range(MEMBERS)
                ]
                room_id = str((await members[0].ask("create_room"))["roomId"])
                for member in members:
                    await member.join(room_id)
                gathered.rooms.append(RoomRecord(room_id, members))

        async with trio.open_nursery() as gathering:
            for number in range(clients // MEMBERS):
                gathering.start_soon(gather, number)
        for room in gathered.rooms:
            nursery.start_soon(gathered.send, room)
        await gathered.spoken(3)
        yield gathered
        nursery.cancel_scope.cancel()


async def killed(clients: int) -> tuple[str, Judgement]:
    """Kill one of two servers; all its clients come back to the other at once."""
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crowd-"))) for _ in range(2)]
        valkey = stack.enter_context(Valkey())
        shared = [*SETTINGS, f"redis.url={valkey.url}", f"plugins.sqlite.path={folders[0]}/shared.db"]
        survivor, victim = (Server(folder, *shared) for folder in folders)
        for server in (survivor, victim):
            await trio.to_thread.run_sync(server.start)
        stack.callback(survivor.kill)
        async with crowd([survivor, victim], clients) as gathered:
            served: list[float] = []
            missed: list[int | None] = []

            async def come_back(room: RoomRecord, member: ChatClient, began: float) -> None:
                await member.abort()  # the system has closed it
                since = member.cursor(room.room_id)
                member.server = survivor
                while True:
                    try:
                        await member.connect()
                        missed.append((await member.join(room.room_id, since))["missed"])
                    except (Unreachable, Disconnected):
                        continue
                    served.append(time.monotonic() - began)
                    return

            lost = [(room, member) for room in gathered.rooms for member in room.members if member.server is victim]
            taken = Taken()
            began = time.monotonic()
            await trio.to_thread.run_sync(victim.kill)
            async with trio.open_nursery() as returning:
                for room, member in lost:
                    returning.start_soon(come_back, room, member, began)
            late = taken.seconds()
            await gathered.spoken(3)
            gathered.stopping = True
            await until(lambda: all(heard_all(room) for room in gathered.rooms))
            verdict = gathered.judge()
    slowest = sorted(served)[int(0.99 * (len(served) - 1))]
    gathered.judgement.bound("served again", slowest, SERVED_SECONDS, late)
    if any(count != 0 for count in missed):
        gathered.judgement.problems.append("a `missed` is not true")
    text = f"{len(lost)} of {clients} clients lost their server, all were served again, p99 {slowest:.1f} s"
    return f"{text}, {deliveries(verdict)}", gathered.judgement


def heard_all(room: RoomRecord) -> bool:
    """Return whether every member of a room has received what was acknowledged."""
    return all(
        room.acknowledged.keys() <= {message["messageId"] for message in member.messages()} for member in room.members
    )


async def terminated(clients: int) -> tuple[str, Judgement]:
    """Terminate a server with SIGTERM while some of its clients read nothing."""
    with tempfile.TemporaryDirectory(prefix="crowd-") as folder, ExitStack() as stack:
        server = Server(Path(folder), *SETTINGS)
        await trio.to_thread.run_sync(server.start)
        stack.callback(server.kill)
        async with crowd([server], clients) as gathered:
            for number in range(STALLED):
                account = await trio.to_thread.run_sync(server.sign_in, f"Stalled {number}")
                stalled: socket.socket = deaf_member(server, account["token"], gathered.rooms[number % 4].room_id)
                stack.enter_context(stalled)
            await gathered.spoken(3)
            taken = Taken()
            began = time.monotonic()
            server.send_signal(signal.SIGTERM)
            code = await trio.to_thread.run_sync(server.wait)
            took = time.monotonic() - began
            late = taken.seconds()
            ends = [(await member.wait_closed_by_server()).code for member in gathered.members]
            with trio.fail_after(PATIENCE):
                for member in gathered.members:
                    await member.wait_for_event("goodbye", code=GOING_AWAY)
            verdict = gathered.judge()
    told = ends.count(GOING_AWAY)
    if told < clients:
        gathered.judgement.problems.append(f"{clients - told} clients were closed with another code")
    gathered.judgement.bound("the exit", took, DRAIN_SECONDS + 1, late)
    if code:
        gathered.judgement.problems.append(f"it ended with {code}")
    text = f"{told} of {clients} live clients got goodbye and 1001, {STALLED} stalled, exit after {took:.1f} s"
    return f"{text}, {deliveries(verdict)}", gathered.judgement


def deliveries(verdict: Verdict) -> str:
    """Return in words what was delivered."""
    return f"{verdict.delivered:,} deliveries, {verdict.lost + verdict.untold} missing, {verdict.doubled} twice"


WAYS: Mapping[str, Callable[[int], Awaitable[tuple[str, Judgement]]]] = {"killed": killed, "terminated": terminated}


def main() -> int:
    """End servers in the named ways."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.crowd", description=__doc__)
    parser.add_argument("ways", nargs="+", choices=list(WAYS))
    parser.add_argument("--short", action="store_true", help=f"with {SHORT_CLIENTS} clients")
    options = parser.parse_args()
    clients = SHORT_CLIENTS if options.short else CLIENTS
    measured = [trio.run(WAYS[way], clients) for way in options.ways]
    judgement = Judgement()
    for _, found in measured:
        judgement.add(found)
    return conclude([figures for figures, _ in measured], judgement)


if __name__ == "__main__":
    sys.exit(main())
