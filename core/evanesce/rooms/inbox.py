"""The bounded inbox of an actor: many tasks put items into it, and one task takes all of them at once."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class InboxClosed(Exception):
    """The actor has ended and accepts no further items."""


class Inbox(Generic[T]):
    """A queue of at most `limit` items. Its one reader takes all of them at once, so that it can work in groups."""

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
        """Whether `put` would have to wait for space."""
        return len(self._items) >= self._limit

    async def put(self, item: T) -> None:
        """Add `item`, and wait for space first. Raises `InboxClosed`. The caller bounds the wait."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.full and not self._closed:
            await self._writers.park()
        self.put_unbounded(item)

    def put_unbounded(self, item: T) -> None:
        """Add `item` even where the inbox is full. Raises `InboxClosed`.

        For items that must not be lost and whose number is bounded by something else.
        """
        if self._closed:
            raise InboxClosed
        self._items.append(item)
        self._readers.unpark()

    def put_unless_closed(self, item: T) -> None:
        """Do what `put_unbounded` does, or nothing where the actor has ended."""
        if not self._closed:
            self.put_unbounded(item)

    async def drain(self) -> list[T]:
        """Wait for at least one item, and take all of them, in order."""
        if self._items:
            await trio.lowlevel.checkpoint()
        while not self._items:
            await self._readers.park()
        return self.drain_nowait()

    def drain_nowait(self) -> list[T]:
        """Take all items that wait, in order: an empty list where there are none."""
        items = list(self._items)
        self.largest = max(self.largest, len(items))
        self._items.clear()
        self._writers.unpark(count=self._limit)
        return items

    def close(self) -> list[T]:
        """Refuse further items, and return those that still wait."""
        self._closed = True
        return self.drain_nowait()
