"""What came from the client and was not looked at yet: connections, frames, lines of the driver."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import trio

from evanesce.conformance.transcript import Json

MOST = 1000
"""So many unexpected things of one kind end the transcript: the client repeats itself without end."""

_Item = TypeVar("_Item")


class News:
    """Wakes the runner when something came. One task waits."""

    def __init__(self) -> None:
        """Nothing came yet."""
        self._event = trio.Event()

    def tell(self) -> None:
        """Wake the task that waits, or that will wait next."""
        self._event.set()

    async def wait(self) -> None:
        """Return when something came since the last call."""
        await self._event.wait()
        self._event = trio.Event()


class Arrivals(Generic[_Item]):
    """A queue of what came, each with the time when it came."""

    def __init__(self, news: News) -> None:
        """Tell `news` of each arrival."""
        self._news = news
        self._items: deque[tuple[float, _Item]] = deque()
        self.flooded = False

    def put(self, item: _Item) -> None:
        """Add what came. Beyond `MOST` it is dropped, and `flooded` is set."""
        if len(self._items) < MOST:
            self._items.append((trio.current_time(), item))
        else:
            self.flooded = True
        self._news.tell()

    def first(self) -> tuple[float, _Item] | None:
        """Return the time and the value of the oldest arrival, which stays; None if there is none."""
        return self._items[0] if self._items else None

    def take(self) -> _Item:
        """Remove the oldest arrival, and return it. Raises `IndexError` if there is none."""
        return self._items.popleft()[1]

    def clear(self) -> None:
        """Forget all arrivals."""
        self._items.clear()


Frame = dict[str, Json] | str
"""A frame or line of the client: a JSON object, or the text of what is none."""
