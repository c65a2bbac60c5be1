"""A bound for calls that many clients can cause at once."""

from __future__ import annotations

import trio

from evanesce.errors import RateLimited

RETRY_SECONDS = 1.0
"""After how many seconds a client may try again for whom no place was free."""


class Gate:
    """A context that `at_once` tasks may be in; up to `most_waiting` wait for it, in order, and others are refused."""

    def __init__(self, at_once: int, most_waiting: int, message: str) -> None:
        self._slots = trio.Semaphore(at_once)
        self._most_waiting = most_waiting
        self._message = message

    async def __aenter__(self) -> None:
        """Wait for a place. Raises `RateLimited`."""
        if self._slots.statistics().tasks_waiting >= self._most_waiting:
            raise RateLimited(self._message, RETRY_SECONDS)
        await self._slots.acquire()

    async def __aexit__(self, *error: object) -> None:
        self._slots.release()
