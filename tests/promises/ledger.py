"""What a store in memory did, in order: the truth that clients' observations are compared with."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from evanesce.model import Message
from evanesce.store.cursor import Cursor, parse
from evanesce.store.events import Closed, RoomEvent
from evanesce.store.memory import MemoryServer
from evanesce.store.memory.room import MemoryFeed, Room
from evanesce.store.message_log import LogEntry, MessageUnsent
from tests.promises.rules import Options, RuleLedger


@dataclass(slots=True)
class Entry:
    """A message that was stored. Times are seconds of Trio's clock; None: that has not happened.

    `ttl` is how long messages of the room lived then, in milliseconds. `muted` is whether its sender was not allowed to
    write. `unsent_number` is the place in the room's log of the entry that says it was taken back. `again` is whether
    the store had it before and lost it.
    """

    message: Message
    cursor: str
    number: int
    stored_at: float
    deadline: float
    ttl: int
    muted: bool
    unsent_at: float | None = None
    unsent_number: int | None = None
    lost_at: float | None = None
    again: bool = False

    def lives(self, now: float) -> bool:
        """Return whether it can be had at `now`."""
        return self.deadline > now and self.unsent_at is None and self.lost_at is None


@dataclass
class RoomLedger:
    """The messages of one room since it was first used. `losses` are the times at which the store lost its data."""

    room: Room
    rules: RuleLedger
    entries: list[Entry] = field(default_factory=list[Entry])
    newest: dict[str, Entry] = field(default_factory=dict[str, Entry])
    """The last message with each id."""
    losses: list[float] = field(default_factory=list[float])
    closed_at: float | None = None
    _longest: float = 0.0  # that a message lived, in seconds

    def add(self, entry: Entry) -> None:
        """Note that a message was stored."""
        self.entries.append(entry)
        self.newest[entry.message.message_id] = entry
        self._longest = max(self._longest, entry.deadline - entry.stored_at)

    def find(self, message_id: str, cursor: str) -> Entry | None:
        """Return a message by its id and cursor; by its id alone where no message had both.

        After the store lost its data, the same message may have been stored again, with another cursor.
        """
        newest = self.newest.get(message_id)
        if newest is None or newest.cursor == cursor:
            return newest
        same = (one for one in reversed(self.entries) if (one.message.message_id, one.cursor) == (message_id, cursor))
        return next(same, newest)

    def unsent(self, message_id: str) -> Entry | None:
        """Return the message with this id that was taken back last; None where none was.

        When it would have expired, its id may be used again.
        """
        newest = self.newest.get(message_id)
        if newest is None or newest.unsent_at is not None:
            return newest
        same = (one for one in reversed(self.entries) if one.message.message_id == message_id)
        return next((one for one in same if one.unsent_at is not None), None)

    def after(self, number: int) -> Sequence[Entry]:
        """Return the messages after a place in the room's log, in order."""
        return self.entries[bisect_right(self.entries, number, key=lambda entry: entry.number) :]

    def ending_after(self, moment: float) -> Sequence[Entry]:
        """Return the messages whose time to live ends after a moment, in order."""
        oldest = moment - self._longest - 0.01  # the times of the store are in whole milliseconds
        first = bisect_right(self.entries, oldest, key=lambda entry: entry.stored_at)
        return [entry for entry in self.entries[first:] if entry.deadline > moment]

    def position(self, cursor: str | None, at: int) -> Cursor | None:
        """Return the place of a cursor that can be used at `at`, in milliseconds of the store's clock; else None."""
        parsed = None if cursor is None else parse(cursor)
        return parsed if parsed is not None and parsed.is_valid(self.room.position(at)) else None

    def unsent_since(self, position: Cursor, now: float) -> list[str]:
        """Return the ids of messages up to a place that were taken back after it and would be alive at `now`."""
        return [
            entry.message.message_id
            for entry in self.ending_after(now)
            if entry.number <= position.number and (entry.unsent_number or 0) > position.number
        ]


class _Recorder(MemoryFeed):
    """A follower that enters all events of a room in its ledger."""

    def __init__(self, ledger: RoomLedger, deadline: Callable[[int], float]) -> None:
        super().__init__(0, ledger.room.position(0))
        self._ledger = ledger
        self._deadline = deadline

    def give(self, events: Sequence[RoomEvent]) -> None:
        ledger, now = self._ledger, trio.current_time()
        for event in events:
            match event:
                case LogEntry(message, cursor, number, deadline, _):
                    before = ledger.newest.get(message.message_id)
                    again = before is not None and before.lost_at is not None and before.deadline > now
                    rules = ledger.rules
                    muted = rules.is_muted(message.sender_id)
                    ledger.add(Entry(message, cursor, number, now, deadline, rules.ttl, muted, again=again))
                case MessageUnsent(message_id, number):
                    ledger.newest[message_id].unsent_at = now
                    ledger.newest[message_id].unsent_number = number
                case Closed():
                    ledger.closed_at = now
                case _:
                    ledger.rules.take(event, ledger.room.number, now, self._deadline)

    def lose(self, number: int, version: int) -> None:
        now = trio.current_time()
        self._ledger.losses.append(now)
        self._ledger.rules.lose()
        for entry in self._ledger.ending_after(now):
            if entry.lost_at is None:  # taken back or not: that is lost as well
                entry.lost_at = now


class Ledger(MemoryServer):
    """A server in memory that keeps a `RoomLedger` of every room. `ttl` is that of the configuration, in seconds."""

    def __init__(self, ttl: float) -> None:
        super().__init__()
        self._ttl = ttl
        self.ledgers: dict[str, RoomLedger] = {}
        self.set_to = 0
        """To what time its clock was set last, in milliseconds."""
        self._set_by = 0  # milliseconds

    def set_clock(self, seconds: float) -> None:
        """Set the clock forward, or back. Messages that are stored live as long as before."""
        self._set_by += round(seconds * 1000)
        self.set_to = self.now()
        for ledger in self.ledgers.values():
            ledger.rules.clock_set_at = trio.current_time()

    def now(self) -> int:
        """Return the time of the store's clock, as it was set."""
        return super().now() + self._set_by

    def stamp(self) -> int:
        """Return the time of the store's clock, as it was set."""
        return super().stamp() + self._set_by

    def past(self) -> int:
        """Return a time that has passed, however the clock was set."""
        return super().stamp() + min(0, self._set_by)

    def deadline(self, expires_at: int) -> float:
        """Convert a time of the clock, as it is set now, to Trio's clock."""
        return super().deadline(expires_at - self._set_by)

    def room(self, room_id: str) -> Room:
        """Return a room. Its ledger is opened at the first use."""
        room = super().room(room_id)
        if room_id not in self.ledgers:
            ledger = self.ledgers[room_id] = RoomLedger(room, RuleLedger([Options(self._ttl)], self.stamp))
            room.feeds.append(_Recorder(ledger, self.deadline))
        return room

    def ledger(self, room_id: str) -> RoomLedger:
        """Return the ledger of a room, which is opened where the room was not used yet."""
        if room_id not in self.ledgers:
            self.room(room_id)
        return self.ledgers[room_id]
