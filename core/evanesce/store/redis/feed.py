"""What happens in a room, in order and without holes, from what Redis publishes and, where that fails, from the index.

Published are lines: first the room's epoch, then one for each happening:

    m TIME NUMBER MESSAGES EXPIRES JSON    a message; what the index and the cursors know of it, and its JSON, verbatim
    w TIME NUMBER MESSAGES MESSAGE-ID      a message was taken back
    e COUNT VERSION USER-ID NAME           somebody entered; names are JSON
    d COUNT VERSION USER-ID                somebody departed
    r COUNT VERSION USER-ID NAME           somebody has a new name
    t USER-ID                              somebody is typing; its epoch is `-`: any
    x REASON                               the room was closed; the reason is JSON

Numbers follow one another, and so do versions: a hole shows that something was lost on the way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

import msgspec
import trio

from evanesce.errors import StoreUnavailable
from evanesce.store.base import (
    Closed,
    Departed,
    Entered,
    Happening,
    Lost,
    MessageWithdrawn,
    Person,
    PresenceChanged,
    Renamed,
    Writing,
)
from evanesce.store.cursor import Cursor
from evanesce.store.redis.clock import Clock
from evanesce.store.redis.log import BODIES, ENTRIES, Entry, Log, Reading
from evanesce.store.redis.presence import PresenceKeeper

T = TypeVar("T")

PAYLOADS = 4_096
"""How many payloads wait for a follower; above that they are dropped, and fetched from the index again."""

PAYLOAD_BYTES = 8 * 1024 * 1024
"""How much the payloads that wait may hold together."""

LONGEST_DELAY = 0.25
"""The longest delay between two attempts to fetch what is missing, in seconds."""

_text = msgspec.json.Decoder(str)


class _Hole(Exception):
    """Something before this is missing; with `presence`, of what happened to people."""

    def __init__(self, *, presence: bool) -> None:
        super().__init__()
        self.presence = presence


class RoomFeed:
    """A `Feed` for one follower."""

    def __init__(self, room_id: str, roster: int, log: Log, presence: PresenceKeeper, clock: Clock) -> None:
        self._room_id = room_id
        self._roster = roster
        self._log = log
        self._presence = presence
        self._clock = clock
        self._payloads: deque[bytes] = deque()
        self._payload_bytes = 0
        self._news = trio.lowlevel.ParkingLot()
        self._quiet = False  # nothing came since it was last looked at
        self._look_due = False
        self._acknowledged = trio.Event()
        self._gaps = 0
        self._gaps_filled = 0
        self._ready: list[Happening] = []
        self._at = Cursor("", 0, 0, 0)
        self._version = 0
        self._seen: dict[str, float] = {}
        self._closed = False

    # From the subscriber

    def acknowledged(self) -> None:
        """Take note of a subscription: from the second on, one was lost before."""
        if self._acknowledged.is_set():
            self._gaps += 1
            self._news.unpark()
        self._acknowledged.set()

    def push(self, payload: bytes) -> None:
        """Take what was published."""
        self._payloads.append(payload)
        self._payload_bytes += len(payload)
        if len(self._payloads) > PAYLOADS or self._payload_bytes > PAYLOAD_BYTES:
            self._payloads.clear()
            self._payload_bytes = 0
            self._gaps += 1
        self._quiet = False
        self._news.unpark()

    # From the store

    def look(self) -> None:
        """Have the room's state looked at where it was quiet since the last time."""
        self._look_due = self._quiet
        self._quiet = True
        if self._look_due:
            self._news.unpark()

    # For the follower

    async def start(self) -> None:
        """Wait for the subscription, and take the room's position after it as the start."""
        await self._acknowledged.wait()
        reading = await self._log.read(self._room_id, None, 0)
        self._at, self._version = reading.position, reading.version
        if reading.closed is not None:
            self._close(reading.closed)

    async def next(self) -> Sequence[Happening]:
        """Wait for what happens next."""
        if self._ready or self._payloads:
            await trio.lowlevel.checkpoint()
        while not self._ready:
            if self._closed:
                await trio.sleep_forever()
            if self._gaps != self._gaps_filled:
                await self._recover()
            elif self._payloads:
                await self._take(self._payloads[0])
            elif self._look_due:
                self._look_due = False
                await self._fill()
            else:
                await self._news.park()
        happenings, self._ready = self._ready, []
        return happenings

    # What was published

    async def _take(self, payload: bytes) -> None:
        """Read one payload, after what is missing before it, and all that wait behind it and miss nothing."""
        try:
            while True:
                self._read(payload, lenient=False)
                self._drop(payload)
                if not self._payloads or self._closed:
                    return
                payload = self._payloads[0]
        except _Hole as hole:
            missing = hole
        await self._fill()
        if missing.presence:
            await self._look_at_people()
        self._read(payload, lenient=True)
        self._drop(payload)

    def _drop(self, payload: bytes) -> None:
        # While something was fetched they may all have been dropped for being too many.
        if self._payloads and self._payloads[0] is payload:
            self._payloads.popleft()
            self._payload_bytes -= len(payload)

    def _read(self, payload: bytes, *, lenient: bool) -> None:
        """Read a payload as far as nothing is missing before. What was read already is skipped.

        With `lenient` what is missing could not be had: it is of an epoch that is over, or lost.
        """
        head, *lines = payload.split(b"\n")
        if head != b"-" and head.decode() != self._at.epoch:
            if lenient:
                return
            raise _Hole(presence=True)
        for line in lines:
            kind = line[:1]
            if kind == b"m":
                self._read_message(line, lenient)
            elif kind == b"w":
                self._read_withdrawal(line, lenient)
            elif kind == b"t":
                self._ready.append(Writing(line[2:].decode()))
            elif kind == b"x":
                self._close(_text.decode(line[2:]))
            else:
                self._read_person(line.decode(), lenient)

    def _next_number(self, time: int, number: int, lenient: bool) -> bool:
        # A number that comes again at a later time: a replica that lagged took its primary's place.
        if number <= self._at.number and time <= self._at.milliseconds:
            return False
        if number != self._at.number + 1:
            if not lenient:
                raise _Hole(presence=False)
            self._ready.append(Lost(str(self._at), self._at.number, self._version))
        return True

    def _read_message(self, line: bytes, lenient: bool) -> None:
        _, time, number, messages, expires, body = line.split(b" ", 5)
        if self._next_number(int(time), int(number), lenient):
            at = Cursor(self._at.epoch, int(time), int(number), int(messages))
            self._give(at, body, int(expires))

    def _give(self, at: Cursor, body: bytes, expires_at: int | None = None) -> None:
        """Give a message, once: after the store lost its memory a repeated one gets a new entry."""
        self._at = at
        positioned = self._log.positioned(body, at, expires_at)
        now = trio.current_time()
        # Ids are kept in the order in which they expire, so far as all have the same TTL.
        while self._seen and next(iter(self._seen.values())) <= now:
            del self._seen[next(iter(self._seen))]
        message_id = positioned.message.message_id
        if self._seen.get(message_id, now) <= now:
            self._seen[message_id] = positioned.deadline
            self._ready.append(positioned)

    def _read_withdrawal(self, line: bytes, lenient: bool) -> None:
        _, time, number, messages, message_id = line.split(b" ")
        if self._next_number(int(time), int(number), lenient):
            self._at = Cursor(self._at.epoch, int(time), int(number), int(messages))
            self._ready.append(MessageWithdrawn(message_id.decode(), int(number)))

    def _read_person(self, line: str, lenient: bool) -> None:
        kind, count_text, version_text, user_id, *name = line.split(" ", 4)
        count, version = int(count_text), int(version_text)
        if version <= self._version:
            return
        if version != self._version + 1 and not lenient:
            raise _Hole(presence=True)
        self._version = version
        if kind == "d":
            self._ready.append(Departed(user_id, count, version))
            return
        person = Person(user_id, _text.decode(name[0]))
        self._ready.append(Entered(person, count, version) if kind == "e" else Renamed(person, version))

    def _close(self, reason: str) -> None:
        if not self._closed:
            self._closed = True
            self._ready.append(Closed(reason))
            self._presence.forget(self._room_id)

    # What was missed

    async def _recover(self) -> None:
        """Fetch all that happened while nobody listened."""
        gaps = self._gaps
        await self._fill()
        if not self._closed:
            await self._patiently(lambda: self._presence.restore(self._room_id))
            await self._look_at_people()
        self._gaps_filled = gaps

    async def _look_at_people(self) -> None:
        presence = await self._patiently(lambda: self._presence.presence(self._room_id, self._roster))
        if presence.version > self._version:
            self._version = presence.version
        self._ready.append(PresenceChanged(presence))

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        delay = 0.01
        while True:
            try:
                return await ask()
            except StoreUnavailable:
                await trio.sleep(delay)
                delay = min(delay * 2, LONGEST_DELAY)

    async def _fill(self) -> None:
        """Fetch from the index what is behind what was given last. What is given is noted at once: may be cancelled."""
        reading, entries, bodies, taken_back = await self._patiently(self._fetch)
        if reading.closed is not None:
            self._close(reading.closed)
            return
        new_epoch = reading.position.epoch != self._at.epoch
        behind = self._at if not new_epoch else reading.position._replace(number=0, messages=0)
        messages = reading.position.messages - behind.messages
        had = sum(body is not None for body in bodies.values())
        if new_epoch or had + taken_back < messages:
            # What is given next may have numbers that were given before.
            number = min([reading.position.number, *(entry.number - 1 for entry in entries)])
            self._ready.append(Lost(str(self._at), number, reading.version))
        if new_epoch:
            self._version = min(self._version, reading.version)
            self._presence.suspect(self._room_id)
        for entry in entries:
            at = Cursor(reading.position.epoch, entry.milliseconds, entry.number, entry.messages)
            body = bodies.get(entry.number)
            if entry.withdrawn:
                self._ready.append(MessageWithdrawn(entry.message_id, entry.number))
            elif body is not None:
                self._give(at, body)
        self._at = reading.position

    async def _fetch(self) -> tuple[Reading, list[Entry], dict[int, bytes | None], int]:
        """Read the index, the messages by number, and how many of those that are missing were taken back."""
        reading = await self._log.read(self._room_id, self._at, ENTRIES)
        people_are_behind = reading.position.epoch == self._at.epoch and reading.version < self._version
        if people_are_behind or reading.is_behind(self._at):
            await self._log.renew(self._room_id, self._at.epoch)
            reading = await self._log.read(self._room_id, self._at, ENTRIES)
        entries: list[Entry] = []
        async with aclosing(self._log.entries(self._room_id, reading)) as chunks:
            async for chunk in chunks:
                entries += chunk
        messages = [entry for entry in entries if not entry.withdrawn]
        bodies: dict[int, bytes | None] = {}
        for start in range(0, len(messages), BODIES):
            group = messages[start : start + BODIES]
            for entry, body in zip(group, await self._log.bodies(self._room_id, group), strict=True):
                bodies[entry.number] = body
        withdrawn = {entry.message_id for entry in entries if entry.withdrawn}
        missing = [entry for entry in messages if bodies[entry.number] is None]
        unexplained = [entry for entry in missing if entry.message_id not in withdrawn]
        taken_back = len(missing) - len(unexplained)
        if unexplained:
            # Taken back only after the index was read, if they were not lost.
            taken_back += await self._log.taken_back(self._room_id, unexplained)
        return reading, entries, bodies, taken_back
