"""Limits of the work for new clients: the time of the event loop that they take, and the descriptors."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

log = logging.getLogger(__name__)

SLOTS = 4
"""How many handshakes and requests are processed at once: a request takes 1 to 3 ms of the event loop."""

SLOT_SECONDS = 0.05
"""After how long a slot is released: work that takes longer waits for something, and does not use the event loop."""

SUMMARY_SECONDS = 60.0
"""The period of one log line about missing descriptors."""

T = TypeVar("T")


class WorkSlots:
    """Limits how many handshakes and requests are processed at once, so that many new clients do not delay others.

    `watch` has to run in one task.
    """

    def __init__(self) -> None:
        self._taken: dict[object, float] = {}  # when each slot is released, in seconds of Trio's clock, the first first
        self._waiting: dict[_Turn, None] = {}  # in order
        self._came = trio.lowlevel.ParkingLot()

    async def run(self, work: Callable[[], Awaitable[T]], *, deadline: float) -> T | None:
        """Wait for a slot, call `work` and return its result; None where no slot is free before `deadline`.

        Those who came before have to get a slot, or to pass their deadline, first. After `SLOT_SECONDS` the slot is
        free again, even where `work` goes on.
        """
        slot = object()
        try:
            # In each turn of the scheduler no more is done than the slots allow, even where `work` never waits.
            if not self._waiting and self._take(slot):
                await trio.lowlevel.checkpoint()
            elif not await self._wait(slot, deadline):
                return None
            return await work()
        finally:
            self._taken.pop(slot, None)
            self._serve()

    async def watch(self) -> None:
        """Release slots, and end waiting, when it is time, until cancelled.

        One task does it for all: a timer for each who waits would cost as much as the handshake.
        """
        while True:
            if not self._waiting:
                await self._came.park()
                continue
            first = min(turn.deadline for turn in self._waiting)
            await trio.sleep_until(min([first, *itertools.islice(self._taken.values(), 1)]))
            now = trio.current_time()
            for turn in [turn for turn in self._waiting if turn.deadline <= now]:
                self._end(turn)
            self._serve()

    async def _wait(self, slot: object, deadline: float) -> bool:
        """Wait for a slot; return False where `deadline` passed before."""
        turn = _Turn(slot, deadline, trio.lowlevel.current_task())
        if not self._waiting:
            self._came.unpark()
        self._waiting[turn] = None

        def abort(_: object) -> trio.lowlevel.Abort:
            del self._waiting[turn]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        return turn.served

    def _serve(self) -> None:
        """Assign free slots to those who wait, and end those whose deadline has passed."""
        while self._waiting:
            turn = next(iter(self._waiting))
            if turn.deadline > trio.current_time():
                if not self._take(turn.slot):
                    return
                turn.served = True
            self._end(turn)

    def _end(self, turn: _Turn) -> None:
        del self._waiting[turn]
        trio.lowlevel.reschedule(turn.task)

    def _take(self, slot: object) -> bool:
        """Take a slot, and return True; False where none is free."""
        if len(self._taken) >= SLOTS:
            now = trio.current_time()
            while self._taken and next(iter(self._taken.values())) <= now:
                del self._taken[next(iter(self._taken))]
            if len(self._taken) >= SLOTS:
                return False
        self._taken[slot] = trio.current_time() + SLOT_SECONDS
        return True


class _Turn:
    """A task that waits for a slot. `served`: it has got it."""

    __slots__ = ("deadline", "served", "slot", "task")

    def __init__(self, slot: object, deadline: float, task: trio.lowlevel.Task) -> None:
        self.slot = slot
        self.deadline = deadline
        self.task = task
        self.served = False


class DescriptorShortage:
    """Reports in the log how long new clients had to wait for descriptors, once a minute.

    `report` has to run in one task.
    """

    def __init__(self) -> None:
        self._began = trio.Event()
        self._waited = 0.0

    async def wait(self, seconds: float) -> None:
        """Wait `seconds` for a free descriptor."""
        self._began.set()
        self._waited += seconds
        await trio.sleep(seconds)

    async def report(self) -> None:
        """Log the beginning of a shortage, and then its length in each minute, until cancelled."""
        while True:
            await self._began.wait()
            log.warning(
                "no descriptors are left for clients: new clients wait until others leave."
                " Raise the hard limit of open files (ulimit -Hn, LimitNOFILE=)"
            )
            self._waited = 0.0
            await trio.sleep(SUMMARY_SECONDS)
            while self._waited:
                log.warning(
                    "no descriptors were left for clients: new clients waited for %.0f s of the last %.0f s",
                    self._waited,
                    SUMMARY_SECONDS,
                )
                self._waited = 0.0
                await trio.sleep(SUMMARY_SECONDS)
            self._began = trio.Event()
