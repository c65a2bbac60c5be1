"""A value of the issuer that is kept for a while, and loaded by one task at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

Value = TypeVar("Value")


class Cached(Generic[Value]):
    """Keeps what `load` returns. `clock` returns seconds.

    An error of `load` is not kept: the next caller loads again.
    """

    def __init__(self, load: Callable[[], Awaitable[Value]], clock: Callable[[], float]) -> None:
        self._load = load
        self._clock = clock
        self._lock = trio.Lock()
        self._kept: tuple[float, Value] | None = None

    async def get(self, seconds: float) -> Value:
        """Return the value, which was loaded at most `seconds` ago. Raises what `load` raises."""
        async with self._lock:
            if self._kept is not None and self._clock() - self._kept[0] < seconds:
                return self._kept[1]
            loading = self._clock()
            value = await self._load()
            self._kept = (loading, value)
            return value
