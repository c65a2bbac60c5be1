"""Limits of what clients may use: memory of requests, time of the event loop, descriptors, and small frames."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from evanesce.errors import CommandError, ErrorCode
from evanesce_transports.request import Refused

log = logging.getLogger(__name__)

REQUEST_BYTES = 16 * 1024 * 1024
"""The most that the unfinished heads and bodies on one transport take, or two of the largest where that is more."""

WAIT_SECONDS = 1.0
"""How long a request waits for memory before it is refused."""

SLOTS = 4
"""How many handshakes and requests are processed at once: a request takes 1 to 3 ms of the event loop."""

SLOT_SECONDS = 0.05
"""After how long a slot is released: work that takes longer waits for something, and does not use the event loop."""

SUMMARY_SECONDS = 60.0
"""The period of one log line about missing descriptors."""

FRAMES_PER_SECOND = 50.0
"""How many control frames and fragments a client may send in a second."""

FRAMES_AT_ONCE = 64
"""How many of them a client may send at once. A library takes about 2 to 5 ms for them."""

_LEAST_FRAGMENTS = 256
_BYTES_OF_A_FRAGMENT = 256

T = TypeVar("T")


class ByteBudget:
    """Limits the memory of all unfinished requests together to `total` bytes. Requests wait for it in order."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._waiting: deque[_Waiting] = deque()

    @property
    def free(self) -> int:
        """How many bytes are not reserved."""
        return self._free

    async def reserve(self, size: int) -> None:
        """Wait for `size` bytes, after earlier callers. Raises `Refused` where they do not become free in time.

        Nothing is reserved where it is cancelled or raises.
        """
        if not self._waiting and size <= self._free:
            self._free -= size
            return
        waiting = _Waiting(size)
        self._waiting.append(waiting)
        try:
            with trio.move_on_after(WAIT_SECONDS):
                await waiting.served.wait()
                return
        except trio.Cancelled:
            if waiting.served.is_set():
                self._free += size
            raise
        finally:
            if not waiting.served.is_set():
                self._waiting.remove(waiting)
            self._serve()
        if not waiting.served.is_set():
            busy = CommandError(ErrorCode.INTERNAL, "The server has too many requests.", retry_after=WAIT_SECONDS)
            raise Refused(503, busy)

    def release(self, size: int) -> None:
        """Release bytes that were reserved."""
        self._free += size
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self._waiting[0].size <= self._free:
            waiting = self._waiting.popleft()
            self._free -= waiting.size
            waiting.served.set()


class Share:
    """The bytes of a budget that one request has reserved. Its owner calls `release` in the end."""

    __slots__ = ("_budget", "_held")

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._held = 0

    async def reserve(self, size: int) -> None:
        """Reserve `size` further bytes. Raises `Refused` where they do not become free in time."""
        await self._budget.reserve(size)
        self._held += size

    def release(self) -> None:
        """Release all bytes. May be called again."""
        held, self._held = self._held, 0
        if held:
            self._budget.release(held)


class _Waiting:
    __slots__ = ("served", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.served = trio.Event()


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
        """Give free slots to those who wait, and end those whose deadline has passed."""
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


def most_fragments(message_bytes: int) -> int:
    """Return how many fragments a message of up to `message_bytes` may have: each costs as much time as a message."""
    return max(_LEAST_FRAGMENTS, message_bytes // _BYTES_OF_A_FRAGMENT)


class Pace:
    """Limits the rate of one client's frames. Its caller delays reading, so that TCP slows down the client."""

    __slots__ = ("_full_at",)

    def __init__(self) -> None:
        self._full_at = 0.0  # when the client may send FRAMES_AT_ONCE again, in seconds of Trio's clock

    def count(self, frames: int = 1) -> float:
        """Count `frames`, and return how many seconds to wait before more are read: 0 within the limit."""
        now = trio.current_time()
        self._full_at = max(self._full_at, now) + frames / FRAMES_PER_SECOND
        return max(0.0, self._full_at - now - FRAMES_AT_ONCE / FRAMES_PER_SECOND)
