"""Checks of the outside parts: each runs on request, but not while its last result is kept."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping

import trio

from evanesce.errors import PersistenceUnavailable, Unavailable
from evanesce.interfaces import Repository
from evanesce.logs import folded
from evanesce.writebehind import WriteBehind

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
"""How long a check may take before its part counts as down."""

KEEP_SECONDS = 2.0
"""How long the result of a check is kept."""

ANSWER_SECONDS = 1.25
"""How long a request waits for checks. A part whose check has not ended by then counts as down."""


class PartChecks:
    """The checks of all outside parts, by name. `run` must run beside it.

    All requests during a check get its result. The checks run in `run` and not in the tasks of the requests: so a
    cancelled request cancels no check, and many requests cause no further checks.
    """

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
        self._parts = {name: _Part(name, check) for name, check in checks.items()}

    async def run(self) -> None:
        """Run the checks that are requested, until cancelled."""
        async with trio.open_nursery() as nursery:
            for part in self._parts.values():
                nursery.start_soon(part.run)

    async def states(self) -> dict[str, str]:
        """Return the state of each part, `up` or `down`, at most `KEEP_SECONDS` old."""
        await trio.lowlevel.checkpoint()
        waiting = [checked for part in self._parts.values() if (checked := part.ask()) is not None]
        with trio.move_on_after(ANSWER_SECONDS):
            for checked in waiting:
                await checked.wait()
        return {name: "up" if part.up else "down" for name, part in self._parts.items()}


class _Part:
    """One part and its state. `up` is the result of its last check, and False during a check."""

    def __init__(self, name: str, check: Callable[[], Awaitable[object]]) -> None:
        self.up = False
        self._name = name
        self._check = check
        self._asked = trio.Event()
        self._checked = trio.Event()
        self._checked_at = -math.inf
        self._fault = ""  # why it was down at the last check

    def ask(self) -> trio.Event | None:
        """Request a check, unless the last result is kept; return the event that is set at its end."""
        if trio.current_time() < self._checked_at + KEEP_SECONDS:
            return None
        self._asked.set()
        return self._checked

    async def run(self) -> None:
        while True:
            await self._asked.wait()
            self.up = False
            fault = await self._look()
            self.up = not fault
            self._log(fault)
            self._checked_at = trio.current_time()
            checked, self._checked, self._asked = self._checked, trio.Event(), trio.Event()
            checked.set()

    async def _look(self) -> str:
        """Check the part; return why it counts as down, or nothing where it is up."""
        with trio.move_on_after(CHECK_SECONDS):
            try:
                await self._check()
            except Unavailable as error:
                return error.message
            except (Exception, SystemExit) as error:  # a broken check is a part that is down
                logger.error("the check of %s failed: %s", self._name, folded(error))
                return "its check failed"
            return ""
        return "it did not answer in time"

    def _log(self, fault: str) -> None:
        """Log that the part is down, once, and that it is up again."""
        if fault and not self._fault:
            logger.warning("%s is down: %s", self._name, fault)
        elif self._fault and not fault:
            logger.info("%s is up again", self._name)
        self._fault = fault


class DatabaseCheck:
    """The check of the database: whether it can be written to, as being readable proves little."""

    def __init__(self, repository: Repository, records: WriteBehind) -> None:
        self._repository = repository
        self._records = records

    async def check(self) -> None:
        """Raise `PersistenceUnavailable` where nothing can be written, or where the last records were not accepted."""
        await self._repository.try_write()
        await self._repository.check()
        if self._records.failing:
            raise PersistenceUnavailable("The database did not accept the last records, which wait.")
