"""One user sends ten times as fast as allowed, on two servers: how much is accepted, and how long others wait."""

from __future__ import annotations

import random
from statistics import median
from typing import Any

import trio

from evanesce.client.errors import Refused
from tests.benchmarks.contenders import LOAD_CORE
from tests.benchmarks.load.figures import percentile
from tests.benchmarks.processes import on_core
from tests.benchmarks.scaling.fleet import Fleet, fleet
from tests.benchmarks.scaling.sizes import Sizes
from tests.benchmarks.scaling.tables import table as written
from tests.e2e.clients import ChatClient

RATE, BURST = 5, 20
MEMBERS = 10
PAUSE = 1.0
"""The average pause of another client between two messages, in seconds."""

COLUMNS = {
    "others": ("others", ""),
    "sent": ("sent in the flood", ",d"),
    "accepted": ("accepted", ",d"),
    "allowed": ("allowed", ",.0f"),
    "p50_ms": ("others wait ms, p50", ".1f"),
    "p50_flooded_ms": ("in the flood", ".1f"),
    "p99_ms": ("p99", ".1f"),
    "p99_flooded_ms": ("in the flood", ".1f"),
}


class _Flood:
    """One user with three connections to two servers, who does not wait for replies."""

    def __init__(self, connections: list[ChatClient], room_id: str) -> None:
        self.connections = connections
        self.room_id = room_id
        self.sent = 0
        self.accepted = 0

    async def run(self, seconds: float) -> None:
        """Send ten times as fast as allowed."""
        until = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            while trio.current_time() < until:
                for client in self.connections:
                    self.sent += 1
                    nursery.start_soon(self._send, client)
                await trio.sleep(len(self.connections) / (10 * RATE))

    async def _send(self, client: ChatClient) -> None:
        try:
            await client.say(self.room_id, "x" * 200)
        except Refused:
            return
        self.accepted += 1


def measure(sizes: Sizes) -> list[dict[str, Any]]:
    """Measure how the other clients send, without the flood and during it, by turns."""
    limits = f"limits.messages_per_second={RATE}", f"limits.burst={BURST}"
    with fleet(2, *limits) as running, on_core(LOAD_CORE):
        return [trio.run(_measure, running, sizes)]


async def _measure(running: Fleet, sizes: Sizes) -> dict[str, Any]:
    dice = random.Random(1)
    async with trio.open_nursery() as nursery:
        others: list[tuple[ChatClient, str]] = []
        room_id = ""
        for number in range(sizes.clients):
            client = await ChatClient.open(running.places[number % 2], nursery, f"Client {number}")
            if number % MEMBERS == 0:
                room_id = (await client.ask("create_room"))["roomId"]
            await client.join(room_id)
            others.append((client, room_id))
        first = await ChatClient.open(running.places[0], nursery, "Flood")
        flooding = [first, *[await first.open_another(running.places[1]) for _ in range(2)]]
        for client in flooding:
            await client.join(room_id)
        flood = _Flood(flooding, room_id)
        quiet, flooded = list[list[float]](), list[list[float]]()
        allowed = 0.0
        for _ in range(sizes.repeats):
            quiet.append(await _measure_waits(others, sizes.seconds, dice))
            began = trio.current_time()
            async with trio.open_nursery() as both:
                both.start_soon(flood.run, sizes.seconds)
                flooded.append(await _measure_waits(others, sizes.seconds, dice))
            allowed += BURST + RATE * (trio.current_time() - began)
        for client in (*(client for client, _ in others), *flooding):
            await client.close()
    return {
        "others": len(others),
        "sent": flood.sent,
        "accepted": flood.accepted,
        "allowed": allowed,
        "p50_ms": _of_all(quiet, 0.5),
        "p50_flooded_ms": _of_all(flooded, 0.5),
        "p99_ms": _of_all(quiet, 0.99),
        "p99_flooded_ms": _of_all(flooded, 0.99),
    }


async def _measure_waits(others: list[tuple[ChatClient, str]], seconds: float, dice: random.Random) -> list[float]:
    """Send with all clients, and return how long each message took to be acknowledged, in ms."""
    waits: list[float] = []
    until = trio.current_time() + seconds

    async def send(client: ChatClient, room_id: str, dice: random.Random) -> None:
        await trio.sleep(dice.uniform(0, PAUSE))
        while (sent := trio.current_time()) < until:
            await client.say(room_id, "x" * 200)
            waits.append((trio.current_time() - sent) * 1000)
            await trio.sleep(dice.uniform(0, 2 * PAUSE))

    async with trio.open_nursery() as sending:
        for client, room_id in others:
            sending.start_soon(send, client, room_id, random.Random(dice.random()))
    return waits


def _of_all(runs: list[list[float]], share: float) -> float:
    return median(percentile(waits, share) for waits in runs)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the result of `measure` as a table."""
    return written("Ten times the rate, over two servers", COLUMNS, rows)
