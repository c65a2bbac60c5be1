"""The events of a room, in order and without gaps: from published messages or, if some were lost, from the index.

A payload consists of lines: first the room's epoch, then one line for each event:

    m TIME NUMBER MESSAGES EXPIRES JSON    a message: its place in the index, when it expires, and its JSON, verbatim
    w TIME NUMBER MESSAGES MESSAGE-ID      a message was unsent
    e COUNT VERSION USER-ID NAME           a user joined; names are JSON
    d COUNT VERSION USER-ID                a user left
    r COUNT VERSION USER-ID NAME           a user has a new name
    t USER-ID                              a user is typing; its epoch is `-`: any
    x REASON                               the room was closed; the reason is JSON
    o VERSION TTL ACCESS LOCKED ENCRYPTED CREATED-BY
                                           the rules; what may be true or false is 1 or 0
    k TIME UNTIL USER-ID REASON            a user was removed, and banned until then, or 0; the reason is JSON
    q UNTIL USER-ID                        a user may not write until then; 0: may write again
    b VOTES NEEDED EXPIRES REMOVED USER-ID
                                           somebody has voted for the removal of a user; REMOVED is 1 or 0

The letters are those of version 0.1.0 (`e` for enter, `d` for depart, `w` for withdraw), so that servers of both
versions understand each other. Numbers are consecutive, and so are versions of presence: a gap shows that something was
lost. A line of any other form counts as lost too, as every client of Redis with the right to publish here could have
sent it. That something of the last four kinds was lost shows only by the version of the rules, which the state of the
room has.
"""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

import msgspec
import trio

from evanesce.errors import StoreUnavailable
from evanesce.metrics import Count
from evanesce.store.cursor import Cursor
from evanesce.store.events import (
    Closed,
    HistoryLost,
    Joined,
    Left,
    PresenceChanged,
    Renamed,
    RoomEvent,
    RulesChanged,
    RulesUncertain,
    Typing,
)
from evanesce.store.message_log import MessageUnsent, RepeatedEntry
from evanesce.store.presence import Member
from evanesce.store.redis.client import Deadline
from evanesce.store.redis.message_log import BODIES, ENTRIES, Entry, Reading, RedisMessageLog
from evanesce.store.redis.presence import RedisPresence
from evanesce.store.redis.rules import READERS
from evanesce.store.sealing.interface import UnknownKey

logger = logging.getLogger(__name__)

T = TypeVar("T")

PAYLOADS = 4_096
"""How many payloads may wait for a follower. If there are more, all are dropped and read from the index again."""

PAYLOAD_BYTES = 8 * 1024 * 1024
"""The limit for the total size of the waiting payloads."""

START_SECONDS = 2.0
"""How long a new follower waits for the subscription and the room's position."""

LONGEST_DELAY = 0.25
"""The longest delay between two attempts to fetch what is missing, in seconds."""

_text = msgspec.json.Decoder(str)

_MALFORMED = (ValueError, LookupError, RecursionError, msgspec.MsgspecError)


class _Gap(Exception):
    """Events before this one are missing. `presence`: changes of presence are among them."""

    def __init__(self, *, presence: bool) -> None:
        super().__init__()
        self.presence = presence


class RoomFeed:
    """A `Feed` for one follower. It is a `Listener` of the room's channel. `filled` counts the gaps that it fills."""

    def __init__(
        self, room_id: str, roster: int, log: RedisMessageLog, presence: RedisPresence, filled: Count | None = None
    ) -> None:
        self._room_id = room_id
        self._roster = roster
        self._log = log
        self._presence = presence
        self._clock = trio.lowlevel.current_clock()  # `trio.current_time` makes two calls more for each message
        self._payloads: deque[bytes] = deque()
        self._payload_bytes = 0
        self._news = trio.lowlevel.ParkingLot()
        self._parked = False  # `next` waits for news
        self._handle: Callable[[Sequence[RoomEvent]], None] | None = None
        self._quiet = False  # nothing arrived since the last `look`
        self._look_due = False
        self._outage = 0  # the number of the last outage of the subscription
        self._loss_due = False  # a possible loss was not reported to the follower yet
        self._subscribed = trio.Event()
        self._gaps = 0
        self._gaps_filled = 0
        self._filled = filled or Count()
        self._ready: list[RoomEvent] = []
        self._at = Cursor("", 0, 0, 0)
        self._version = 0
        self._rules_version: int = 0
        self._rules_uncertain = False  # this has to be told after all other events
        # When each message expires that was delivered, when it was stored, and the number of its entry; and their ids
        # by when they expire.
        self._seen: dict[str, tuple[float, int, int]] = {}
        self._ends: list[tuple[float, str]] = []  # a heap: a message may expire before those that were sent before it
        self._closed = False
        self._malformed = 0  # how many payloads were malformed

    # From the subscriber

    def subscribed(self) -> None:
        """See `Listener.subscribed`. From the second call on, the subscription was lost before."""
        if self._subscribed.is_set():
            self._gaps += 1
            self._news.unpark()
        self._subscribed.set()

    def subscription_lost(self, outage: int) -> None:
        """Read the index, as nothing arrives. For each outage a possible loss is reported to the follower once."""
        if outage != self._outage:
            self._outage, self._loss_due = outage, True
            self._gaps += 1
            self._subscribed.set()  # so that `start` does not wait in vain
        self._look_due = True
        self._news.unpark()

    def push(self, payloads: Sequence[bytes]) -> None:
        """Hand over what was published, or add it to the queue where something has to be fetched first."""
        self._quiet = False
        left = self._hand_over(payloads) if self._is_current else payloads
        if left is None:
            return
        self._payloads.extend(left)
        self._payload_bytes += sum([len(payload) for payload in left])
        if len(self._payloads) > PAYLOADS or self._payload_bytes > PAYLOAD_BYTES:
            self._payloads.clear()
            self._payload_bytes = 0
            self._gaps += 1
        self._news.unpark()

    @property
    def _is_current(self) -> bool:
        """Whether the follower waits for news, and has got everything that was published before."""
        return (
            self._handle is not None
            and self._parked
            and not (self._payloads or self._ready or self._look_due or self._closed)
            and self._gaps == self._gaps_filled
        )

    def _hand_over(self, payloads: Sequence[bytes]) -> Sequence[bytes] | None:
        """Read payloads and hand their events over; return those that are left, for `next` to go on, or None."""
        read = 0
        try:
            for payload in payloads:
                self._read(payload, lenient=False)
                read += 1
                if self._closed:
                    break
        except (_Gap, *_MALFORMED):
            return payloads[read:]  # `next` reads them again, fetches what is missing, and tells what is malformed
        if self._handle is None or self._log.seems_expired(self._ready, self._clock.current_time(), new=True):
            return payloads[read:]
        events, self._ready = self._ready, []
        if events:
            self._handle(events)
        return None

    # From the store

    def look(self) -> None:
        """Read the room's state if nothing arrived since the last call."""
        self._look_due = self._quiet
        self._quiet = True
        if self._look_due:
            self._news.unpark()

    # For the follower

    async def start(self) -> None:
        """Wait for the subscription, and read the room's position after it: the feed starts there.

        Raises `StoreUnavailable` if this takes longer than `START_SECONDS`.
        """
        with Deadline(START_SECONDS):
            await self._subscribed.wait()
            gaps = self._gaps
            reading = await self._log.read(self._room_id, None, 0)
        self._at, self._version = reading.position, reading.version
        self._rules_version = reading.rules_version
        self._gaps_filled, self._loss_due = gaps, False  # what was before the start is not missing
        if reading.closed is not None:
            self._close(reading.closed)

    def deliver_to(self, handle: Callable[[Sequence[RoomEvent]], None] | None) -> None:
        """See `Feed.deliver_to`; None ends it."""
        self._handle = handle

    async def next(self) -> Sequence[RoomEvent]:
        """See `Feed.next`."""
        if self._ready or self._payloads or self._rules_uncertain:
            await trio.lowlevel.checkpoint()
        while not (self._ready or self._rules_uncertain):
            if self._closed:
                await trio.sleep_forever()
            if self._gaps != self._gaps_filled:
                await self._recover()
            elif self._payloads:
                await self._take_or_drop(self._payloads[0])
            elif self._look_due:
                self._look_due = False
                await self._look()
            else:
                self._parked = True
                try:
                    await self._news.park()
                finally:
                    self._parked = False
        self._ready = await self._log.refresh_deadlines(self._ready, new=True)
        if self._rules_uncertain:
            self._rules_uncertain = False
            self._ready.append(RulesUncertain())
        events, self._ready = self._ready, []
        return events

    # Published payloads

    async def _take_or_drop(self, payload: bytes) -> None:
        """Read payloads as `_take` does. Drop a malformed one, and fetch what may be missing from the index."""
        try:
            await self._take(payload)
        except _MALFORMED:
            if self._payloads:
                self._drop(self._payloads[0])
            self._gaps += 1
            self._malformed += 1
            if self._malformed == 1:  # once for each follower, as there may be many
                logger.warning("a payload that was published for room %s is malformed", self._room_id)

    async def _take(self, payload: bytes) -> None:
        """Read the waiting payloads up to a gap. Fetch what is missing there, then read the payload after the gap."""
        try:
            while True:
                self._read(payload, lenient=False)
                self._drop(payload)
                if not self._payloads or self._closed:
                    return
                payload = self._payloads[0]
        except _Gap as gap:
            missing = gap
        await self._fill()
        self._filled.inc()
        if missing.presence:
            await self._read_presence()
        self._read(payload, lenient=True)
        self._drop(payload)

    def _drop(self, payload: bytes) -> None:
        # All payloads may have been dropped meanwhile, because there were too many.
        if self._payloads and self._payloads[0] is payload:
            self._payloads.popleft()
            self._payload_bytes -= len(payload)

    def _read(self, payload: bytes, *, lenient: bool) -> None:
        """Read a payload; skip what was read before. Raises `_Gap` where events are missing.

        With `lenient` they could not be fetched: they are lost, or of an epoch that has ended.
        """
        head, *lines = payload.split(b"\n")
        if head != b"-" and head.decode() != self._at.epoch:
            if lenient:
                return
            raise _Gap(presence=True)
        for line in lines:
            kind = line[:1]
            if kind == b"m":
                self._read_message(line, lenient)
            elif kind == b"w":
                self._read_unsent(line, lenient)
            elif kind == b"t":
                self._ready.append(Typing(line[2:].decode()))
            elif kind == b"x":
                self._close(_text.decode(line[2:]))
            elif (reader := READERS.get(kind)) is not None:
                self._take_rules(reader(line.decode()))
            else:
                self._read_person(line.decode(), lenient)

    def _follows(self, at: Cursor, lenient: bool) -> bool:
        """Return whether an entry is new. Raises `_Gap` where entries before it are missing, as `_read` does."""
        if at.number == self._at.number + 1:
            return True
        # The same number at a later time: a replica without the newest data became the primary.
        if at.number <= self._at.number and at.milliseconds <= self._at.milliseconds:
            return False
        if not lenient:
            raise _Gap(presence=False)
        self._ready.append(HistoryLost(str(self._at), self._at.number, self._version))
        return True

    def _read_message(self, line: bytes, lenient: bool) -> None:
        _, time, number, messages, _, body = line.split(b" ", 5)
        at = Cursor(self._at.epoch, int(time), int(number), int(messages))
        if self._follows(at, lenient):
            try:
                body = self._log.opened(body)
            except UnknownKey:
                if lenient:
                    raise  # the index did not have it either: it is lost
                raise _Gap(presence=False) from None  # it is read from the index, which waits for the key
            self._give(at, body, published=True)

    def _give(self, at: Cursor, body: bytes, *, published: bool = False) -> None:
        """Deliver a message; one that gets a second entry, after the store lost its data, as `RepeatedEntry`."""
        self._at = at
        now = self._clock.current_time()
        entry = self._log.to_entry(body, at, now, published=published)
        while self._ends and self._ends[0][0] <= now:
            _, ended = heapq.heappop(self._ends)
            if ended in self._seen and self._seen[ended][0] <= now:  # else it was stored again
                del self._seen[ended]
        message_id = entry.message.message_id
        known = self._seen.get(message_id)
        if known is not None and known[1] >= at.milliseconds:
            return  # it is the same entry, which was read again
        self._seen[message_id] = entry.deadline, at.milliseconds, at.number
        heapq.heappush(self._ends, (entry.deadline, message_id))
        if known is None:
            self._ready.append(entry)
        else:
            self._ready.append(RepeatedEntry(*entry._replace(previous_number=known[2])))

    def _read_unsent(self, line: bytes, lenient: bool) -> None:
        _, time, number, messages, message_id = line.split(b" ")
        at = Cursor(self._at.epoch, int(time), int(number), int(messages))
        if self._follows(at, lenient):
            self._at = at
            self._ready.append(MessageUnsent(message_id.decode(), at.number))

    def _read_person(self, line: str, lenient: bool) -> None:
        kind, count_text, version_text, user_id, *name = line.split(" ", 4)
        count, version = int(count_text), int(version_text)
        if version <= self._version:
            return
        if version != self._version + 1 and not lenient:
            raise _Gap(presence=True)
        self._version = version
        if kind == "d":
            self._ready.append(Left(user_id, count, version))
            return
        person = Member(user_id, _text.decode(name[0]))
        self._ready.append(Joined(person, count, version) if kind == "e" else Renamed(person, version))

    def _take_rules(self, event: RoomEvent) -> None:
        if isinstance(event, RulesChanged):
            self._rules_version = max(self._rules_version, event.rules.version)
        self._ready.append(event)

    def _close(self, reason: str) -> None:
        if not self._closed:
            self._closed, self._rules_uncertain = True, False
            self._ready.append(Closed(reason))
            self._presence.forget(self._room_id)

    # What is missing

    async def _recover(self) -> None:
        """Fetch all events that were missed while there was no subscription."""
        gaps = self._gaps
        await self._fill()
        self._filled.inc()
        if not self._closed:
            await self._retry_until_available(lambda: self._presence.restore(self._room_id))
            await self._read_presence()
            self._rules_uncertain = True
        self._gaps_filled = gaps

    async def _look(self) -> None:
        """Fetch events from the index, in case published payloads were lost without a sign."""
        version = await self._fill()
        if not self._closed and version > self._version:
            await self._read_presence()

    async def _read_presence(self) -> None:
        presence = await self._retry_until_available(lambda: self._presence.snapshot(self._room_id, self._roster))
        if presence.version > self._version:
            self._version = presence.version
        self._ready.append(PresenceChanged(presence))

    async def _retry_until_available(self, ask: Callable[[], Awaitable[T]]) -> T:
        delay = 0.01
        while True:
            try:
                return await ask()
            except StoreUnavailable:
                await trio.sleep(delay)
                delay = min(delay * 2, LONGEST_DELAY)

    async def _fill(self) -> int:
        """Fetch the entries of the index after the last event. Return the room's version of presence.

        It is safe to cancel this: events are added to `_ready` without a checkpoint.
        """
        reading, entries, bodies, missed_unsent = await self._retry_until_available(self._fetch)
        if reading.closed is not None:
            self._close(reading.closed)
            return reading.version
        new_epoch = reading.position.epoch != self._at.epoch
        behind = self._at if not new_epoch else reading.position._replace(number=0, messages=0)
        messages = reading.position.messages - behind.messages
        had = sum(body is not None for body in bodies.values())
        if self._loss_due or new_epoch or had + missed_unsent < messages:
            self._loss_due = False
            # The next entries may have numbers that were used before.
            number = min([reading.position.number, *(entry.number - 1 for entry in entries)])
            self._ready.append(HistoryLost(str(self._at), number, reading.version))
        if new_epoch:
            self._version = min(self._version, reading.version)
            self._presence.suspect(self._room_id)
        if new_epoch or reading.rules_version != self._rules_version:
            self._rules_version, self._rules_uncertain = reading.rules_version, True
        for entry in entries:
            at = Cursor(reading.position.epoch, entry.milliseconds, entry.number, entry.messages)
            body = bodies.get(entry.number)
            if entry.unsent:
                self._ready.append(MessageUnsent(entry.message_id, entry.number))
            elif body is not None:
                self._give(at, body)
        self._at = reading.position
        return reading.version

    async def _fetch(self) -> tuple[Reading, list[Entry], dict[int, bytes | None], int]:
        """Read the index and the messages by number. Also count those missing messages that were unsent."""
        reading = await self._log.read(self._room_id, self._at, ENTRIES)
        presence_is_behind = reading.position.epoch == self._at.epoch and reading.version < self._version
        if presence_is_behind or reading.is_behind(self._at):
            await self._log.renew(self._room_id, self._at.epoch)
            reading = await self._log.read(self._room_id, self._at, ENTRIES)
        entries: list[Entry] = []
        async with aclosing(self._log.entries(self._room_id, reading)) as chunks:
            async for chunk in chunks:
                entries += chunk
        messages = [entry for entry in entries if not entry.unsent]
        bodies: dict[int, bytes | None] = {}
        for start in range(0, len(messages), BODIES):
            group = messages[start : start + BODIES]
            for entry, body in zip(group, await self._log.bodies(self._room_id, group), strict=True):
                bodies[entry.number] = body
        unsent = {entry.message_id for entry in entries if entry.unsent}
        missing = [entry for entry in messages if bodies[entry.number] is None]
        unexplained = [entry for entry in missing if entry.message_id not in unsent]
        missed_unsent = len(missing) - len(unexplained)
        if unexplained:
            # They were unsent after the index was read, or they are lost.
            missed_unsent += await self._log.missed_unsent(self._room_id, unexplained)
        return reading, entries, bodies, missed_unsent
