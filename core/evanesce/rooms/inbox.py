"""The bounded inbox of an actor: many put, one takes all that waits at once."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class InboxClosed(Exception):
    """The actor has ended and takes nothing more."""


class Inbox(Generic[T]):
    """A queue of at most `limit` items, emptied whole by its one reader, so that work comes in groups."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[T] = deque()
        self._closed = False
        self._readers = trio.lowlevel.ParkingLot()
        self._writers = trio.lowlevel.ParkingLot()
        self.largest = 0
        """The most items that one `drain` took."""

    @property
    def closed(self) -> bool:
        """Whether the actor has ended."""
        return self._closed

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        """Whether whoever puts something has to wait for room."""
        return len(self._items) >= self._limit

    async def put(self, item: T) -> None:
        """Add `item`, waiting for room. Raises `InboxClosed`. The caller bounds the wait."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.full and not self._closed:
            await self._writers.park()
        self.put_over(item)

    def put_over(self, item: T) -> None:
        """Add `item` whether there is room or not: for what the room must not miss, and little of it can come.

        Raises `InboxClosed`.
        """
        if self._closed:
            raise InboxClosed
        self._items.append(item)
        self._readers.unpark()

    async def drain(self) -> list[T]:
        """Wait until there is something, and take all of it, in order."""
        if self._items:
            await trio.lowlevel.checkpoint()
        while not self._items:
            await self._readers.park()
        return self.drain_nowait()

    def drain_nowait(self) -> list[T]:
        """Take all that waits, in order; nothing is nothing."""
        items = list(self._items)
        self.largest = max(self.largest, len(items))
        self._items.clear()
        self._writers.unpark(count=self._limit)
        return items

    def close(self) -> list[T]:
        """Take nothing more, and give what still waits."""
        self._closed = True
        return self.drain_nowait()
