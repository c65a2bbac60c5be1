"""Faults in a simulation: of the store, the database, the clocks, the notices and the servers, by a seeded chance."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable

import trio
from trio.testing import MockClock

from evanesce.store.control_bus import Notice, NoticesLost
from evanesce.testing.memory_repository import MemoryRepository
from tests.promises.ledger import Ledger
from tests.simulation.people import Gate

PAUSE_SECONDS = 300.0
"""How much time is between two faults, on average."""

NOTICES = 20
"""How many of the last notices may come again."""


class Faults:
    """Lets one fault after the other happen, while the gate is open."""

    def __init__(
        self,
        chance: random.Random,
        *,
        gate: Gate,
        ledger: Ledger,
        repository: MemoryRepository,
        restart: Callable[[str, bool], Awaitable[None]],
        servers: list[str],
        tally: Counter[str],
    ) -> None:
        self._chance = chance
        self._gate = gate
        self._ledger = ledger
        self._repository = repository
        self._restart = restart
        self._servers = servers
        self._tally = tally
        self._notices: list[Notice | NoticesLost] = []
        ledger.listeners.append(self._note)

    def _note(self, notice: Notice | NoticesLost) -> None:
        self._notices = [*self._notices[1 - NOTICES :], notice]

    async def run(self) -> None:
        """Let faults happen, until cancelled."""
        acts: list[Callable[[], Awaitable[None]]] = [
            self._store_down,
            self._store_forgets,
            self._store_slow,
            self._store_silent,
            self._database_down,
            self._database_hangs,
            self._server_stops,
            self._server_dies,
            self._clock_of_the_store,
            self._machine_sleeps,
            self._notices_twice,
        ]
        while True:
            await trio.sleep(self._chance.expovariate(1 / PAUSE_SECONDS))
            await self._gate.passed()
            act = self._chance.choice(acts)
            self._tally[f"fault: {act.__name__[1:].replace('_', ' ')}"] += 1
            self._gate.busy += 1
            try:
                await act()
            finally:
                self._gate.busy -= 1

    async def _for_a_while(self, seconds: float) -> None:
        await trio.sleep(min(10 * seconds, self._chance.expovariate(1 / seconds)))

    async def _store_down(self) -> None:
        self._ledger.go_down()
        await self._for_a_while(15)
        self._ledger.come_back()

    async def _store_forgets(self) -> None:
        self._ledger.go_down()
        await self._for_a_while(3)
        self._ledger.come_back(with_memory=False)

    async def _store_slow(self) -> None:
        """Every answer is late, by less than a caller waits."""
        for _ in range(20):
            self._ledger.hold_answers()
            await trio.sleep(self._chance.uniform(0.01, 0.5))
            self._ledger.release_answers()
            await trio.lowlevel.checkpoint()

    async def _store_silent(self) -> None:
        """Requests are carried out, and their callers do not wait for the answers until they come."""
        self._ledger.hold_answers()
        await self._for_a_while(5)
        self._ledger.release_answers()

    async def _database_down(self) -> None:
        self._repository.state = "down"
        await self._for_a_while(30)
        self._repository.state = "up"

    async def _database_hangs(self) -> None:
        self._repository.state = "hung"
        await self._for_a_while(30)
        self._repository.state = "up"

    async def _server_stops(self) -> None:
        await self._restart(self._chance.choice(self._servers), True)

    async def _server_dies(self) -> None:
        await self._restart(self._chance.choice(self._servers), False)

    async def _clock_of_the_store(self) -> None:
        self._ledger.set_clock(self._chance.choice([-3600, -60, -1, -0.2, 0.2, 1, 60, 3600]))
        await trio.lowlevel.checkpoint()

    async def _machine_sleeps(self) -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        clock.jump(self._chance.uniform(1, 120))
        self._gate.slept_at = trio.current_time()
        await trio.lowlevel.checkpoint()

    async def _notices_twice(self) -> None:
        for notice in self._chance.sample(self._notices, len(self._notices)):
            for listener in list(self._ledger.listeners):
                if listener != self._note:
                    listener(notice)
        await trio.lowlevel.checkpoint()
