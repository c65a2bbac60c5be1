"""The index of a room, read a little ahead: it names the room's messages in the order in which they were stored.

Where all have the same TTL, that is also the order in which they end: the next ones are read when those that were read
have ended. A message that ends before one that was stored earlier is *early*, and is planned by itself. So that it is
known in time, more of the index is read before a message that was not read yet may end. Where many messages that end
later stand before it, the walk reads past them (*scouts*), and comes back to them when they are due.

What has ended is trimmed from the start of the index. Early entries stand behind others that are alive, so they are
removed one by one: otherwise a room with one long message would keep, and each reader read, all that has ended since.
Servers that share a room do the same. None removes an entry without having read a later one, so the last one always
stays: it tells a walk that came this far that there is nothing more.

A replica that lagged behind when it took the place of its primary still has messages that were erased, and an index
that names them. Their order tells where they are, as before: so the index is read from its start, but only as far as
messages have ended. Where some were early, they may be anywhere in it, and all of it is read.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice, takewhile
from typing import Any, NamedTuple

from evanesce.store.redis.keys import Keys
from evanesce.store.redis.scripts import DROP_INDEX, Command

TRIM_ENTRIES = 200
"""After how many erased entries the index is trimmed. Redis trims it by nodes of about a hundred."""

TRIM_AHEAD = 1_024
"""After how many erased entries the index is trimmed although entries that were read after them are alive."""

SCOUT_ENTRIES = 1_024
"""How many entries are held, at least, before the walk scouts."""

LEAD = 200
"""How long before the first end in it an index is read, in milliseconds."""

SLACK = 50
"""By how much the ends of messages with the same TTL may seem to be out of order, in milliseconds."""

ON_ITS_WAY = 5_000
"""How long a write may be under way, while Redis answers, in milliseconds."""

UNKNOWN = 0
"""The end of a key whose end is not known. It is accessed at once."""

Ending = tuple[str, int]
"""A key and its end, in milliseconds of the store's clock, or `UNKNOWN`."""


class Early(NamedTuple):
    """The key of an early message, its end, and its entry, which is to be removed then; None: it stays."""

    key: str
    end: int
    entry: bytes | None


class Walk:
    """How far the messages of one room are erased. Times are in milliseconds of the store's clock.

    The lag of keys that ended before `counted_from` does not count, as another server had to erase them. `latest` is
    the latest time at which a message of this server may be stored in the room. `unread` is the earliest time at which
    a message of this server may end that was not read yet; infinity: there is none. `stale` is set when Redis may have
    an earlier state of the index: the walk is then to be rewound before it goes on.
    """

    __slots__ = (
        "_ahead",
        "_asked",
        "_complete",
        "_erased",
        "_erased_at",
        "_erased_until",
        "_highest",
        "_keys",
        "_known",
        "_lately",
        "_least",
        "_mixed",
        "_places",
        "_position",
        "_room_id",
        "_rotate_at",
        "_scout_highest",
        "_scouted",
        "_scouting",
        "counted_from",
        "index",
        "latest",
        "stale",
        "unread",
    )

    def __init__(self, keys: Keys, index: str, *, counted_from: int, latest: int, unread: float = math.inf) -> None:
        self.index = index
        self.counted_from = counted_from
        self.latest = latest
        self.stale = False
        self.unread = unread
        self._keys = keys
        self._room_id = keys.room_of(index)
        self._ahead: deque[Ending] = deque()
        self._places: deque[bytes] = deque()  # the entries of the keys in `_ahead`
        self._position = "0-0"
        self._highest = 0  # the latest end of the entries up to the position
        self._scouted: str | None = None  # how far the index was read, where that is beyond the position
        self._scout_highest = 0
        self._scouting = False  # the last command scouts
        self._asked = 0  # how many entries the last command asked for
        self._known: str | None = (
            None  # how far the index was read before the walk was rewound, until it is there again
        )
        self._mixed = False  # some of what was read was early
        self._erased = 0
        self._erased_at = b"0-0"  # the last entry that was held and is erased
        self._erased_until = UNKNOWN  # the latest end of the keys that were held and are erased
        self._complete = True  # what was not read is of this server, and was noted
        # The shortest TTL of the messages that may be unread: those that were noted since `ON_ITS_WAY` before the
        # index was last read to its end. What was noted after the last rotation is also in `_lately`.
        self._least = math.inf
        self._lately = math.inf
        self._rotate_at = 0

    def __len__(self) -> int:
        """Return how many entries were read and are not erased."""
        return len(self._ahead)

    def noted(self, ttl: int, now: int) -> None:
        """Record that this server is about to store messages with a TTL of `ttl` or longer."""
        self.latest = now + ON_ITS_WAY
        self.unread = min(self.unread, now + ttl)
        self._least = min(self._least, ttl)
        self._lately = min(self._lately, ttl)

    def inherited(self, since: int, now: int) -> None:
        """Take over the messages of a server that ended at `since` at the earliest: nothing is known of their TTLs."""
        self.counted_from = min(self.counted_from, since)
        self.unread = min(self.unread, now)
        self._complete = False

    @property
    def next_end(self) -> int | None:
        """The end of the first key that was read; None if more of the index has to be read."""
        return self._ahead[0][1] if self._ahead else None

    @property
    def next_read(self) -> float:
        """When more of the index has to be read although keys are ahead; infinity: not before those have ended."""
        if not self._ahead or self._ahead[-1][1] <= self.unread + SLACK:
            return math.inf
        return self.unread - min(LEAD, self._least / 2)

    def due(self, now: int, most: int) -> list[Ending]:
        """Return up to `most` keys that were read and have ended by `now`."""
        return list(takewhile(lambda entry: entry[1] <= now, islice(self._ahead, most)))

    def erased(self, entries: Sequence[Ending]) -> None:
        """Record that keys from `due` are gone."""
        for entry in entries:
            if self._ahead and self._ahead[0] is entry:
                self._ahead.popleft()
                self._erased_at = self._places.popleft()
                self._erased += 1
                self._erased_until = max(self._erased_until, entry[1])

    def rewind(self, now: int) -> None:
        """Start again at the beginning of the index. The lag of what was erased before does not count again."""
        self.stale = False
        self.counted_from = max(self.counted_from, self._erased_until)
        self._known = max((self._position, self._scouted or "0-0", self._known or "0-0"), key=_order)
        self._position, self._highest, self._scouted = "0-0", 0, None
        self._ahead.clear()
        self._places.clear()
        self._erased = 0
        if self._mixed:  # what was read is in no order, so it is not known where there is something to erase
            self._mixed = False
            self._complete = False
            self.unread = min(self.unread, now)

    def read(self, count: int, *, full: bool = False) -> Command:
        """Return the command that reads the next entries. `full`: no more than one entry may be held in addition."""
        self._scouting = bool(self._ahead) and (full or self._scouted is not None or len(self._ahead) >= SCOUT_ENTRIES)
        self._asked = 1 if full and not self._scouting else count
        start = self._scouted if self._scouting and self._scouted is not None else self._position
        return "XRANGE", self.index, f"({start}", "+", "COUNT", self._asked

    def take(self, entries: Sequence[Any], sent: int) -> list[Early]:
        """Take the answer of `read`, which was sent at `sent`. Return the early keys, which are not held.

        Early keys that ended before `sent`, and were read before the walk was rewound, have an unknown end: they are
        planned already, or were erased, and their lag does not count again.
        """
        early = self._scout(entries, sent) if self._scouting else self._hold(entries, sent)
        self._mixed = self._mixed or bool(early)
        if self._scouted is None or self._scouting:
            self._read_up_to(int(entries[-1][0].partition(b"-")[0]) if len(entries) >= self._asked else None, sent)
        return early

    def _hold(self, entries: Sequence[Any], sent: int) -> list[Early]:
        early: list[Early] = []
        for position, fields in entries:
            if self._scouted is not None and _order(position.decode()) > _order(self._scouted):
                self._scouted = None  # its entry itself may have been removed
            entry = self._ending(fields)
            if entry[1] >= self._highest:
                self._highest = entry[1]
                self._ahead.append(entry)
                self._places.append(position)
            elif self._scouted is None:
                early.append(self._early(entry, position, fields, sent))
            # else it was found when the walk scouted
        if entries:
            self._position = entries[-1][0].decode()
        if self._scouted is not None and (
            len(entries) < self._asked or _order(self._position) >= _order(self._scouted)
        ):
            self._scouted = None
        return early

    def _scout(self, entries: Sequence[Any], sent: int) -> list[Early]:
        early: list[Early] = []
        if self._scouted is None:
            self._scout_highest = self._highest
        for position, fields in entries:
            entry = self._ending(fields)
            if entry[1] >= self._scout_highest:
                self._scout_highest = entry[1]
            else:
                early.append(self._early(entry, position, fields, sent))
        if entries:
            self._scouted = entries[-1][0].decode()
        return early

    def _early(self, entry: Ending, position: bytes, fields: Sequence[bytes], sent: int) -> Early:
        if self._known is not None and _order(position.decode()) > _order(self._known):
            self._known = None
        key, end = entry
        # Without an end, or with one of its own (`kept`), an entry is needed for longer than its key.
        removed = position if fields[0] == b"m" and end != UNKNOWN else None
        return Early(key, end if self._known is None or end > sent else UNKNOWN, removed)

    def _ending(self, fields: Sequence[bytes]) -> Ending:
        # The entries before an entry do not tell its end: the clock may have been set back, and TTLs may differ. The
        # entry of a tombstone is kept for as long as any message; the tombstone ends earlier, and is planned by itself.
        end = int(fields[5]) if len(fields) > 5 else UNKNOWN  # version 0.1.0 did not write it
        name = self._keys.message if fields[0] == b"m" else self._keys.unsent
        return name(self._room_id, fields[1].decode()), end

    def _read_up_to(self, stored: int | None, sent: int) -> None:
        """Record that all entries were read up to one that was stored at `stored`; None: all that there were."""
        if stored is not None:
            if self._complete and self._least < math.inf:  # later entries are not older
                self.unread = max(self.unread, min(stored, sent) + self._least)
            return
        self._complete = True
        if sent >= self._rotate_at:
            self._least, self._lately = self._lately, math.inf
            self._rotate_at = sent + ON_ITS_WAY
        self.unread = sent + self._least if self.latest >= sent else math.inf

    def trim(self) -> Command | None:
        """Return the command that removes erased entries from the index; None if they are too few."""
        if self._erased < (TRIM_AHEAD if self._ahead else TRIM_ENTRIES):
            return None
        self._erased = 0
        return "XTRIM", self.index, "MINID", "~", self._erased_at.decode() if self._ahead else self._position

    def drop(self) -> Command:
        """Return the command that erases the index if it has no entries after the erased ones."""
        return DROP_INDEX.call([self.index], self._position)

    def starts_again(self, last: bytes | None) -> bool:
        """Take the answer of `drop`. Return True if Redis has a new index, which is to be read from its start."""
        if last is None or _order(last.decode()) >= _order(self._position):
            return False
        self._position, self._highest, self._scouted = "0-0", 0, None
        self._known, self._mixed = None, False
        self._complete = False
        return True


def in_order(entries: Iterable[bytes]) -> list[bytes]:
    """Return entries in the order of the index."""
    return sorted(entries, key=lambda entry: _order(entry.decode()))


def _order(position: str) -> tuple[int, int]:
    time, _, number = position.partition("-")
    return int(time), int(number)
