"""How the portal fails, when a test or somebody at a staging wants it to."""

from __future__ import annotations

import enum

import trio


class Fault(enum.StrEnum):
    """One way to fail."""

    DOWN = "down"
    """The connection is closed before anything is done."""
    SLOW = "slow"
    """Nothing is done, and nothing answered, until the fault is lifted."""
    LATE = "late"
    """What was asked is done, and then the connection closed without an answer."""
    HTML = "html"
    """A gateway in front of the portal answers: 503, with a page."""
    ERROR = "error"
    """The portal's own fault: 500, `internal_error`."""
    REFUSE = "refuse"
    """200, with `success` false."""


class Faults:
    """What goes wrong now. `skew`: by how many seconds the portal's `Date` is ahead."""

    def __init__(self) -> None:
        self.skew = 0.0
        self._fault: Fault | None = None
        self._changed = trio.Event()

    @property
    def fault(self) -> Fault | None:
        """What goes wrong; None where nothing does."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        self._fault = fault
        self._changed.set()
        self._changed = trio.Event()

    async def hold(self) -> None:
        """Wait for as long as the portal is slow."""
        while self._fault is Fault.SLOW:
            await self._changed.wait()
