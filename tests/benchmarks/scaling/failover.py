"""Kill one of three servers under load, and measure how soon its clients are served again, and what was lost."""

from __future__ import annotations

import random
import uuid
from typing import Any

import trio

from evanesce.client.connection import Fields
from evanesce.client.errors import Disconnected, Unreachable
from tests.benchmarks.contenders import LOAD_CORE
from tests.benchmarks.load.figures import percentile
from tests.benchmarks.processes import on_core
from tests.benchmarks.scaling.fleet import Fleet, Place, fleet
from tests.benchmarks.scaling.sizes import Sizes
from tests.benchmarks.scaling.tables import table as written
from tests.e2e.clients import ChatClient, ids
from tests.patience import PATIENCE

SERVERS = 3
MEMBERS = 10
PAUSE = 2.0
"""The average pause of a client between two messages, in seconds."""

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
    """A client that sends to a room, and connects to another server at once when it loses its connection."""

    def __init__(self, chat: ChatClient, room_id: str, places: list[Place], dice: random.Random) -> None:
        self.chat = chat
        self.room_id = room_id
        self.places = places
        self.dice = dice
        self.acknowledged: list[str] = []
        self.back_at: list[float] = []

    async def run(self, until: float) -> None:
        await trio.sleep(self.dice.uniform(0, PAUSE))
        while trio.current_time() < until:
            message_id = str(uuid.uuid4())
            await self.ask("send", content="x" * 200, messageId=message_id)
            self.acknowledged.append(message_id)
            with trio.move_on_after(self.dice.uniform(0, 2 * PAUSE)) as pause:
                await self.chat.wait_closed()
            if not pause.cancelled_caught:
                await self.rejoin()

    async def ask(self, kind: str, **fields: str) -> Fields:
        while True:
            try:
                return await self.chat.ask(kind, roomId=self.room_id, **fields)
            except Disconnected:
                await self.rejoin()

    async def rejoin(self) -> None:
        with trio.fail_after(PATIENCE):
            while True:
                self.chat.server = self.dice.choice(self.places)
                try:
                    await self.chat.connect()
                    await self.chat.join(self.room_id, self.chat.cursor(self.room_id))
                except (Unreachable, Disconnected):
                    continue
                self.back_at.append(trio.current_time())
                return


def measure(sizes: Sizes) -> list[dict[str, Any]]:
    """Kill one of three servers while all clients send."""
    with fleet(SERVERS) as running, on_core(LOAD_CORE):
        return [trio.run(_measure, running, sizes)]


async def _measure(running: Fleet, sizes: Sizes) -> dict[str, Any]:
    places = running.places
    victim = places[-1]
    dice = random.Random(1)
    async with trio.open_nursery() as nursery:
        members: list[_Member] = []
        room_id = ""
        for number in range(sizes.clients):
            chat = await ChatClient.open(places[number % SERVERS], nursery, f"Client {number}")
            if number % MEMBERS == 0:
                room_id = (await chat.ask("create_room"))["roomId"]
            await chat.join(room_id)
            members.append(_Member(chat, room_id, places, random.Random(dice.random())))
        affected = [member for member in members if member.chat.server is victim]
        until = trio.current_time() + 2 * sizes.seconds
        async with trio.open_nursery() as running_members:
            for member in members:
                running_members.start_soon(member.run, until)
            await trio.sleep(sizes.seconds / 2)
            running.servers[-1].kill()
            killed_at = trio.current_time()
            places.remove(victim)
        for member in members:
            await member.ask("members")  # a client that has not noticed the loss reconnects now
        await _wait_for_all(members)
        for member in members:
            await member.chat.close()
    away = [member.back_at[0] - killed_at for member in affected]
    sent = {member.room_id: [] for member in members}
    for member in members:
        sent[member.room_id] += member.acknowledged
    received = [(member, ids(member.chat.messages())) for member in members]
    return {
        "people": len(members),
        "lost_connections": len(affected),
        "p50_seconds": percentile(away, 0.5),
        "p99_seconds": percentile(away, 0.99),
        "largest_seconds": max(away),
        "acknowledged": sum(len(messages) for messages in sent.values()),
        "not_heard": sum(len(set(sent[member.room_id]) - set(messages)) for member, messages in received),
        "heard_twice": sum(len(messages) - len(set(messages)) for _, messages in received),
        "missed_unknown": sum(reply["missed"] is None for member in members for reply in _joined(member)),
    }


def _joined(member: _Member) -> list[Fields]:
    return [event for event in member.chat.record if event["type"] == "joined"]


async def _wait_for_all(members: list[_Member]) -> None:
    """Send a last message to each room, and wait until all its members have received it."""
    lasts: dict[str, str] = {}
    for member in members:
        if member.room_id not in lasts:
            lasts[member.room_id] = str(uuid.uuid4())
            await member.ask("send", content="x", messageId=lasts[member.room_id])
    for member in members:
        await member.chat.wait_for_event("message", messageId=lasts[member.room_id])


def table(rows: list[dict[str, Any]]) -> str:
    """Return the result of `measure` as a table."""
    return written("One server of three killed with SIGKILL, at 200 bytes every 2 s from everybody", COLUMNS, rows)
