"""An estimate of the store's clock: never behind it, and ahead by at most a round trip.

Durations (deadlines, waits, rates) are measured by the monotonic clock of this machine. Times of day are the store's,
so that all servers have the same clock. If it is set, the next measurement shows it. The time of day of this machine is
used only until the store has answered for the first time.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import trio

from evanesce.errors import StoreUnavailable

LEAD_SECONDS = 10.0
"""After how long without a measurement the clock of another primary is followed."""

SAMPLES = 6
"""How many of the last measurements are kept. The best of them is used."""

STEP = 1_000
"""By how many milliseconds the store's clock has to be set back for `on_step_back` to be called.

This is far more than the time of a busy Redis may lag behind.
"""

REST_SECONDS = 0.1
"""The shortest time between two measurements by `remeasure`."""


class Step(NamedTuple):
    """The store's clock was set back by `back` ms or a little more, at `began` or later by the new clock."""

    back: int
    began: int


class _Sample(NamedTuple):
    """The bounds of how far the store's clock is ahead of the monotonic one, in milliseconds, and when it was asked."""

    most: float
    least: float
    sent: float


class Clock:
    """The difference between the store's clock and the monotonic one of this machine.

    The store reads its clock after the request was sent and before the answer arrives. So its time minus the time of
    sending is too large, by at most the round trip, and its time minus the time of the answer is too small.
    """

    def __init__(self) -> None:
        own = (time.time() - time.monotonic()) * 1000
        self._samples: deque[_Sample] = deque([_Sample(own, -math.inf, -math.inf)], maxlen=SAMPLES)
        self._measured = False
        self._measured_at = 0.0
        self._offset = own
        self._past = own  # the smallest offset since the start
        self._remeasuring: trio.Event | None = None
        self._measure: Callable[[], Awaitable[None]] | None = None
        self._stepped: list[Callable[[Step], None]] = []

    def on_step_back(self, stepped: Callable[[Step], None]) -> None:
        """Call `stepped` when the store's clock was set back by more than `STEP` ms."""
        self._stepped.append(stepped)

    def on_remeasure(self, measure: Callable[[], Awaitable[None]]) -> None:
        """Set the function that `remeasure` calls: it makes a measurement, or raises `StoreUnavailable`."""
        self._measure = measure

    async def remeasure(self) -> None:
        """Measure the clock, once for all callers at the same time. Do nothing if the store does not answer."""
        if self._measure is None:
            await trio.lowlevel.checkpoint()
            return
        if self._remeasuring is not None:
            await self._remeasuring.wait()
            return
        self._remeasuring = trio.Event()
        try:
            await trio.sleep(max(0.0, self._measured_at + REST_SECONDS - time.monotonic()))
            await self._measure()
        except StoreUnavailable:
            return
        finally:
            self._remeasuring.set()
            self._remeasuring = None

    def measured(self, read: int, sent: float, answered: float) -> None:
        """Take a measurement: the store's time `read` in ms, `sent` and `answered` in seconds of `time.monotonic`."""
        sample = _Sample(read + 1 - sent * 1000, read - answered * 1000, sent)
        step: Step | None = None
        if not self._measured or sample.least > self._offset:
            # The first measurement, or the store's clock was set forward: earlier measurements are not valid.
            self._samples.clear()
        elif (back := max(known.least for known in self._samples) - sample.most) > STEP:
            step = Step(math.floor(back), math.floor(read - (answered - self._samples[-1].sent) * 1000))
            self._samples.clear()
        self._measured = True
        self._measured_at = answered
        self._samples.append(sample)
        self._offset = min(known.most for known in self._samples)
        self._past = min(self._past, self._offset)
        if step is not None:
            for stepped in self._stepped:
                stepped(step)

    def witnessed(self, read: int) -> None:
        """Use a time of the store, in ms, that it read a moment ago: the clock cannot be behind it."""
        offset = read - time.monotonic() * 1000
        if offset > self._offset:
            self._samples.clear()
            self._samples.append(_Sample(offset, -math.inf, -math.inf))
            self._offset = offset

    def now(self) -> int:
        """See `evanesce.store.clock.Clock.now`."""
        return math.ceil(self._offset + time.monotonic() * 1000)

    def at_least(self) -> int:
        """Return a time in milliseconds that the store's clock has reached: at most a round trip before `now`."""
        least = max(known.least for known in self._samples)
        return math.floor(min(least, self._offset) + time.monotonic() * 1000) if least > -math.inf else self.now()

    def past(self) -> int:
        """See `evanesce.store.clock.Clock.past`."""
        return math.floor(self._past + time.monotonic() * 1000)

    def deadline(self, at: int) -> float:
        """Convert `at`, in ms of the store's clock, to seconds of Trio's. The result may be early, but not late."""
        return trio.current_time() + self.seconds_until(at)

    def seconds_until(self, at: int) -> float:
        """Return in how many seconds it is `at`, in ms of the store's clock: rather too few than too many."""
        return (at - self._offset) / 1000 - time.monotonic()


class SharedClock(Clock):
    """The clock of a whole store: it follows the clock of one primary, and of another one if that is down.

    The measurements come from `LedClock`s.
    """

    def __init__(self) -> None:
        super().__init__()
        self._leader: Clock | None = None
        self._led_at = -math.inf

    async def remeasure(self) -> None:
        """Measure the clock that is followed; this one if none is."""
        if self._leader is None:
            await super().remeasure()
        else:
            await self._leader.remeasure()

    def led(self, leader: Clock, read: int, sent: float, answered: float) -> None:
        """Take a measurement of the clock of one primary. It is ignored while that of another primary is followed."""
        if leader is self._leader or answered - self._led_at > LEAD_SECONDS:
            self._leader, self._led_at = leader, answered
            self.measured(read, sent, answered)


class LedClock(Clock):
    """The clock of one primary, which passes each measurement to the shared clock."""

    def __init__(self, shared: SharedClock) -> None:
        super().__init__()
        self._shared = shared

    def measured(self, read: int, sent: float, answered: float) -> None:
        """See `Clock.measured`."""
        super().measured(read, sent, answered)
        self._shared.led(self, read, sent, answered)
