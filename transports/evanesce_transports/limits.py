"""Limits of what clients may use: the memory of their requests, and how many small frames they send."""

from __future__ import annotations

from collections import deque

import trio

from evanesce.errors import CommandError, ErrorCode
from evanesce_transports.request import Refused

REQUEST_BYTES = 16 * 1024 * 1024
"""The most that the unfinished heads and bodies on one transport take, or two of the largest where that is more."""

WAIT_SECONDS = 1.0
"""How long a request waits for memory before it is refused."""

FRAMES_PER_SECOND = 50.0
"""How many control frames and fragments a client may send in a second."""

FRAMES_AT_ONCE = 64
"""How many of them a client may send at once. A library takes about 2 to 5 ms for them."""

_LEAST_FRAGMENTS = 256
_BYTES_OF_A_FRAGMENT = 256


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
