"""The stage `attacks`: how attacks affect the delivery of messages to other clients, each on a server of its own."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from evanesce.config.model import LimitsTable
from evanesce_plugins.worldid.qr import TEXT_BYTES
from tests.benchmarks.processes import resident_bytes
from tests.chaos.attacks import Job
from tests.chaos.client import REFERENCE_ADDRESS, Client, ConnectionEnded, signed_in
from tests.chaos.latency import CONNECT_PAUSE_SECONDS, Deliveries, latency_probe
from tests.chaos.report import Table
from tests.e2e.running import Server
from tests.patience import PATIENCE

COLUMNS = ("attack", "without attack: p50, p99 in ms", "under attack: p50, p99 in ms", "holds", "lost", "notes")

P99_MS = 25.0
"""The p99 of the reference clients must stay below this under attack, or below `P99_RATIO` of the one without."""

P99_RATIO = 1.2

MEMORY_BYTES, MEMORY_BYTES_EACH = 32 * 2**20, 256 * 2**10
"""What clients that have not signed in may cost a server, in total and each."""

WORLD_ID = {"app_id": "app_test", "rp_id": "rp_0123456789abcdef", "action": "sign-up", "signing_key": "ab" * 32}
WORLD_ID_SETTINGS = (
    'plugins.enabled=["guest","sqlite","worldid","quart"]',
    *(f"plugins.worldid.{name}={value}" for name, value in WORLD_ID.items()),
)

PAUSE_SECONDS = 1.2
PAUSE_GUESTS = 16
PAUSE_MESSAGES = 20
PAUSE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Scale:
    """The durations in seconds, without and under attack, the rooms, and the divisor of the number of attackers."""

    undisturbed_seconds: float
    attack_seconds: float
    rooms: int
    divisor: int


FULL = Scale(undisturbed_seconds=4, attack_seconds=6, rooms=10, divisor=1)
SHORT = Scale(undisturbed_seconds=1, attack_seconds=1, rooms=2, divisor=50)


@dataclass(frozen=True, slots=True)
class Before:
    """The sizes of a server before an attack, in bytes."""

    resident: int
    database: int
    redis: int


@dataclass(frozen=True, slots=True)
class Stage:
    """An attack by a number of `attackers`.

    `seconds` and `rooms` replace those of the scale. `about` returns a note about the server, and whether a bound was
    met.
    """

    name: str
    attack: str
    attackers: int
    about: Callable[[Server, Before, int, float], tuple[str, bool]] | None = None
    settings: Sequence[str] = ()
    body: str = ""
    seconds: float | None = None
    rooms: int | None = None


def _memory(server: Server, before: Before, attackers: int, seconds: float) -> tuple[str, bool]:
    """Return how much the memory of the server has grown, in total and for each attacker, and whether it may."""
    grown = _resident(server) - before.resident
    note = f"{grown / 2**20:.1f} MiB more, {grown / 2**10 / attackers:.0f} KiB each"
    return note, grown <= min(MEMORY_BYTES, attackers * MEMORY_BYTES_EACH)


def _growth(server: Server, before: Before, attackers: int, seconds: float) -> tuple[str, bool]:
    """Return how much the database and Redis have grown."""
    database, redis = _database_bytes(server) - before.database, _redis_bytes(server) - before.redis
    return f"SQLite {database / seconds:,.0f} B/s, Redis {redis / seconds:,.0f} B/s", True


STAGES = (
    Stage("100 attackers send JSON pings", "JSON pings", 100),
    Stage("100 attackers send WebSocket pings", "WebSocket pings", 100),
    Stage("100 attackers send fragments", "fragments", 100),
    Stage(
        "8 request QR codes", "QR codes", 8, settings=WORLD_ID_SETTINGS, body="https://w.org/".ljust(TEXT_BYTES, "x")
    ),
    Stage("20 send HTTP requests without a pause", "HTTP", 20),
    Stage("a malicious frame of 64 KiB, every second", "a frame that freezes", 1),
    Stage("20 attackers never read", "never read", 20, _memory),
    Stage("2,000 open bodies", "open bodies", 2000, _memory),
    Stage("5,000 sockets without hello, after 12 s", "silent sockets", 5000, _memory, seconds=13),
    Stage("a person in 50 rooms changes the name repeatedly", "renames", 1, rooms=50),
    Stage("a person joins repeatedly", "joins", 1),
    Stage("a person sends at ten times the rate", "messages", 1),
    Stage("a person requests members repeatedly", "members", 1),
    Stage("a person creates and closes rooms", "rooms", 1, _growth),
)


def measure(short: bool) -> Table:
    """Measure all attacks, and a pause of Redis. This takes about five minutes, or one if it is `short`."""
    scale = SHORT if short else FULL
    rows = [_run(stage.name, measure_stage, stage, scale) for stage in STAGES]
    rows.append(_run("the pause of Redis", pause_row))
    return Table(
        "Delivery to other clients during attacks",
        COLUMNS,
        rows,
        [
            f"{scale.rooms} rooms of 3 clients each, from one address. One client in each room sends four messages a "
            "second. The delay is the time from when a message was due until each member has received it. “lost” is "
            "the number of deliveries missing 2 s after the end, and of closed connections. The attackers come from "
            f"another address. It holds if nothing is lost and the p99 is below {P99_MS:g} ms, or within "
            f"{P99_RATIO - 1:.0%} of the one without attack, and if the memory is bounded where it is named."
        ],
    )


def _run(name: str, measure_row: Callable[..., Awaitable[Sequence[str]]], *arguments: Any) -> Sequence[str]:
    """Measure one row, and print it to standard error at once, as a sign of progress."""
    try:
        row = trio.run(measure_row, *arguments)
    except BaseException as error:
        error.add_note(f"while this was measured: {name}")
        raise
    print(" | ".join(row), file=sys.stderr, flush=True)
    return row


async def measure_stage(stage: Stage, scale: Scale) -> Sequence[str]:
    """Measure one attack, and the same clients without an attack just before it."""
    seconds = stage.seconds if stage.seconds is not None and scale is FULL else scale.attack_seconds
    rooms = stage.rooms if stage.rooms is not None and scale is FULL else scale.rooms
    async with _serving(*stage.settings) as server, latency_probe(server.port, rooms) as probe:
        undisturbed = await probe.measure(scale.undisturbed_seconds)
        before = Before(_resident(server), _database_bytes(server), _redis_bytes(server))
        job = Job(
            stage.attack,
            server.port,
            max(1, stage.attackers // scale.divisor),
            rooms=probe.room_ids,
            body=stage.body,
        )
        async with _attacking(job) as process:
            under = await probe.measure(seconds)
            about, bounded = ("", True) if stage.about is None else stage.about(server, before, job.attackers, seconds)
            tally = await _ended(process)
        counted = ", ".join(f"{name}: {count:,}" for name, count in sorted(tally.items()))
        return [
            stage.name,
            _delays(undisturbed),
            _delays(under),
            "yes" if _holds(undisturbed, under) and bounded else "no",
            _lost(under),
            "; ".join(note for note in (about, counted) if note),
        ]


async def pause_row() -> Sequence[str]:
    """Pause Redis while guests send as much as they may, and count the connections that are closed with 4413."""
    codes: list[int] = []
    received = [0] * PAUSE_GUESTS
    waiting = set(range(PAUSE_GUESTS))
    settled = trio.Event()

    def finish(number: int) -> None:
        waiting.discard(number)
        if not waiting:
            settled.set()

    async def read(number: int, client: Client) -> None:
        try:
            while True:
                events = await client.receive()
                received[number] += sum(event["type"] == "message" for event in events)
                if received[number] >= PAUSE_GUESTS * PAUSE_MESSAGES:
                    finish(number)
        except ConnectionEnded as ended:
            codes.append(ended.code)
            finish(number)

    async with _serving() as server, trio.open_nursery() as nursery:
        ready = trio.Event()

        async def guest(number: int, *, task_status: trio.TaskStatus[Client]) -> None:
            async with signed_in(server.port, REFERENCE_ADDRESS, f"Guest {number}") as client:
                task_status.started(client)
                await ready.wait()
                await read(number, client)

        guests: list[Client] = []
        for number in range(PAUSE_GUESTS):
            await trio.sleep(CONNECT_PAUSE_SECONDS)
            guests.append(await nursery.start(guest, number))
        room_id = (await guests[0].ask(type="create_room"))["roomId"]
        for client in guests:
            await client.ask(type="join", roomId=room_id)
        await trio.to_thread.run_sync(lambda: server.redis().client_pause(round(PAUSE_SECONDS * 1000)))
        ready.set()
        for client in guests:
            for _ in range(PAUSE_MESSAGES):
                with suppress(ConnectionEnded):
                    await client.send(type="send", roomId=room_id, content="x" * PAUSE_BYTES)
        with trio.move_on_after(PATIENCE):  # the row tells what has not arrived by then
            await settled.wait()
        nursery.cancel_scope.cancel()
    note = f"{codes.count(4413)} of {PAUSE_GUESTS} members ended with 4413; "
    due = PAUSE_GUESTS * PAUSE_GUESTS * PAUSE_MESSAGES
    return [
        f"Redis pauses for {PAUSE_SECONDS} s, {PAUSE_GUESTS} guests send {PAUSE_MESSAGES} x 4 KiB",
        "",
        "",
        "no" if 4413 in codes else "yes",
        str(due - sum(received)),
        note + f"{sum(received):,} of {due:,} deliveries",
    ]


@asynccontextmanager
async def _serving(*settings: str) -> AsyncIterator[Server]:
    """Run a server that exempts only the reference clients from the limits of an address."""
    exempt = (
        [f'limits.exempt_addresses=["{REFERENCE_ADDRESS}"]']
        if "exempt_addresses" in LimitsTable.__struct_fields__
        else []
    )
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        server = Server(Path(folder), *exempt, *settings)
        await trio.to_thread.run_sync(server.start)
        try:
            yield server
        finally:
            with trio.CancelScope(shield=True):  # it may hang: no request is sent to it any more
                await trio.to_thread.run_sync(server.kill)


@asynccontextmanager
async def _attacking(job: Job) -> AsyncIterator[trio.Process]:
    """Run an attack in a child process. The context begins when the attack has started."""
    command = [sys.executable, "-m", "tests.chaos.attacks", json.dumps(job.described())]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        with trio.fail_after(60):
            for byte in b"started\n":
                output = await process.stdout.receive_some(1)
                assert output == bytes([byte]), f"the attack printed {output!r} instead of `started`"
        yield process
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _ended(process: trio.Process) -> dict[str, int]:
    """Stop an attack, and return its counts."""
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.aclose()
    output = b""
    with trio.fail_after(PATIENCE):
        while chunk := await process.stdout.receive_some(65_536):
            output += chunk
    tally: dict[str, int] = json.loads(output)
    return tally


def _resident(server: Server) -> int:
    assert server.process is not None
    return resident_bytes([server.process.pid])


def _redis_bytes(server: Server) -> int:
    with server.redis() as client:
        memory: dict[str, Any] = client.info("memory")
        return int(memory["used_memory"])


def _database_bytes(server: Server) -> int:
    """Return the size of the database, including its write-ahead log."""
    connection = sqlite3.connect(f"file:{server.database}?mode=ro", uri=True)
    try:
        [[pages]] = connection.execute("PRAGMA page_count")
        [[size]] = connection.execute("PRAGMA page_size")
        return int(pages) * int(size)
    finally:
        connection.close()


def _holds(undisturbed: Deliveries, under: Deliveries) -> bool:
    """Return whether the reference clients were affected little enough."""
    p99 = under.percentile(0.99)
    return not under.missing and not under.lost and p99 < max(P99_MS, P99_RATIO * undisturbed.percentile(0.99))


def _delays(deliveries: Deliveries) -> str:
    return f"{deliveries.percentile(0.5):.1f}, {deliveries.percentile(0.99):.1f}"


def _lost(deliveries: Deliveries) -> str:
    return f"{deliveries.missing:,}" + (f" and {deliveries.lost} connections" if deliveries.lost else "")
