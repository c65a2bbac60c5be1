"""The store's clock, as well as it is known here: never behind it, ahead by no more than a round trip."""

from __future__ import annotations

import math
import time
from collections import deque

import trio

SAMPLES = 6
"""How many of the last measurements count: the best of them is taken."""


class Clock:
    """How far the store's clock is from this machine's steady one.

    The store read its clock after the request was sent and before the answer came. So what it read, less the moment
    of sending, is too large by at most the round trip, and less the moment of the answer it is too small.
    """

    def __init__(self) -> None:
        self._offsets: deque[float] = deque([(time.time() - time.monotonic()) * 1000], maxlen=SAMPLES)
        self._measured = False
        self._offset = self._offsets[0]

    def measured(self, read: int, sent: float, answered: float) -> None:
        """Take a measurement: the store read `read` ms; sent and answered in seconds of `time.monotonic`."""
        if not self._measured or read - answered * 1000 > self._offset:
            # The first, or the store's clock was set forward: what was measured before is worth nothing.
            self._offsets.clear()
            self._measured = True
        self._offsets.append(read + 1 - sent * 1000)
        self._offset = min(self._offsets)

    def witnessed(self, read: int) -> None:
        """Take note of a time of the store that has certainly come: `read` ms."""
        offset = read - time.monotonic() * 1000
        if offset > self._offset:
            self._offsets.clear()
            self._offsets.append(offset)
            self._offset = offset

    def now(self) -> int:
        """Give the store's time in milliseconds."""
        return math.ceil(self._exactly())

    def deadline(self, at: int) -> float:
        """Give when it is `at` ms of the store's clock in seconds of Trio's, rather too early than too late."""
        return trio.current_time() + (at - self._exactly()) / 1000

    def _exactly(self) -> float:
        return self._offset + time.monotonic() * 1000
