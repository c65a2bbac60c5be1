"""People who talk through `evanesce.client`, which comes back by itself: when messages arrive, and what is lost."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import trio

from evanesce.client import Client, Message, Missed, Room, State, open_client
from tests.patience import PATIENCE

PERIOD_SECONDS = 0.5
"""The time between two messages to a room, all of which its first member sends."""


@dataclass
class Deliveries:
    """The delay of each delivery in seconds, how many were due, and what the people noticed."""

    delays: list[float] = field(default_factory=list[float])
    due: int = 0
    doubled: int = 0
    missed: int = 0
    """How often somebody was told that messages are missing."""
    sent_away: int = 0
    """How often somebody's connection ended."""

    @property
    def lost(self) -> int:
        """How many deliveries are missing, beside those of which people were told."""
        return self.due - len(self.delays) + self.missed

    def percentile(self, share: float) -> float:
        """Return the delay that this share of all deliveries stays below, in ms; infinite if there are none."""
        if not self.delays:
            return float("inf")
        ordered = sorted(self.delays)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


class Talk:
    """Rooms of people. In each, the first one sends, and all listen."""

    def __init__(self) -> None:
        self.rooms: list[Sequence[Room]] = []
        self._deliveries = Deliveries()
        self._complete = trio.Event()

    async def measure(self, seconds: float, act: Callable[[], Awaitable[str]] | None = None) -> tuple[Deliveries, str]:
        """Send for at least `seconds`, and until `act` has ended. Return the deliveries, and what `act` returned.

        Fails if messages under way do not arrive in `PATIENCE`.
        """
        self._deliveries = deliveries = Deliveries()
        self._complete = trio.Event()
        ended, said = trio.Event(), ""
        async with trio.open_nursery() as nursery:
            for number, room in enumerate(self.rooms):
                nursery.start_soon(self._send, nursery, room, number * PERIOD_SECONDS / len(self.rooms), ended)
            until = trio.current_time() + seconds
            if act is not None:
                said = await act()
            await trio.sleep_until(until)
            ended.set()
        with trio.move_on_after(PATIENCE):
            while deliveries.lost > deliveries.missed:
                self._complete = trio.Event()
                await self._complete.wait()
        return deliveries, said

    async def listen(self, room: Room) -> None:
        """Note when each message arrives, until the room is left or the task is cancelled."""
        heard: set[str] = set()
        async for event in room:
            if isinstance(event, Missed):
                self._deliveries.missed += 1
            elif isinstance(event, Message) and event.content is not None:
                self._deliveries.doubled += event.message_id in heard
                heard.add(event.message_id)
                self._deliveries.delays.append(time.monotonic() - float(event.content))
                self._complete.set()

    def changed(self, state: State) -> None:
        """Count a connection that ended."""
        self._deliveries.sent_away += state.state == "offline"

    async def _send(self, nursery: trio.Nursery, room: Sequence[Room], offset: float, ended: trio.Event) -> None:
        """Send the time at which each message is due, every `PERIOD_SECONDS`, whether the server is late or not."""
        start = trio.current_time() + offset
        turn = 0
        while True:
            await trio.sleep_until(start + turn * PERIOD_SECONDS)
            if ended.is_set():
                return
            due = time.monotonic() - (trio.current_time() - (start + turn * PERIOD_SECONDS))
            self._deliveries.due += len(room)
            nursery.start_soon(room[0].send, repr(due))
            turn += 1


@asynccontextmanager
async def talking(url: str, rooms: int, members: int) -> AsyncGenerator[Talk]:
    """Connect people, and join them to rooms; they listen until the context ends."""
    talk = Talk()
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        for number in range(rooms):
            joined: list[Room] = []
            for place in range(members):
                credential = {"provider": "guest", "displayName": f"Person {number}.{place}"}
                opened = open_client(url, credential=credential, on_state=talk.changed)
                client: Client = await stack.enter_async_context(opened)
                room_id = joined[0].room_id if joined else (await client.create_room()).room_id
                joined.append(await client.join(room_id))
                nursery.start_soon(talk.listen, joined[-1])
            talk.rooms.append(joined)
        yield talk
        nursery.cancel_scope.cancel()
