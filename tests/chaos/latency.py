"""Measure the delivery of messages: reference clients send at a steady rate, and note when each member receives."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import trio

from tests.chaos.client import REFERENCE_ADDRESS, Client, ConnectionEnded, signed_in

ROOMS = 10
MEMBERS = 3
PERIOD_SECONDS = 0.25
"""The time between two messages to a room: four a second, which the limits allow one user."""

CONNECT_PAUSE_SECONDS = 0.06
"""The pause before each connection: one address may begin fewer than 20 handshakes a second."""


@dataclass
class Deliveries:
    """The delay of each delivery in seconds, the number of messages sent, and the number of lost connections."""

    delays: list[float] = field(default_factory=list[float])
    sent: int = 0
    lost: int = 0

    @property
    def missing(self) -> int:
        """How many deliveries are missing."""
        return self.sent * MEMBERS - len(self.delays)

    def percentile(self, share: float) -> float:
        """Return the delay that this share of all deliveries stays below, in ms; infinite if there are none."""
        if not self.delays:
            return float("inf")
        ordered = sorted(self.delays)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


class LatencyProbe:
    """Rooms of reference clients. The first member of each room sends."""

    def __init__(self, rooms: Sequence[tuple[str, Sequence[Client]]]) -> None:
        self._rooms = rooms
        self._deliveries = Deliveries()
        self._complete = trio.Event()

    @property
    def room_ids(self) -> list[str]:
        """The ids of the rooms."""
        return [room_id for room_id, _ in self._rooms]

    async def measure(self, seconds: float, drain_seconds: float = 2.0) -> Deliveries:
        """Send for `seconds`, wait at most `drain_seconds` for messages under way, and return the deliveries."""
        self._deliveries = deliveries = Deliveries()
        async with trio.open_nursery() as nursery:
            for number, (room_id, members) in enumerate(self._rooms):
                nursery.start_soon(self._send, members[0], room_id, number * PERIOD_SECONDS / len(self._rooms), seconds)
        if deliveries.missing:
            self._complete = trio.Event()
            with trio.move_on_after(drain_seconds):
                await self._complete.wait()
        self._deliveries = Deliveries()
        return deliveries

    async def receive(self, member: Client) -> None:
        """Note the delay of each message that a member receives, until its connection ends."""
        try:
            while True:
                for event in await member.receive():
                    if event["type"] == "message":
                        word, _, due = event["content"].partition(" ")
                        if word == "at":
                            self._deliveries.delays.append(time.monotonic() - float(due))
                            if not self._deliveries.missing:
                                self._complete.set()
        except ConnectionEnded:
            self._deliveries.lost += 1

    async def _send(self, sender: Client, room_id: str, offset: float, seconds: float) -> None:
        """Send the time at which each message is due, every `PERIOD_SECONDS`, whether the server is late or not."""
        deliveries = self._deliveries
        start = trio.current_time() + offset
        for turn in range(int(seconds / PERIOD_SECONDS)):
            await trio.sleep_until(start + turn * PERIOD_SECONDS)
            due = time.monotonic() - (trio.current_time() - (start + turn * PERIOD_SECONDS))
            deliveries.sent += 1
            try:
                await sender.send(type="send", roomId=room_id, content=f"at {due!r}")
            except ConnectionEnded:
                return


@asynccontextmanager
async def latency_probe(port: int, rooms: int = ROOMS) -> AsyncIterator[LatencyProbe]:
    """Connect reference clients, and join them to rooms; they receive until the context ends."""
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        joined: list[tuple[str, list[Client]]] = []
        for number in range(rooms):
            members: list[Client] = []
            for place in range(MEMBERS):
                await trio.sleep(CONNECT_PAUSE_SECONDS)
                client = signed_in(port, REFERENCE_ADDRESS, f"Reference {number}.{place}")
                members.append(await stack.enter_async_context(client))
            reply = await members[0].ask(type="create_room")
            for member in members:
                await member.ask(type="join", roomId=reply["roomId"])
            joined.append((reply["roomId"], members))
        probe = LatencyProbe(joined)
        for _, members in joined:
            for member in members:
                nursery.start_soon(probe.receive, member)
        yield probe
        nursery.cancel_scope.cancel()
