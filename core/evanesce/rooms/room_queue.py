"""A queue of rooms for which something has to be done until it has succeeded."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import trio

AT_ONCE = 8
"""For how many rooms it is done at the same time: those that a dead primary of the store delays delay no others."""

RETRY_SECONDS = 1.0
"""The delay before it is tried again for a room for which it has failed."""


class RoomQueue:
    """The rooms that wait; `act` returns False where it has to be tried again. `run` must run beside it.

    For one room `act` runs once at a time. At most `most` rooms wait: above that, the one that has waited longest is
    forgotten.
    """

    def __init__(self, act: Callable[[str], Awaitable[bool]], most: int) -> None:
        self._act = act
        self._most = most
        self._waiting: OrderedDict[str, None] = OrderedDict()
        self._resting: OrderedDict[str, float] = OrderedDict()  # it has failed, and is tried again at this time
        self._running: dict[str, bool] = {}  # whether the room was put in again meanwhile
        self._work = trio.Event()

    def put(self, room_id: str) -> None:
        """Queue a room, unless it waits already."""
        if room_id in self._running:
            self._running[room_id] = True
        elif room_id not in self._resting:
            self._waiting[room_id] = None
            self._forget_what_is_too_much()
            self._work.set()

    async def run(self) -> None:
        """Act for the rooms that are queued, until cancelled."""
        slots = trio.Semaphore(AT_ONCE)
        async with trio.open_nursery() as nursery:
            while True:
                await slots.acquire()
                room_id = await self._next()
                self._running[room_id] = False
                nursery.start_soon(self._try, room_id, slots)

    async def _next(self) -> str:
        while True:
            while self._resting and next(iter(self._resting.values())) <= trio.current_time():
                self._waiting[self._resting.popitem(last=False)[0]] = None
            if self._waiting:
                return self._waiting.popitem(last=False)[0]
            self._work = trio.Event()
            with trio.move_on_at(next(iter(self._resting.values()), math.inf)):
                await self._work.wait()

    async def _try(self, room_id: str, slots: trio.Semaphore) -> None:
        done = await self._act(room_id)
        again = self._running.pop(room_id)
        if not done:
            self._resting[room_id] = trio.current_time() + RETRY_SECONDS
            self._forget_what_is_too_much()
            self._work.set()
        elif again:
            self.put(room_id)
        slots.release()

    def _forget_what_is_too_much(self) -> None:
        if len(self._waiting) + len(self._resting) > self._most:
            # What rests was put in before, and has failed: what has just come must not go in its place.
            (self._resting or self._waiting).popitem(last=False)
