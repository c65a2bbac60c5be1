"""When to connect again, and which address to use."""

from __future__ import annotations

import random

LONGEST_PAUSE = 30.0
"""The longest pause before another attempt, in seconds, unless the server asks for a longer one."""

LONGEST_DEMANDED_PAUSE = 3600.0
"""The longest pause that a server can ask for, in seconds."""

JITTER = 0.2
"""By which part the pause that a server asks for grows at most, so that not all of its clients come at once."""

STABLE_SECONDS = 10.0
"""After how many seconds online the pauses are short again."""

UNHINTED = 3
"""Every third attempt in a row does not name a room in the address: another worker may be reachable."""


class Backoff:
    """Counts the attempts to connect. `dice` is where its random numbers come from."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._attempt = 0
        self._opened = 0

    def opening(self) -> bool:
        """Note that a connection is going to be opened, and return whether its address may name a room."""
        self._opened += 1
        return self._opened % UNHINTED != 0

    def welcomed(self) -> None:
        """Note that the server has answered `hello`."""
        self._opened = 0

    def pause(self, online_seconds: float, demanded: float | None) -> float:
        """Return the seconds until the next attempt.

        `online_seconds` is how long the last connection was online, and `demanded` the `reconnectAfter` of the server.
        """
        if online_seconds >= STABLE_SECONDS:
            self._attempt = 0
        longest = min(LONGEST_PAUSE, 2.0 ** min(self._attempt, 10))
        self._attempt += 1
        if demanded is not None:
            return min(max(demanded, 0.0), LONGEST_DEMANDED_PAUSE) * self._dice.uniform(1, 1 + JITTER)
        return self._dice.uniform(0, longest)
