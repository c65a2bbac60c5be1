"""The state of one room in memory, and the feeds of those who follow it."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from evanesce.store.cursor import Cursor, parse
from evanesce.store.events import HistoryLost, Left, RoomEvent
from evanesce.store.message_log import LogEntry, MessageUnsent, RepeatedEntry
from evanesce.store.presence import Member, PresenceSnapshot
from evanesce.store.rules import COME_BACK_SECONDS, MOST_TOLD, Ballot, RoomRules


@dataclass
class StoredEntry:
    """A live message of the log, with its cursor, and its size as JSON."""

    entry: LogEntry
    cursor: Cursor
    size: int


@dataclass
class UnsentEntry:
    """An entry of the log which says that the message with the number `of_number` was unsent.

    `deadline` is when the message would have expired.
    """

    message_id: str
    number: int
    of_number: int
    deadline: float


@dataclass
class Vote:
    """A vote on the removal of a person; `last` is the last ballot, and `result` the one that removed the person.

    `voters` are the accounts of those who have voted, by their subjects.

    Times are in milliseconds of the store's clock, as in `Room`.
    """

    expires_at: int
    kept_until: int
    voters: dict[str, str] = field(default_factory=dict[str, str])
    last: Ballot | None = None
    result: Ballot | None = None


@dataclass
class Room:
    """The messages, the members (`names`, and on which `servers` each is), the rules and the feeds of a room.

    `bans` and `voted` have the end of each ban by its subject, `mutes` until when users may not write, `muted` the
    same by subject (all that belong to one person have the same end, and nobody else), and `away` until
    when those who have lost the connection may come back. `gone` has who has left on purpose, or was removed, until
    when that is remembered. `votes` are by the subject of the person in question.
    """

    epoch: str
    number: int = 0
    count: int = 0
    version: int = 0
    closed: str | None = None
    live: OrderedDict[str, StoredEntry] = field(default_factory=OrderedDict[str, StoredEntry])
    unsent: dict[str, UnsentEntry] = field(default_factory=dict[str, UnsentEntry])
    names: dict[str, str] = field(default_factory=dict[str, str])
    servers: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    rules: RoomRules | None = None
    bans: dict[str, int] = field(default_factory=dict[str, int])
    voted: dict[str, int] = field(default_factory=dict[str, int])
    mutes: dict[str, int] = field(default_factory=dict[str, int])
    muted: dict[str, int] = field(default_factory=dict[str, int])
    away: dict[str, int] = field(default_factory=dict[str, int])
    gone: dict[str, int] = field(default_factory=dict[str, int])
    votes: dict[str, Vote] = field(default_factory=dict[str, Vote])
    feeds: list[MemoryFeed] = field(default_factory=list["MemoryFeed"])

    def position(self, now: int) -> Cursor:
        """Return the cursor of the room's end at `now`, in milliseconds of the store's clock."""
        return Cursor(self.epoch, now, self.number, self.count)

    def presence(self, roster: int) -> PresenceSnapshot:
        """Return who is in the room, with the names of at most `roster` users."""
        members = tuple(Member(user_id, name) for user_id, name in self.names.items())
        return PresenceSnapshot(len(members), self.version, members if len(members) <= roster else None)

    def banned_until(self, subject: str, now: int) -> int:
        """Return when the ban of a person ends; 0 if there is none at `now`."""
        until = max(self.bans.get(subject, 0), self.voted.get(subject, 0))
        return until if until > now else 0

    def mutes_at(self, now: int) -> dict[str, int]:
        """Return who may not write at `now`, and until when."""
        return {user_id: until for user_id, until in self.mutes.items() if until > now}

    def remove(self, user_id: str) -> list[RoomEvent]:
        """Take a user out of the room on all servers; return the event of that."""
        if self.servers.pop(user_id, None) is None:
            return []
        del self.names[user_id]
        self.version += 1
        return [Left(user_id, len(self.names), self.version)]

    def note_gone(self, user_id: str, now: int) -> None:
        """Note that a user has left on purpose, or was removed: who had lost the connection may not come back."""
        self.away.pop(user_id, None)
        self.gone[user_id] = now + COME_BACK_SECONDS * 1000

    def votes_at(self, now: int) -> list[Ballot]:
        """Return the votes whose end is after `now`, the first ones that run and those that removed somebody."""
        votes = [vote.last for vote in self.votes.values() if vote.expires_at > now and vote.last is not None]
        running = [ballot for ballot in votes if not ballot.removed]
        return running[:MOST_TOLD] + [ballot for ballot in votes if ballot.removed]

    def forget_rules(self) -> None:
        """Delete the rules and all that belongs to them."""
        self.rules = None
        for data in (self.bans, self.voted, self.mutes, self.muted, self.away, self.gone, self.votes):
            data.clear()

    def publish(self, events: Sequence[RoomEvent]) -> None:
        """Add events to all feeds."""
        for feed in self.feeds:
            feed.give(events)

    def purge(self, now: float) -> None:
        """Delete what has expired."""
        for message_id in [key for key, stored in self.live.items() if stored.entry.deadline <= now]:
            del self.live[message_id]
        for message_id in [key for key, unsent in self.unsent.items() if unsent.deadline <= now]:
            del self.unsent[message_id]


class MemoryFeed:
    """The events that wait for one follower. The queue has no bound: a test that does not read its feed keeps it."""

    def __init__(self, roster: int, start: Cursor) -> None:
        self.roster = roster
        self._waiting: list[RoomEvent] = []
        self._last = start
        self._seen: dict[str, tuple[float, int]] = {}  # the deadline and the number of each message
        self._news = trio.Event()
        self._handle: Callable[[Sequence[RoomEvent]], None] | None = None

    def deliver_to(self, handle: Callable[[Sequence[RoomEvent]], None]) -> None:
        """See `Feed.deliver_to`."""
        self._handle = handle

    def give(self, events: Sequence[RoomEvent]) -> None:
        """Add events, each message once."""
        for event in events:
            if isinstance(event, LogEntry):
                cursor = parse(event.cursor)
                assert cursor is not None, "a cursor of this store's own"
                self._last = cursor
                message_id = event.message.message_id
                deadline, number = self._seen.get(message_id, (-math.inf, 0))
                self._seen[message_id] = event.deadline, event.number
                if deadline > trio.current_time():
                    event = RepeatedEntry(*event._replace(previous_number=number))
            elif isinstance(event, MessageUnsent):
                self._last = self._last._replace(number=event.number)
            self._waiting.append(event)
        if self._waiting and self._handle is not None and not self._news.is_set():
            new, self._waiting = self._waiting, []
            self._handle(new)
        elif self._waiting:
            self._news.set()

    def lose(self, number: int, version: int) -> None:
        """Report that messages may have been lost."""
        self.give([HistoryLost(str(self._last), number, version)])

    async def next(self) -> Sequence[RoomEvent]:
        """See `Feed.next`."""
        await self._news.wait()
        self._news = trio.Event()
        events, self._waiting = self._waiting, []
        return events
