"""The keys that one server has to erase, and when: single keys, and the messages of rooms by their indices."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from evanesce.store.redis.client import Client
from evanesce.store.redis.clock import Step
from evanesce.store.redis.expiring import Expiring
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.register import Register
from evanesce.store.redis.schedule import Schedule
from evanesce.store.redis.walk import LEAD, ON_ITS_WAY, UNKNOWN, Ending, Walk, in_order

LATE = 15
"""How long after its end a key is accessed, in milliseconds, so that it has ended by the store's clock too."""

RETRY = 250
"""After how long a failed access is tried again, in milliseconds."""

AHEAD = 100_000
"""How many entries of indices are held in memory. Beyond that, they are read one at a time."""

EARLY = 100_000
"""For how many early messages their entries are remembered. Others stay in the index until it is read or trimmed."""

REMOVED = 100
"""How many early entries of a room are removed in one command."""

ROOMS = 1_000
"""Of how many rooms early entries wait for more, to be removed together. In others they are removed at once."""

REST = 60_000
"""How long a room that is due much later stays in memory after this server has stored a message, in milliseconds."""


class Plan:
    """The keys and rooms of one server. All times are in milliseconds of the store's clock; `ttl` is that of messages.

    `earlier` is called when a key is due before all others. The plan uses one of `share` equal parts of the memory that
    a server may use.
    """

    def __init__(
        self,
        client: Client,
        keys: Keys,
        register: Register,
        ttl: int,
        now: int,
        earlier: Callable[[], None],
        *,
        share: int = 1,
    ) -> None:
        self._client = client
        self._keys = keys
        self._register = register
        self._ttl = ttl
        self._walks: dict[str, Walk] = {}
        self._ahead = 0
        self._early: dict[str, tuple[str, bytes]] = {}  # the index and the entry of early messages, by key
        # Early entries that may be removed, by index: each once, however often a walk has found it.
        self._ended: defaultdict[str, set[bytes]] = defaultdict(set)
        self._share = share
        self.schedule = Schedule(now, earlier, share)

    # Keys

    def note(self, keys: Sequence[Expiring], now: int) -> None:
        """Record keys that are about to be written."""
        for key, after in keys:
            end = now + after if after else UNKNOWN
            if not self.schedule.ends_by(key, end):  # mostly it does: no further call then
                self._expect(key, end, now)
            if (walk := self._walks.get(key)) is not None:
                walk.noted(after, now)

    def _expect(self, key: str, end: int, now: int) -> None:
        if not self.schedule.ends_by(key, end):
            self._register.add(key, end or now)
            self.add(key, end, now)

    def add(self, key: str, end: int, now: int) -> None:
        """Plan a key that is in the register already."""
        is_index = self._keys.is_index(key)
        look = end - LEAD if is_index else max(end, now) + LATE
        if self.schedule.add(key, end, now, look) and is_index and key not in self._walks:
            # A little earlier, as the store's clock may be behind the estimate.
            self._walks[key] = Walk(self._keys, key, counted_from=end - 1_000, latest=now + ON_ITS_WAY, unread=end)

    def postpone(self, key: str, end: int, now: int) -> None:
        """Plan a key for later, as it still exists."""
        if not self.schedule.ends_by(key, end):
            self._register.move(key, end)
            self.add(key, end, now)

    def retry(self, endings: Iterable[Ending], now: int) -> None:
        """Plan keys that could not be accessed for another try soon."""
        for key, end in endings:
            if not self.schedule.ends_by(key, end):
                self.schedule.push(key, end, now + RETRY)

    def strike_out(self, keys: Iterable[str]) -> None:
        """Remove keys that are gone from the register, except those that were written again meanwhile."""
        gone = [key for key in keys if key not in self.schedule]
        if gone:
            self._register.remove(gone)

    def connected(self, now: int) -> None:
        """Handle a new connection: Redis may have lost the register, and may only now run earlier commands.

        It may also be a replica that lagged behind when it took the place of the primary. Then it still has what was
        erased in the last moments before, and the index and the register have the keys as well: both are read again.
        """
        self.schedule.mark_later_unconfirmed()
        self.schedule.horizon = 0
        self._early.clear()
        self._ended.clear()
        for walk in self._walks.values():
            walk.latest = max(walk.latest, now + ON_ITS_WAY)
            walk.stale = True
            self.schedule.push(walk.index, now, now)

    def gone(self, keys: Iterable[str]) -> None:
        """Remove the entries of early messages that are gone from their indices, soon or when there are more."""
        indices: set[str] = set()
        for key in keys:
            if (place := self._early.pop(key, None)) is not None:
                index, entry = place
                self._ended[index].add(entry)
                indices.add(index)
        for index in indices:
            crowded = len(self._ended) > ROOMS // self._share
            if len(self._ended[index]) > REMOVED or crowded:
                # The latest may be the last one of the index, which stays.
                *entries, latest = in_order(self._ended.pop(index))
                if entries:
                    self._client.post(("XDEL", index, *entries))
                if not crowded:
                    self._ended[index].add(latest)

    async def inherit(self, found: Sequence[Ending], since: int, now: int) -> None:
        """Take over keys of a server that ended at `since` at the earliest. Raises `StoreUnavailable`."""
        # It is not known how far a room is erased, so its index is read at once.
        planned = [(key, now if self._keys.is_index(key) else at) for key, at in found]
        await self._register.add_all(planned)
        for key, at in planned:
            if self._keys.is_index(key):
                self.add(key, at, now)
                if (walk := self._walks.get(key)) is not None:
                    walk.inherited(since, now)
            elif not self.schedule.ends_by(key, at):
                self.add(key, at if at >= since else UNKNOWN, now)

    # Rooms

    def indices(self) -> list[str]:
        """Return the indices of all planned rooms."""
        return [key for key in self.schedule.known() if self._keys.is_index(key)]

    def written_before(self, index: str, entries: Sequence[Any], step: Step, now: int) -> list[Ending]:
        """Return the keys of a room, with their ends by the old clock, that were certainly written before the step.

        The times of a room's entries never decrease. So an entry from after the step has a time that is not that of its
        message if the room had entries before, which it tells; and otherwise its time is between `step.began` and now.
        """
        room_id = self._keys.room_of(index)
        found: list[Ending] = []
        for position, fields in entries:
            at = int(position.partition(b"-")[0])
            if len(fields) != 6 or step.began <= at <= now:  # with more fields it tells the time of its message
                continue
            name, end = (self._keys.message, fields[5]) if fields[0] == b"m" else (self._keys.unsent, fields[3])
            found.append((name(room_id, fields[1].decode()), int(end)))
        return found

    @property
    def is_full(self) -> bool:
        """Whether so many entries are held in memory that only one of each index is to be read."""
        return self._ahead > AHEAD // self._share

    def walk(self, key: str, now: int) -> Walk | None:
        """Return the walk of a room, which is about to go on, if `key` is its index and the room is due soon."""
        walk = self._walks.get(key)
        if walk is not None and walk.stale:
            self._ahead -= len(walk)
            walk.rewind(now)
        return walk

    def erased(self, walk: Walk, entries: Sequence[Ending], now: int, *, reads: bool = False) -> None:
        """Record that messages are gone. Plan the room for its next ones, unless its index was read too (`reads`)."""
        before = len(walk)
        walk.erased(entries)
        self._ahead += len(walk) - before
        if not reads:
            # Messages that have not been read end no earlier than those that were erased.
            self._go_on(walk, now, entries[-1][1] + LATE if entries else now)

    def read(self, walk: Walk, entries: Sequence[Any], sent: int, now: int) -> None:
        """Take entries that were read of a room's index by a command that was sent at `sent`."""
        before = len(walk)
        for key, end, entry in walk.take(entries, sent):
            if entry is not None and (key in self._early or len(self._early) < EARLY // self._share):
                self._early[key] = walk.index, entry
            if end > now:
                self._expect(key, end, now)
            elif not self.schedule.is_held_until(key, now):
                # The index is in the register: that is enough for what is accessed at once.
                self.schedule.push(key, end if end > walk.counted_from else UNKNOWN, now)
        self._ahead += len(walk) - before
        self._go_on(walk, now, now)

    def drained(self, walk: Walk, last: bytes | None, read_at: int, now: int) -> None:
        """Forget a room whose index was empty at `read_at`, unless it is in use. `last` is the answer of its `drop`."""
        walk.take((), read_at)
        if walk.starts_again(last):
            self._plan_room(walk, now, now, now)
        elif last is None and walk.latest < read_at and walk.index not in self.schedule:
            del self._walks[walk.index]
            self._ended.pop(walk.index, None)
            self.strike_out([walk.index])
        else:  # messages that were stored since end no earlier than this
            end = round(min(walk.unread, read_at + self._ttl))
            self._plan_room(walk, end, max(end - LEAD, (read_at + end) // 2), now)

    def _go_on(self, walk: Walk, now: int, read_on: int) -> None:
        """Plan a room for the end of its next message, or for when more of its index has to be read."""
        if (trim := walk.trim()) is not None:
            self._client.post(trim)
        end, read = walk.next_end, walk.next_read
        if end is None:
            self._plan_room(walk, now, min(read_on, now), now)
        else:
            self._plan_room(walk, round(min(end, walk.unread)), math.ceil(min(end + LATE, read)), now)

    def _plan_room(self, walk: Walk, end: int, look: int, now: int) -> None:
        if self.schedule.is_held_until(walk.index, end):
            return
        if not self.schedule.is_later(end, now):
            self.schedule.push(walk.index, end, look)
        elif now < walk.latest + REST:  # its next message may end earlier, and its index is known as it is
            self.schedule.push(walk.index, end, min(look, walk.latest + REST))
        else:  # its index is read again when this time is near
            self._ahead -= len(walk)
            del self._walks[walk.index]
            self._register.move(walk.index, end)
            self.add(walk.index, end, now)
