"""How many copies of a message are in the memory of Valkey and of the server before it ends, and after.

Messages that are easily found, the canaries, go through a real server with real clients, and end in every way that a
message can. `/proc/PID/mem` shows what is in memory, whether it is in use or freed. Valkey frees the memory of what it
has used, and so does Python: a copy is what is left there.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from statistics import median
from typing import NamedTuple
from uuid import uuid4

import trio

from evanesce.model import Timestamp, milliseconds
from tests.chaos.client import REFERENCE_ADDRESS, Client, signed_in
from tests.chaos.report import Table
from tests.e2e.running import Server
from tests.process_memory import memory

COLUMNS = ("beside", "ended by", "in", "messages", "copies before", "1 s after", "10 s after")

ENDINGS = ("expiry", "unsend", "closed room", "conflict")
"""How the canaries end. One of a conflict was refused, and so never was a message."""

FILLING = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.perturb=255:glibc.malloc.tcache_count=0"}
"""The environment in which Python takes its memory from the C library, which fills what is freed."""

WRITES = 4
"""How often a message contains its canary, so that one that was overwritten in part is found as well."""

END_EARLIER = 1.5
"""How long before they would expire the messages end that are unsent, and those of the closed room, in seconds."""

LIMITS = tuple(
    f"limits.{name}=100000" for name in ("messages_per_second", "burst", "commands_per_second", "joins_per_second")
)

_CANARY = re.compile(rb"canary-[0-9a-f]{16}")
_FIRST_FIELD = b'{"messageId":"'
_PUBLISHED = re.compile(rb"m \d+ \d+ \d+ \d+ \Z")
_ARGUMENT = re.compile(rb"\$\d+\r\n\Z")

_NEAR = 600
"""How many bytes before a canary tell what its copy belongs to, and after it."""


@dataclass(frozen=True)
class Scale:
    """How many canaries there are for each ending, their TTL and the times of the looks after it in seconds."""

    canaries: int
    ttl: float
    looks: tuple[float, float]
    repeats: int


FULL = Scale(canaries=10, ttl=4.0, looks=(1.0, 10.0), repeats=3)
SHORT = Scale(canaries=2, ttl=4.0, looks=(0.5, 1.0), repeats=1)


class Scene(NamedTuple):
    """How many other messages go through the server each second all the time, and the server's environment."""

    name: str
    rate: float
    environment: Mapping[str, str]


SCENES = (
    Scene("nothing else", 0, {}),
    Scene("20 other messages/s", 20, {}),
    Scene("nothing else, Python's freed memory filled", 0, FILLING),
)


class Copy(NamedTuple):
    """A copy of a canary: which, and what it belongs to."""

    canary: str
    kind: str


Look = dict[str, list[Copy]]
"""The copies in each process."""


def measure(short: bool) -> Table:
    """Count the copies of messages in memory."""
    return trio.run(_measure, SHORT if short else FULL)


async def _measure(scale: Scale) -> Table:
    rows: list[list[str]] = []
    notes: list[str] = []
    for scene in SCENES:
        runs = [await _run(scale, scene) for _ in range(scale.repeats)]
        for process in ("Valkey", "server"):
            rows += [
                [scene.name, ending, process, str(scale.canaries), *_counts(runs, process, ending)]
                for ending in ENDINGS
            ]
            notes += _kinds(runs, scene.name, process, scale)
    title = f"What is left in memory: copies of messages (median of {scale.repeats})"
    return Table(title, COLUMNS, rows, notes)


def _counts(runs: Sequence[_Run], process: str, ending: str) -> list[str]:
    return [
        f"{median(sum(run.endings[copy.canary] == ending for copy in run.looks[number][process]) for run in runs):g}"
        for number in range(len(runs[0].looks))
    ]


def _kinds(runs: Sequence[_Run], beside: str, process: str, scale: Scale) -> list[str]:
    """Name what the copies belong to, all endings together."""
    notes: list[str] = []
    for number, when in enumerate(["before", *(f"{after:g} s after" for after in scale.looks)]):
        counted = [Counter(copy.kind for copy in run.looks[number][process]) for run in runs]
        kinds = {kind: median(one[kind] for one in counted) for kind in sorted(sum(counted, Counter[str]()))}
        found = ", ".join(f"{kind} {count:g}" for kind, count in kinds.items() if count) or "none"
        notes.append(f"{process}, beside {beside}, {when}: {found}.")
    return notes


# One run


class _Run(NamedTuple):
    endings: dict[str, str]
    looks: list[Look]


async def _run(scale: Scale, scene: Scene) -> _Run:
    async with (
        _serving(scale, scene) as server,
        trio.open_nursery() as nursery,
        signed_in(server.port, REFERENCE_ADDRESS, "Ada") as ada,
        signed_in(server.port, REFERENCE_ADDRESS, "Ben") as ben,
    ):
        lasting, closing = [str((await ada.ask(type="create_room"))["roomId"]) for _ in range(2)]
        for client in (ada, ben):
            for room in (lasting, closing):
                await client.ask(type="join", roomId=room)
        if scene.rate:
            await nursery.start(_write_others, server, scene.rate)
        endings: dict[str, str] = {}
        unsent: list[dict[str, str]] = []
        for _ in range(scale.canaries):
            first = await _say(ada, lasting, "expiry", endings)
            unsent.append(await _say(ada, lasting, "unsend", endings))
            await _say(ada, closing, "closed room", endings)
            refused = await _say(ben, lasting, "conflict", endings, first["messageId"])
            assert refused["code"] == "conflict", refused
        last = await _say(ada, lasting, "expiry", {}, content="the last one")
        looks = [await _look(server)]
        ends = trio.current_time() + await _seconds_until(ada, last["expiresAt"])
        await trio.sleep(await _seconds_until(ada, unsent[0]["expiresAt"]) - END_EARLIER)
        for message in unsent:
            reply = await ada.ask(type="unsend", roomId=lasting, messageId=message["messageId"])
            assert reply["type"] == "ok", reply
        reply = await ada.ask(type="close_room", roomId=closing)
        assert reply["type"] == "ok", reply
        for after in scale.looks:
            await trio.sleep_until(ends + after)
            looks.append(await _look(server))
        nursery.cancel_scope.cancel()
    return _Run(endings, looks)


@asynccontextmanager
async def _serving(scale: Scale, scene: Scene) -> AsyncGenerator[Server]:
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        server = Server(Path(folder), f"messages.ttl={scale.ttl}", *LIMITS, environment=dict(scene.environment))
        await trio.to_thread.run_sync(server.start)
        try:
            yield server
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(server.kill)


async def _say(
    client: Client,
    room_id: str,
    ending: str,
    endings: dict[str, str],
    message_id: str | None = None,
    content: str | None = None,
) -> dict[str, str]:
    """Send a canary, and return the reply."""
    if content is None:
        canary = f"canary-{token_hex(8)}"
        endings[canary] = ending
        content = " ".join([canary] * WRITES)
    return await client.ask(type="send", roomId=room_id, content=content, messageId=message_id or str(uuid4()))


async def _seconds_until(client: Client, end: str) -> float:
    """Return how long it is until `end`, by the clock of the store."""
    now = (await client.ask(type="ping"))["serverTime"]
    return (milliseconds(Timestamp(end)) - milliseconds(Timestamp(now))) / 1000


async def _write_others(server: Server, rate: float, *, task_status: trio.TaskStatus[None]) -> None:
    """Send other messages in a room of their own, until cancelled."""
    async with signed_in(server.port, REFERENCE_ADDRESS, "Cleo") as client:
        room = (await client.ask(type="create_room"))["roomId"]
        await client.ask(type="join", roomId=room)
        task_status.started()
        while True:
            await client.ask(type="send", roomId=room, content="another message " * 8, messageId=str(uuid4()))
            await trio.sleep(1 / rate)


# What is in memory


async def _look(server: Server) -> Look:
    assert server.process is not None
    pids: dict[str, tuple[int, Callable[[bytes, bytes], str]]] = {
        "Valkey": (server.valkey()[0], _kind_in_valkey),
        "server": (server.process.pid, _kind_in_python),
    }
    return {name: await trio.to_thread.run_sync(copies, pid, kind) for name, (pid, kind) in pids.items()}


def copies(pid: int, kind: Callable[[bytes, bytes], str] | None = None) -> list[Copy]:
    """Find all copies of canaries in the memory of a process, of Valkey's if it is not told how to name their kinds.

    `kind` is called with what is before and after a copy.
    """
    return [copy for data in memory(pid) for copy in _copies_in(data, kind or _kind_in_valkey)]


def _copies_in(data: bytes, kind: Callable[[bytes, bytes], str]) -> list[Copy]:
    found: list[Copy] = []
    last, last_end, writes = b"", -2, 0
    for hit in _CANARY.finditer(data):
        if hit[0] == last and hit.start() == last_end + 1 and writes < WRITES:
            writes += 1
        else:
            writes = 1
            before = data[max(0, hit.start() - _NEAR) : hit.start()]
            found.append(Copy(hit[0].decode(), kind(before, data[hit.end() : hit.end() + _NEAR])))
        last, last_end = hit[0], hit.end()
    return found


def _kind_in_valkey(before: bytes, after: bytes) -> str:
    """Name what a copy in Valkey belongs to, by what is beside it."""
    at = before.rfind(_FIRST_FIELD)
    if at < 0:
        return "remnant"
    size = len(before) - at + after.find(b"}") + 1
    before = before[:at]
    stored = b'"createdAt":"' in after[: 24 * WRITES + 20]
    if published := _PUBLISHED.search(before):
        head = before[: published.start()]
        line = head.rfind(b"\n")
        if b"smessage\r\n" in head:
            return "output to subscribers"
        return _held(before[: max(0, line - 16)], "published payload") if line >= 0 else "published line in Lua"
    if _ARGUMENT.search(before):
        return "query buffer"
    if not stored:
        return _held(before, "script argument")
    return _held(before, "stored message") if size else "remnant"


def _held(before: bytes, what: str) -> str:
    """Tell a string of Lua, which has its length in 8 bytes before it, from one of Valkey."""
    length = int.from_bytes(before[-8:], "little") if len(before) >= 8 else 0
    return f"{what} in Lua" if 0 < length < 2**20 and before[-4:] == b"\0\0\0\0" else what


def _kind_in_python(before: bytes, after: bytes) -> str:
    """Name what a copy in the server belongs to, by what is beside it."""
    if before.endswith(b'"content":"'):
        if b'"messageId":"' in before[-400:] and b'"cursor":"' in after:
            return "event"
        return "command or stored JSON"
    return "text"
