"""Somebody talks ten times as fast as anybody may, on two servers: how much is taken, and how long others wait."""

from __future__ import annotations

import random
from statistics import median
from typing import Any

import trio

from evanesce.cli.client import Refused
from tests.benchmarks.contenders import LOAD_CORE
from tests.benchmarks.load.figures import percentile
from tests.benchmarks.processes import on_core
from tests.benchmarks.scaling.fleet import Fleet, fleet
from tests.benchmarks.scaling.sizes import Sizes
from tests.benchmarks.scaling.tables import table as written
from tests.e2e.people import Person

RATE, BURST = 5, 20
MEMBERS = 10
PAUSE = 1.0
"""How long one of the others says nothing, on average, in seconds."""

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
    """One person on three connections to two servers, who does not wait for answers."""

    def __init__(self, connections: list[Person], room_id: str) -> None:
        self.connections = connections
        self.room_id = room_id
        self.sent = 0
        self.accepted = 0

    async def rage(self, seconds: float) -> None:
        """Send ten times as fast as allowed."""
        until = trio.current_time() + seconds
        async with trio.open_nursery() as answers:
            while trio.current_time() < until:
                for person in self.connections:
                    self.sent += 1
                    answers.start_soon(self._send, person)
                await trio.sleep(len(self.connections) / (10 * RATE))

    async def _send(self, person: Person) -> None:
        try:
            await person.say(self.room_id, "x" * 200)
        except Refused:
            return
        self.accepted += 1


def measure(sizes: Sizes) -> list[dict[str, Any]]:
    """Have others talk without the flood and in it, by turns."""
    limits = f"limits.messages_per_second={RATE}", f"limits.burst={BURST}"
    with fleet(2, *limits) as running, on_core(LOAD_CORE):
        return [trio.run(_measure, running, sizes)]


async def _measure(running: Fleet, sizes: Sizes) -> dict[str, Any]:
    dice = random.Random(1)
    async with trio.open_nursery() as nursery:
        others: list[tuple[Person, str]] = []
        room_id = ""
        for number in range(sizes.talkers):
            person = await Person.arrive(running.places[number % 2], nursery, f"Person {number}")
            if number % MEMBERS == 0:
                room_id = (await person.ask("create_room"))["roomId"]
            await person.join(room_id)
            others.append((person, room_id))
        first = await Person.arrive(running.places[0], nursery, "Flood")
        loud = [first, *[await first.connected_to(running.places[1]) for _ in range(2)]]
        for person in loud:
            await person.join(room_id)
        flood = _Flood(loud, room_id)
        quiet, flooded = list[list[float]](), list[list[float]]()
        allowed = 0.0
        for _ in range(sizes.repeats):
            quiet.append(await _talk(others, sizes.seconds, dice))
            began = trio.current_time()
            async with trio.open_nursery() as both:
                both.start_soon(flood.rage, sizes.seconds)
                flooded.append(await _talk(others, sizes.seconds, dice))
            allowed += BURST + RATE * (trio.current_time() - began)
        for person in (*(person for person, _ in others), *loud):
            await person.leave()
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


async def _talk(others: list[tuple[Person, str]], seconds: float, dice: random.Random) -> list[float]:
    """Have everybody talk; gives how long each message took to be acknowledged, in ms."""
    waits: list[float] = []
    until = trio.current_time() + seconds

    async def talk(person: Person, room_id: str, dice: random.Random) -> None:
        await trio.sleep(dice.uniform(0, PAUSE))
        while (sent := trio.current_time()) < until:
            await person.say(room_id, "x" * 200)
            waits.append((trio.current_time() - sent) * 1000)
            await trio.sleep(dice.uniform(0, 2 * PAUSE))

    async with trio.open_nursery() as talking:
        for person, room_id in others:
            talking.start_soon(talk, person, room_id, random.Random(dice.random()))
    return waits


def _of_all(runs: list[list[float]], share: float) -> float:
    return median(percentile(waits, share) for waits in runs)


def table(rows: list[dict[str, Any]]) -> str:
    """Write what `measure` gave."""
    return written("Ten times the rate, over two servers", COLUMNS, rows)
