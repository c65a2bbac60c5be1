"""Restart workers by SIGHUP under a crowd that talks, and see what each client notices.

`python -m tests.chaos.restarts [--short]` prints one line for two sizes, and ends with 1 where anything is missing.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import trio

from evanesce.client.errors import Disconnected, Refused, Unreachable
from tests.chaos.crowd import SETTINGS, Crowd, crowd, deliveries, heard_all
from tests.chaos.promises import RoomRecord
from tests.chaos.report import Judgement, conclude
from tests.e2e.clients import ChatClient, until
from tests.e2e.running import Server
from tests.patience import Taken

CLIENTS, SHORT_CLIENTS = (200, 1_000), (40,)
WORKERS = 2
PERIOD_SECONDS = 5.0
"""How often each room hears a message: the clients share one process, which is to be ready to connect again."""

RESTART_SECONDS = 180.0
RESTARTING = 1012


@dataclass
class Interruptions:
    """How long clients were away, in seconds, how much of it they were asked to wait, and what they then missed."""

    seconds: list[float] = field(default_factory=list[float])
    asked: list[float] = field(default_factory=list[float])
    missed: list[int | None] = field(default_factory=list[int | None])
    codes: set[int] = field(default_factory=set[int])


async def follow(crowd: Crowd, room: RoomRecord, member: ChatClient, found: Interruptions) -> None:
    """Come back as the server asks, with the last cursor, whenever it closes the connection."""
    heard = 0
    while True:
        await member.wait_closed()
        began = time.monotonic()
        reason = member.connection.close_reason
        assert reason is not None
        found.codes.add(reason.code)
        goodbye = await member.wait_for_event("goodbye", after=heard)
        heard = len(member.record)
        await trio.sleep(goodbye["reconnectAfter"])
        while True:
            try:
                await member.connect()
                joined = await member.join(room.room_id, member.cursor(room.room_id))
            except (Unreachable, Disconnected, Refused):
                continue
            break
        found.seconds.append(time.monotonic() - began)
        found.asked.append(goodbye["reconnectAfter"])
        found.missed.append(joined["missed"])
        if member is room.members[0]:
            crowd.nursery.start_soon(crowd.send, room)


async def restarted(clients: int) -> tuple[str, Judgement]:
    """Restart all workers of a server, one after the other."""
    with tempfile.TemporaryDirectory(prefix="crowd-") as folder, ExitStack() as stack:
        server = Server(Path(folder), *SETTINGS, f"server.workers={WORKERS}", "limits.connections_per_address=100000")
        await trio.to_thread.run_sync(server.start)
        stack.callback(server.kill)
        found = Interruptions()
        async with crowd([server], clients, PERIOD_SECONDS) as gathered:
            for room in gathered.rooms:
                for member in room.members:
                    gathered.nursery.start_soon(follow, gathered, room, member, found)
            taken = Taken()
            began = time.monotonic()
            server.send_signal(signal.SIGHUP)
            await until(lambda: "all workers were restarted" in server.errors, RESTART_SECONDS)
            took = time.monotonic() - began
            late = taken.seconds()
            await until(lambda: all(member.connection.close_reason is None for member in gathered.members))
            await gathered.spoken(3)
            gathered.stopping = True
            await until(lambda: all(heard_all(room) for room in gathered.rooms))
            verdict = gathered.judge()
    unsure = sum(count != 0 for count in found.missed)
    if unsure:
        gathered.judgement.problems.append(f"{unsure} times `missed` is not 0")
    if found.codes != {RESTARTING}:
        gathered.judgement.problems.append(f"connections were closed with {sorted(found.codes)}")
    away = sorted(found.seconds)
    text = (
        f"{clients:,} clients on {WORKERS} workers, restarted in {took:.0f} s: {len(away):,} times one was closed,"
        f" away for {median(away):.1f} s, p99 {away[int(0.99 * (len(away) - 1))]:.1f} s,"
        f" of which the server asked for {median(found.asked):.1f} s; {len(away) - unsure:,} times `missed` was 0"
    )
    return f"{text}; {deliveries(verdict)}; other work took up to {late:.0f} s", gathered.judgement


def main() -> int:
    """Restart a server under a crowd."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.restarts", description=__doc__)
    parser.add_argument("--short", action="store_true", help=f"with {SHORT_CLIENTS[0]} clients")
    options = parser.parse_args()
    measured = [trio.run(restarted, clients) for clients in (SHORT_CLIENTS if options.short else CLIENTS)]
    judgement = Judgement()
    for _, found in measured:
        judgement.add(found)
    return conclude([figures for figures, _ in measured], judgement)


if __name__ == "__main__":
    sys.exit(main())
