"""Purging the files of the database: erased and replaced data leaves them soon, whatever else uses the database."""

from __future__ import annotations

import trio

from evanesce.errors import Unavailable
from evanesce.interfaces import Repository
from evanesce.jobs import report_repository_fault
from evanesce.metrics import Metrics

EVERY_SECONDS = 1.0
"""The shortest time between two purges."""

RETRY_SECONDS = 0.5
"""The delay before a purge is tried again because the database was in use; it doubles each time."""

LONGEST_RETRY_SECONDS = 30.0
"""The longest such delay: a backup may read for hours, and other calls wait for each attempt."""

ANSWER_SECONDS = 5.0
"""How long one attempt may take."""


class Purge:
    """Purges the files of the repository after each request. `run` must run beside it."""

    def __init__(self, repository: Repository, metrics: Metrics) -> None:
        self._repository = repository
        self._metrics = metrics
        self._due = trio.Event()

    def request(self) -> None:
        """Request a purge of the files. Does not wait for it."""
        self._due.set()

    async def run(self) -> None:
        """Purge after each request, until cancelled."""
        delay = RETRY_SECONDS
        while True:
            await self._due.wait()
            self._due = trio.Event()
            if await self._purge():
                delay = RETRY_SECONDS
                await trio.sleep(EVERY_SECONDS)
            else:
                self._due.set()
                await trio.sleep(delay)
                delay = min(2 * delay, LONGEST_RETRY_SECONDS)

    async def _purge(self) -> bool:
        """Try it once; return False where it has to be tried again."""
        try:
            with trio.fail_after(ANSWER_SECONDS):
                await self._repository.purge()
        except (Unavailable, trio.TooSlowError):
            return False
        except Exception as error:
            report_repository_fault("purging its files", error, self._metrics)
        return True
