"""Seeded noise: on the handshake, on frames, cut and joined as networks do; nobody else notices, and nothing is left.

`EVANESCE_FUZZ` says how many clients of each kind come; a failure names the seed that made it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
import trio

from tests.benchmarks.processes import resident_bytes
from tests.patience import PATIENCE, Taken
from tests.transports.reference import Verdict, judge
from tests.transports.serving import (
    FRAME_BYTES,
    TRANSPORTS,
    FakeGateway,
    Listening,
    close_code,
    listening,
    masked,
    read_all,
    upgrade_request,
)

CLIENTS = int(os.environ.get("EVANESCE_FUZZ", "200"))
AT_ONCE = 20
MANY, GROWTH_BYTES = 1000, 2**20
"""From so many clients on, the memory may grow by so much: with fewer, it is that of code that is loaded."""
VIOLATIONS = {1002, 1007, 1009}
ANSWER_SECONDS = 5.0
"""How soon a handshake is answered or ended, whatever it is."""

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("transport", TRANSPORTS)]


def noisy_frames(chance: random.Random) -> list[bytes]:
    """Make frames, most of which are lawful, with one byte or another changed."""
    frames: list[bytes] = []
    for _ in range(chance.randint(1, 8)):
        opcode = chance.choice([0, 1, 1, 1, 2, 2, 3, 8, 9, 10, 15])
        size = chance.choice([0, 1, 5, 125, 126, 127, 1000, 65_535, 65_536, 70_000])
        payload = chance.choice([b"x", "é".encode(), b"\xff", b"\0", b"\x03\xe8"]) * size
        frame = bytearray(masked(opcode, payload[:size], fin=chance.random() < 0.8, rsv=chance.random() < 0.05))
        if chance.random() < 0.3:
            frame[chance.randrange(min(len(frame), 14))] = chance.randrange(256)
        frames.append(bytes(frame))
    return frames


def noisy_handshake(chance: random.Random) -> bytes:
    """Make a handshake with a few bytes changed, doubled or left out."""
    data = bytearray(upgrade_request(origin="https://chat.example", sec_websocket_protocol="evanesce.v1"))
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[place] = chance.randrange(256)
            case 1:
                del data[place : place + chance.randint(1, 20)]
            case 2:
                data[place:place] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 8)))
            case _:
                data[place:place] = data[place : place + chance.randint(1, 40)]
    return bytes(data)


async def say(stream: trio.SocketStream, data: bytes, chance: random.Random) -> None:
    """Send `data` in pieces, and either say that this is all, or leave."""
    with contextlib.suppress(trio.BrokenResourceError):  # the server had enough
        while data:
            size = chance.choice([1, 2, 7, 100, 70_000])
            await stream.send_all(data[:size])
            data = data[size:]
        await stream.send_eof()


async def test_frames(
    server: Listening, gateway: FakeGateway, transport: str, record_property: Callable[[str, object], None]
) -> None:
    codes: Counter[int] = Counter()
    judged: Counter[Verdict] = Counter()

    async def client(seed: int) -> None:
        chance = random.Random(seed)
        data = b"".join(noisy_frames(chance))
        verdict = judge(data, FRAME_BYTES)
        judged[verdict] += 1
        async with await server.upgraded() as stream, trio.open_nursery() as nursery:
            nursery.start_soon(say, stream, data, chance)
            received = await read_all(stream)
            nursery.cancel_scope.cancel()
        gateway.forget()
        try:
            code = close_code(received)
        except AssertionError:
            code = 0  # it left in the middle of a frame, and there was nothing to say
        codes[code] += 1
        if verdict is not Verdict.EITHER:
            assert (code in VIOLATIONS) == (verdict is Verdict.VIOLATION), (verdict, code)

    early = await all_of(client)
    await server.check_alive()
    grown = memory() - early
    counted = f"{CLIENTS:,} streams, {judged[Verdict.VIOLATION]:,} with a violation, memory {grown / 2**20:+.1f} MiB"
    record_property("measured", f"{transport}: {counted}")
    assert CLIENTS < MANY or grown < GROWTH_BYTES
    assert codes.total() == CLIENTS
    assert len(set(codes) & VIOLATIONS) == 3
    assert 1011 not in codes


async def test_handshakes(server: Listening, transport: str, record_property: Callable[[str, object], None]) -> None:
    statuses: set[bytes] = set()
    slowest = 0.0

    async def client(seed: int) -> None:
        nonlocal slowest
        chance = random.Random(seed)
        began = trio.current_time()
        with trio.fail_after(PATIENCE):
            async with await server.raw() as stream, trio.open_nursery() as nursery:
                nursery.start_soon(say, stream, noisy_handshake(chance), chance)
                statuses.add((await read_all(stream))[9:12])
                nursery.cancel_scope.cancel()
        slowest = max(slowest, trio.current_time() - began)

    taken = Taken()
    await all_of(client)
    late = taken.seconds()
    await server.check_alive()
    record_property("measured", f"{transport}: {CLIENTS:,} handshakes, the slowest took {slowest:.1f} s")
    assert slowest < ANSWER_SECONDS + late
    assert statuses <= {b"", b"101", b"400", b"403", b"404", b"405", b"411", b"426", b"431", b"505"}
    assert {b"101", b"400"} <= statuses


async def test_nothing_is_left(gateway: FakeGateway, transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(gateway, transport) as server:
        await server.check_alive()
        monkeypatch.setattr("evanesce.listening.listener.HEAD_SECONDS", 0.2)
        before = trio.lowlevel.current_statistics().tasks_living

        async def client(seed: int) -> None:
            chance = random.Random(seed)
            async with await server.raw() as stream:
                data = noisy_handshake(chance) if seed % 2 else upgrade_request() + b"".join(noisy_frames(chance))
                with contextlib.suppress(trio.BrokenResourceError):  # the server had enough
                    await stream.send_all(data[: chance.randrange(len(data))])
                    if chance.random() < 0.5:
                        await stream.receive_some(100)

        await all_of(client)
        with trio.fail_after(PATIENCE):
            while trio.lowlevel.current_statistics().tasks_living > before:
                await trio.testing.wait_all_tasks_blocked(0.01)


async def all_of(client: Callable[[int], Awaitable[None]]) -> int:
    """Connect all clients, a few at a time; return how much memory this process had after a fifth of them, in bytes.

    A client begins when another one ends: tasks that wait from the beginning would free memory as they end, and so hide
    what is left behind.
    """
    seeds = iter(range(CLIENTS))
    early = 0

    async def some() -> None:
        for seed in seeds:
            try:
                await client(seed)
            except Exception as error:
                error.add_note(f"seed {seed}")
                raise
            nonlocal early
            if seed == CLIENTS // 5:
                early = memory()

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(some)
    return early


def memory() -> int:
    """Return how much memory this process has, in bytes, without what only waits for the collector."""
    gc.collect()
    return resident_bytes([os.getpid()])
