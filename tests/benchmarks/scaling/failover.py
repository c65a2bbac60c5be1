"""A server of three is killed under people who talk: how soon they are served again, and whether anything was lost."""

from __future__ import annotations

import random
import uuid
from typing import Any

import trio

from evanesce.cli.client import Disconnected, Fields, Unreachable
from tests.benchmarks.contenders import LOAD_CORE
from tests.benchmarks.load.figures import percentile
from tests.benchmarks.processes import on_core
from tests.benchmarks.scaling.fleet import Fleet, Place, fleet
from tests.benchmarks.scaling.sizes import Sizes
from tests.benchmarks.scaling.tables import table as written
from tests.e2e.people import Person, ids

SERVERS = 3
MEMBERS = 10
PAUSE = 2.0
"""How long somebody says nothing, on average, in seconds."""

COLUMNS = {
    "people": ("people", ""),
    "lost_connections": ("on the killed server", ""),
    "p50_seconds": ("served again after s, p50", ".2f"),
    "p99_seconds": ("p99", ".2f"),
    "largest_seconds": ("the last", ".2f"),
    "acknowledged": ("messages acknowledged", ",d"),
    "not_heard": ("of them not heard by a member", ",d"),
    "heard_twice": ("heard twice", ",d"),
    "missed_unknown": ("resumes that do not know what they missed", ",d"),
}


class _Member:
    """Somebody who talks in a room, and goes to another server at once where the connection is lost."""

    def __init__(self, person: Person, room_id: str, places: list[Place], dice: random.Random) -> None:
        self.person = person
        self.room_id = room_id
        self.places = places
        self.dice = dice
        self.acknowledged: list[str] = []
        self.back_at: list[float] = []

    async def talk(self, until: float) -> None:
        await trio.sleep(self.dice.uniform(0, PAUSE))
        while trio.current_time() < until:
            message_id = str(uuid.uuid4())
            await self.ask("send", content="x" * 200, messageId=message_id)
            self.acknowledged.append(message_id)
            with trio.move_on_after(self.dice.uniform(0, 2 * PAUSE)) as pause:
                await self.person.hears_the_end()
            if not pause.cancelled_caught:
                await self.come_back()

    async def ask(self, kind: str, **fields: str) -> Fields:
        while True:
            try:
                return await self.person.ask(kind, roomId=self.room_id, **fields)
            except Disconnected:
                await self.come_back()

    async def come_back(self) -> None:
        while True:
            self.person.server = self.dice.choice(self.places)
            try:
                await self.person.connect()
                await self.person.join(self.room_id, self.person.cursor(self.room_id))
            except (Unreachable, Disconnected):
                continue
            self.back_at.append(trio.current_time())
            return


def measure(sizes: Sizes) -> list[dict[str, Any]]:
    """Kill one of three servers while all talk."""
    with fleet(SERVERS) as running, on_core(LOAD_CORE):
        return [trio.run(_measure, running, sizes)]


async def _measure(running: Fleet, sizes: Sizes) -> dict[str, Any]:
    places = running.places
    victim = places[-1]
    dice = random.Random(1)
    async with trio.open_nursery() as nursery:
        members: list[_Member] = []
        room_id = ""
        for number in range(sizes.people):
            person = await Person.arrive(places[number % SERVERS], nursery, f"Person {number}")
            if number % MEMBERS == 0:
                room_id = (await person.ask("create_room"))["roomId"]
            await person.join(room_id)
            members.append(_Member(person, room_id, places, random.Random(dice.random())))
        struck = [member for member in members if member.person.server is victim]
        until = trio.current_time() + 2 * sizes.seconds
        async with trio.open_nursery() as talking:
            for member in members:
                talking.start_soon(member.talk, until)
            await trio.sleep(sizes.seconds / 2)
            running.servers[-1].kill()
            killed_at = trio.current_time()
            places.remove(victim)
        for member in members:
            await member.ask("members")  # whoever heard nothing since comes back now
        await _all_is_heard(members)
        for member in members:
            await member.person.leave()
    away = [member.back_at[0] - killed_at for member in struck]
    said = {member.room_id: [] for member in members}
    for member in members:
        said[member.room_id] += member.acknowledged
    heard = [(member, ids(member.person.messages())) for member in members]
    return {
        "people": len(members),
        "lost_connections": len(struck),
        "p50_seconds": percentile(away, 0.5),
        "p99_seconds": percentile(away, 0.99),
        "largest_seconds": max(away),
        "acknowledged": sum(len(messages) for messages in said.values()),
        "not_heard": sum(len(set(said[member.room_id]) - set(messages)) for member, messages in heard),
        "heard_twice": sum(len(messages) - len(set(messages)) for _, messages in heard),
        "missed_unknown": sum(visit["missed"] is None for member in members for visit in _visits(member)),
    }


def _visits(member: _Member) -> list[Fields]:
    return [event for event in member.person.record if event["type"] == "joined"]


async def _all_is_heard(members: list[_Member]) -> None:
    """Have one of each room say a last thing, and wait until all of the room have heard it."""
    lasts: dict[str, str] = {}
    for member in members:
        if member.room_id not in lasts:
            lasts[member.room_id] = str(uuid.uuid4())
            await member.ask("send", content="x", messageId=lasts[member.room_id])
    for member in members:
        await member.person.hears_of("message", messageId=lasts[member.room_id])


def table(rows: list[dict[str, Any]]) -> str:
    """Write what `measure` gave."""
    return written("One server of three killed with SIGKILL, at 200 bytes every 2 s from everybody", COLUMNS, rows)
