"""The server's clock, as a client knows it: the local time of day is never compared with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import trio

from evanesce.client.events import seconds


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment by both local clocks, in seconds."""

    monotonic: float
    wall: float


class ServerClock:
    """Counts on from the last time that the server has told.

    What has elapsed is the larger of what two local clocks say: the monotonic one may stand still while the computer
    sleeps, and the time of day may be set back. A time of day that was set forward makes messages expire too early,
    until the server is asked again.
    """

    def __init__(
        self, monotonic: Callable[[], float] = trio.current_time, wall: Callable[[], float] = time.time
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._told = 0.0
        self._told_at = self.mark()

    def set(self, server_time: object, asked_at: Mark | None = None) -> None:
        """Take a time of the server. Raises `ValueError` for what is none.

        `asked_at` is when it was asked for: the answer is assumed to be half of the round trip old.
        """
        self._told = seconds(server_time)
        if asked_at is not None:
            self._told += self.since(asked_at) / 2
        self._told_at = self.mark()

    def now(self) -> float:
        """Return the server's time in seconds since 1970. It means nothing before `set`."""
        return self._told + self.since(self._told_at)

    def mark(self) -> Mark:
        """Return this moment, for `since`."""
        return Mark(self._monotonic(), self._wall())

    def since(self, mark: Mark) -> float:
        """Return the seconds that have elapsed since `mark`, sleep of the computer included."""
        return max(self._monotonic() - mark.monotonic, self._wall() - mark.wall, 0.0)
