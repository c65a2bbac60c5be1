"""The store's clock, which all servers share."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Tells the store's time from an estimate that is kept here. Neither method does any I/O."""

    def now(self) -> int:
        """Return the estimated time of the store in milliseconds since 1970. It is never behind the store's clock."""
        ...

    def past(self) -> int:
        """Return a time in milliseconds since 1970 that has certainly passed, even if the clock was set forward.

        Use it to decide what has been kept for long enough: a clock that is set forward while this server runs then
        deletes nothing. After such a step, `past` stays behind `now` until this server restarts.
        """
        ...
