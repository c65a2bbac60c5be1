"""What a store in memory did, in order: the truth that clients' observations are compared with."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from evanesce.model import Message
from evanesce.store.cursor import Cursor, parse
from evanesce.store.events import Closed, RoomEvent
from evanesce.store.memory import MemoryServer
from evanesce.store.memory.room import MemoryFeed, Room
from evanesce.store.message_log import LogEntry, MessageUnsent


@dataclass(slots=True)
class Entry:
    """A message that was stored. Times are seconds of Trio's clock; None: that has not happened.

    `unsent_number` is the place in the room's log of the entry that says it was taken back. `again` is whether the
    store had it before and lost it.
    """

    message: Message
    cursor: str
    number: int
    deadline: float
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
    entries: list[Entry] = field(default_factory=list[Entry])
    newest: dict[str, Entry] = field(default_factory=dict[str, Entry])
    """The last message with each id."""
    losses: list[float] = field(default_factory=list[float])
    closed_at: float | None = None

    def after(self, number: int) -> Sequence[Entry]:
        """Return the messages after a place in the room's log, in order."""
        return self.entries[bisect_right(self.entries, number, key=lambda entry: entry.number) :]

    def ending_after(self, moment: float) -> Sequence[Entry]:
        """Return the messages whose time to live ends after a moment, in order. They all live as long."""
        return self.entries[bisect_right(self.entries, moment, key=lambda entry: entry.deadline) :]

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

    def __init__(self, ledger: RoomLedger) -> None:
        super().__init__(0, ledger.room.position(0))
        self._ledger = ledger

    def give(self, events: Sequence[RoomEvent]) -> None:
        ledger, now = self._ledger, trio.current_time()
        for event in events:
            match event:
                case LogEntry(message, cursor, number, deadline, _):
                    before = ledger.newest.get(message.message_id)
                    again = before is not None and before.lost_at is not None and before.deadline > now
                    entry = Entry(message, cursor, number, deadline, again=again)
                    ledger.entries.append(entry)
                    ledger.newest[message.message_id] = entry
                case MessageUnsent(message_id, number):
                    ledger.newest[message_id].unsent_at = now
                    ledger.newest[message_id].unsent_number = number
                case Closed():
                    ledger.closed_at = now
                case _:
                    pass

    def lose(self, number: int, version: int) -> None:
        now = trio.current_time()
        self._ledger.losses.append(now)
        for entry in self._ledger.ending_after(now):
            if entry.lost_at is None:  # taken back or not: that is lost as well
                entry.lost_at = now


class Ledger(MemoryServer):
    """A server in memory that keeps a `RoomLedger` of every room."""

    def __init__(self) -> None:
        super().__init__()
        self.ledgers: dict[str, RoomLedger] = {}
        self._set_by = 0  # milliseconds

    def set_clock(self, seconds: float) -> None:
        """Set the clock forward, or back. Messages that are stored live as long as before."""
        self._set_by += round(seconds * 1000)

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
            ledger = self.ledgers[room_id] = RoomLedger(room)
            room.feeds.append(_Recorder(ledger))
        return room

    def ledger(self, room_id: str) -> RoomLedger:
        """Return the ledger of a room, which is opened where the room was not used yet."""
        if room_id not in self.ledgers:
            self.room(room_id)
        return self.ledgers[room_id]
