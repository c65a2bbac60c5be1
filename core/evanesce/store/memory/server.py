"""What takes the place of Redis: the data that several stores share, and switches for faults."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

import trio

from evanesce.errors import StoreUnavailable
from evanesce.store.control_bus import Notice, NoticesLost
from evanesce.store.events import PresenceChanged, RulesUncertain
from evanesce.store.memory.room import Room

T = TypeVar("T")

STARTED_AT = 1_767_225_600_000
"""The store's time when it is first read: 2026-01-01T00:00:00.000Z."""

ANSWER_SECONDS = 2.0
"""How long a caller waits for an answer that is held back."""


class MemoryServer:
    """The data of several `MemoryStore`s, and the switches for faults. It is the `Clock` of these stores."""

    def __init__(self) -> None:
        self.up = True
        self.rooms: dict[str, Room] = {}
        self.one_time_values: dict[str, tuple[bytes, float]] = {}
        """By their keys, and until when, in seconds of Trio's clock; so are the times of `claimed` and `revoked`."""
        self.claimed: dict[str, float] = {}
        self.settings: dict[str, tuple[Mapping[str, str], float]] = {}
        """The settings that each server published, and when, in seconds of Trio's clock."""
        self.statuses: dict[str, tuple[bytes, float]] = {}
        """The status that each server published, and when, in seconds of Trio's clock."""
        self.identity: str | None = None
        self.buckets: dict[str, float] = {}
        """When each bucket of tokens is full, in seconds as `elapsed`."""
        self.connections: dict[str, dict[str, int]] = {}
        """How many connections each user has on each server."""
        self.expiries: dict[str, float] = {}
        """When the lease of each server expires, in seconds as `elapsed`."""
        self.stores = 0
        """How many stores have ever been on this server."""
        self.lost_at = -math.inf
        self.revoked: dict[str, float] = {}
        self.listeners: list[Callable[[Notice | NoticesLost], None]] = []
        self.postponed: list[Callable[[], object]] = []
        """What is done when the server is up again."""
        self._zero: float | None = None
        self._epochs = 0
        self._released: trio.Event | None = None

    # Time

    def elapsed(self) -> float:
        """Return the seconds since the store's time was first read."""
        if self._zero is None:
            self._zero = trio.current_time()
        return trio.current_time() - self._zero

    def now(self) -> int:
        """Return the store's time in milliseconds, rounded up: never behind."""
        return STARTED_AT + math.ceil(self.elapsed() * 1000 - 1e-3)

    def past(self) -> int:
        """Return the same as `stamp`: this clock is never set."""
        return self.stamp()

    def stamp(self) -> int:
        """Return the store's time in milliseconds, rounded down: the time that is written into messages."""
        return STARTED_AT + math.floor(self.elapsed() * 1000 + 1e-3)

    @property
    def remembers_since(self) -> int:
        """When the data was lost last, in milliseconds of the store's clock; 0: never."""
        return 0 if self.lost_at == -math.inf else STARTED_AT + math.ceil(self.lost_at * 1000)

    def deadline(self, expires_at: int) -> float:
        """Convert `expires_at`, in milliseconds of the store's clock, to Trio's clock."""
        self.elapsed()
        assert self._zero is not None
        return self._zero + (expires_at - STARTED_AT) / 1000

    # Faults

    def when_up(self, act: Callable[[], object]) -> None:
        """Do `act` now, or, while the server is down, when it is up again."""
        if self.up:
            act()
        else:
            self.postponed.append(act)

    def go_down(self) -> None:
        """Refuse every request from now on. Feeds wait."""
        self.up = False

    def come_back(self, *, with_memory: bool = True) -> None:
        """Answer again, with the stored data or without. The members of rooms are restored in both cases."""
        self.up = True
        for act in self.postponed:
            act()
        self.postponed.clear()
        for listener in self.listeners:
            listener(NoticesLost())
        for room in self.rooms.values():
            if not with_memory:
                self._epochs += 1
                room.epoch, room.count = f"e{self._epochs}", 0
                room.live.clear()
                room.unsent.clear()
                room.forget_rules()
            room.version += 1
            for feed in room.feeds:
                if not with_memory:
                    feed.lose(room.number, room.version)
                feed.give([PresenceChanged(room.presence(feed.roster)), RulesUncertain()])
        if not with_memory:
            self._forget()

    def _forget(self) -> None:
        for data in (self.one_time_values, self.revoked, self.claimed, self.settings, self.buckets, self.connections):
            data.clear()
        self.identity = None
        self.expiries = {name: until for name, until in self.expiries.items() if until == math.inf}
        self.lost_at = self.elapsed()

    def hold_answers(self) -> None:
        """Carry out requests but keep the answers, until `release_answers`; callers give up after `ANSWER_SECONDS`."""
        self._released = trio.Event()

    def release_answers(self) -> None:
        """Deliver the answers that were held, and hold no more."""
        if self._released is not None:
            self._released.set()
            self._released = None

    async def ask(self, act: Callable[[], T]) -> T:
        """Carry out one request, all of it at once, under the faults that are switched on."""
        await trio.lowlevel.checkpoint()
        if not self.up:
            raise StoreUnavailable()
        answer = act()
        if (released := self._released) is not None:
            with trio.move_on_after(ANSWER_SECONDS) as patience:
                await released.wait()
            if patience.cancelled_caught:
                raise StoreUnavailable()
        return answer

    def call(self, act: Callable[[], T], done: Callable[[T | StoreUnavailable], None]) -> None:
        """Carry out one request as `ask` does, without waiting: `done` is called with its answer."""
        if not self.up:
            raise StoreUnavailable()
        answer = act()
        if self._released is None:
            trio.lowlevel.current_trio_token().run_sync_soon(done, answer)
        else:
            trio.lowlevel.spawn_system_task(self._answer_late, self._released, answer, done)

    async def _answer_late(self, released: trio.Event, answer: T, done: Callable[[T | StoreUnavailable], None]) -> None:
        with trio.move_on_after(ANSWER_SECONDS) as patience:
            await released.wait()
        done(StoreUnavailable() if patience.cancelled_caught else answer)

    def room(self, room_id: str) -> Room:
        """Return the present state of a room. It is created on first use."""
        room = self.rooms.get(room_id)
        if room is None:
            self._epochs += 1
            room = self.rooms[room_id] = Room(f"e{self._epochs}")
        room.purge(trio.current_time())
        return room
