"""The index of a room, read a little ahead: it names the room's messages in the order in which they expire."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice, takewhile
from typing import Any

from evanesce.store.redis.keys import Keys
from evanesce.store.redis.scripts import DROP_INDEX, Command

TRIM_ENTRIES = 200
"""After how many erased entries the index is trimmed. Redis trims it by nodes of about a hundred."""

UNKNOWN = 0
"""The end of a key whose end is not known. It is accessed at once."""

Ending = tuple[str, int]
"""A key and its end, in milliseconds of the store's clock, or `UNKNOWN`."""


class Walk:
    """How far the messages of one room are erased. Times are in milliseconds of the store's clock.

    The lag of keys that ended before `counted_from` does not count, as another server had to erase them. `latest` is
    the latest time at which a message of this server may have been stored in the room.
    """

    __slots__ = ("_ahead", "_erased", "_keys", "_position", "_room_id", "counted_from", "index", "latest")

    def __init__(self, keys: Keys, index: str, *, counted_from: int, latest: int) -> None:
        self.index = index
        self.counted_from = counted_from
        self.latest = latest
        self._keys = keys
        self._room_id = keys.room_of(index)
        self._ahead: deque[Ending] = deque()
        self._position = "0-0"
        self._erased = 0

    def __len__(self) -> int:
        """Return how many entries were read and are not erased."""
        return len(self._ahead)

    @property
    def next_end(self) -> int | None:
        """The end of the first key that was read; None if more of the index has to be read."""
        return self._ahead[0][1] if self._ahead else None

    def due(self, now: int, most: int) -> list[Ending]:
        """Return up to `most` keys that were read and have ended by `now`."""
        return list(takewhile(lambda entry: entry[1] <= now, islice(self._ahead, most)))

    def erased(self, entries: Sequence[Ending]) -> None:
        """Record that keys from `due` are gone."""
        for entry in entries:
            if self._ahead and self._ahead[0] is entry:
                self._ahead.popleft()
                self._erased += 1

    def read(self, count: int) -> Command:
        """Return the command that reads the next entries."""
        return "XRANGE", self.index, f"({self._position}", "+", "COUNT", count

    def take(self, entries: Sequence[Any]) -> list[Ending]:
        """Add the answer of `read`. Return the keys that end before one that was read earlier: they are not added."""
        early: list[Ending] = []
        for _, fields in entries:
            # The entries before an entry do not tell its end: the clock may have been set back, and TTLs may differ.
            # A tombstone ends earlier than its entry, and is planned by itself.
            message_id = fields[1].decode()
            end = int(fields[5]) if len(fields) > 5 else UNKNOWN  # version 0.1.0 did not write it
            name = self._keys.message if fields[0] == b"m" else self._keys.unsent
            key = name(self._room_id, message_id)
            in_order = not self._ahead or end >= self._ahead[-1][1]
            (self._ahead if in_order else early).append((key, end))
        if entries:
            self._position = entries[-1][0].decode()
        return early

    def trim(self) -> Command | None:
        """Return the command that removes erased entries from the index; None if they are too few."""
        if self._erased < TRIM_ENTRIES or self._ahead:
            return None
        self._erased = 0
        return "XTRIM", self.index, "MINID", "~", self._position

    def drop(self) -> Command:
        """Return the command that erases the index if it has no entries after the erased ones."""
        return DROP_INDEX.call([self.index], self._position)

    def starts_again(self, last: bytes | None) -> bool:
        """Take the answer of `drop`. Return True if Redis has a new index, which is to be read from its start."""
        if last is None or _order(last.decode()) >= _order(self._position):
            return False
        self._position = "0-0"
        return True


def _order(position: str) -> tuple[int, int]:
    time, _, number = position.partition("-")
    return int(time), int(number)
