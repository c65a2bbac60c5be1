"""A room's messages in Redis: appended, taken back, read behind a cursor, and erased when the room closes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import msgspec

from evanesce.model import Draft, Message, Timestamp, milliseconds
from evanesce.store.base import CURSOR_SECONDS, Conflict, Gone, History, MessageWithdrawn, Positioned, Stored
from evanesce.store.cursor import Cursor, parse
from evanesce.store.redis.clock import Clock
from evanesce.store.redis.commands import Commands
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.scripts import APPEND, CLOSE, READ, RENEW, WITHDRAW

KEEP = (CURSOR_SECONDS + 3600) * 1000
"""How long a room's state is kept after its last use, in milliseconds: longer than any cursor serves."""

ENTRIES = 500
"""How many entries of an index are read in one go."""

BODIES = 64
"""How many messages are read in one go."""

_random = Random()  # an epoch is no secret, and the system's own source is dear: one is made for every call
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Message)


def new_epoch() -> str:
    """Make a name for a room's state, in case it has none."""
    return f"{_random.getrandbits(64):016x}"


class Entry(NamedTuple):
    """An entry of a room's index: a message, or that one was taken back.

    `messages` counts the room's messages up to this one; `until` is when the message that was taken back would have
    expired, in milliseconds of the store's clock. Each is 0 in an entry of the other kind.
    """

    message_id: str
    milliseconds: int
    number: int
    messages: int
    withdrawn: bool
    until: int


def _entry(raw: Any) -> Entry:
    (at, number), fields = raw[0].split(b"-"), raw[1]
    message_id = fields[1].decode()
    if fields[0] == b"m":
        return Entry(message_id, int(at), int(number), int(fields[3]), False, 0)
    return Entry(message_id, int(at), int(number), 0, True, int(fields[3]))


@dataclass(frozen=True, slots=True)
class Reading:
    """Where a room stood at one moment, and the first of what its index had behind a position."""

    position: Cursor
    version: int
    closed: str | None
    entries: list[Entry]

    def is_behind(self, position: Cursor) -> bool:
        """Whether the room stands where it stood before it was at `position`, or went on from there another way.

        Under one epoch numbers never go back, unless a replica that lagged took its primary's place.
        """
        return self.position.epoch == position.epoch and (
            self.position.number < position.number or bool(self.entries and self.entries[0].number <= position.number)
        )


class Log:
    """The messages of all rooms. `ttl` is in milliseconds."""

    def __init__(self, link: Commands, keys: Keys, clock: Clock, ttl: int) -> None:
        self._link = link
        self._keys = keys
        self._clock = clock
        self._ttl = ttl

    async def append(self, room_id: str, drafts: Sequence[Draft]) -> Sequence[Stored | Conflict] | Gone:
        """Store messages in one call of a script."""
        keys = self._room(room_id)
        arguments: list[str | bytes] = []
        for draft in drafts:
            keys += self._keys.message(room_id, draft.message_id), self._keys.unsent(room_id, draft.message_id)
            # Its JSON without the closing brace: behind it the script writes the times, and the brace.
            arguments += draft.message_id, draft.sender_id, _encoder.encode(draft)[:-1]
        [answers] = await self._link.run(APPEND.call(keys, new_epoch(), KEEP, self._ttl, *arguments))
        if answers is None:
            return Gone()
        created_at, expires_at = _timestamp(answers[0]), _timestamp(answers[1])
        self._clock.witnessed(milliseconds(created_at))
        stored = Stored(created_at, expires_at, duplicate=False)
        return [_outcome(answer, stored) for answer in answers[2:]]

    async def withdraw(self, room_id: str, message_id: str, sender_id: str) -> bool | Gone | None:
        """Take a message back."""
        keys = [
            *self._room(room_id),
            self._keys.message(room_id, message_id),
            self._keys.unsent(room_id, message_id),
        ]
        [answer] = await self._link.run(WITHDRAW.call(keys, new_epoch(), KEEP, self._ttl, message_id, sender_id))
        outcomes: dict[bytes, bool | Gone | None] = {b"closed": Gone(), b"none": None, b"other": False, b"done": True}
        return outcomes[answer]

    async def close(self, room_id: str, reason: str) -> None:
        """Mark a room as closed, then erase what it holds. May be done again where it failed half-way."""
        keys = [self._keys.state(room_id), self._keys.people(room_id), self._keys.events(room_id)]
        await self._link.run(CLOSE.call(keys, new_epoch(), KEEP, reason, _encoder.encode(reason)))
        index = self._keys.index(room_id)
        start = "-"
        while True:
            [raw] = await self._link.run(("XRANGE", index, start, "+", "COUNT", ENTRIES))
            ids = [_entry(entry).message_id for entry in raw]
            bodies = [key(room_id, id_) for id_ in ids for key in (self._keys.message, self._keys.unsent)]
            if len(raw) < ENTRIES:
                # The index goes with the last of its messages: until then it says what is left to erase.
                await self._link.run(("UNLINK", *bodies, index))
                return
            await self._link.run(("UNLINK", *bodies))
            start = f"({raw[-1][0].decode()}"

    async def read(self, room_id: str, behind: Cursor | None, entries: int) -> Reading:
        """Read where a room stands and up to `entries` of its index behind a position of the same epoch, or all."""
        epoch, entry = (behind.epoch, f"{behind.milliseconds}-{behind.number}") if behind is not None else ("", "")
        keys = [self._keys.state(room_id), self._keys.index(room_id)]
        [answer] = await self._link.run(READ.call(keys, new_epoch(), KEEP, self._ttl, entries, epoch, entry))
        return Reading(
            position=Cursor(answer[0].decode(), int(answer[1]), int(answer[2]), int(answer[3])),
            version=int(answer[4]),
            closed=answer[5].decode() or None,
            entries=[_entry(raw) for raw in answer[6]],
        )

    async def renew(self, room_id: str, epoch: str) -> None:
        """Give a room whose numbers went back a new epoch, unless it has one already."""
        keys = [self._keys.state(room_id), self._keys.events(room_id)]
        await self._link.run(RENEW.call(keys, new_epoch(), KEEP, epoch))

    async def entries(self, room_id: str, reading: Reading) -> AsyncGenerator[list[Entry], None]:
        """Give all of the index up to where `reading` was made, which read the first `ENTRIES` of it."""
        entries = reading.entries
        yield entries
        end = reading.position
        while len(entries) == ENTRIES:
            start = f"({entries[-1].milliseconds}-{entries[-1].number}"
            [raw] = await self._link.run(
                ("XRANGE", self._keys.index(room_id), start, f"{end.milliseconds}-{end.number}", "COUNT", ENTRIES)
            )
            entries = [_entry(entry) for entry in raw]
            yield entries

    async def bodies(self, room_id: str, entries: Sequence[Entry]) -> list[bytes | None]:
        """Read messages: None for one that expired or was taken back."""
        [bodies] = await self._link.run(("MGET", *(self._keys.message(room_id, entry.message_id) for entry in entries)))
        return list(bodies)

    async def live(self, room_id: str, entries: Sequence[Entry]) -> int:
        """Count the messages that are still there."""
        [count] = await self._link.run(
            ("EXISTS", *(self._keys.message(room_id, entry.message_id) for entry in entries))
        )
        return int(count)

    async def taken_back(self, room_id: str, entries: Sequence[Entry]) -> int:
        """Count the messages that were taken back and would still be alive."""
        [count] = await self._link.run(("EXISTS", *(self._keys.unsent(room_id, entry.message_id) for entry in entries)))
        return int(count)

    def positioned(self, body: bytes, cursor: Cursor, expires_at: int | None = None) -> Positioned:
        """Make of a message's JSON what rooms are given. `expires_at` is in milliseconds, where it is known already."""
        message = _decoder.decode(body)
        self._clock.witnessed(milliseconds(message.created_at))
        deadline = self._clock.deadline(milliseconds(message.expires_at) if expires_at is None else expires_at)
        return Positioned(message, str(cursor), cursor.number, deadline)

    async def history(self, room_id: str, since: str | None, most: int, most_bytes: int) -> History | Gone:
        """Give a page of the live messages behind `since`."""
        cursor = parse(since) if since is not None else None
        reading = await self.read(room_id, cursor, ENTRIES)
        if cursor is not None and (not cursor.serves(reading.position) or reading.is_behind(cursor)):
            if cursor.epoch == reading.position.epoch:
                # It was read from there: of this room, but too old, or from the future.
                reading = await self.read(room_id, None, ENTRIES)
            cursor = None
        if reading.closed is not None:
            return Gone()
        page = _Page(self, room_id, reading.position.epoch, most, most_bytes)
        unsent: list[MessageWithdrawn] = []
        behind: set[str] = set()
        taken_back = 0
        now = self._clock.now()
        async with aclosing(self.entries(room_id, reading)) as chunks:
            async for entries in chunks:
                await page.take([entry for entry in entries if not entry.withdrawn])
                if cursor is not None:
                    behind.update(entry.message_id for entry in entries if not entry.withdrawn)
                    for entry in entries:
                        if entry.withdrawn and entry.message_id in behind:
                            taken_back += 1
                        elif entry.withdrawn and entry.until > now:  # of a message that the client may have
                            unsent.append(MessageWithdrawn(entry.message_id, entry.number))
                elif page.more:
                    break  # without a cursor nothing is counted
        return page.history(reading.position, since, cursor, taken_back, tuple(unsent))

    def _room(self, room_id: str) -> list[str]:
        return [self._keys.state(room_id), self._keys.index(room_id), self._keys.events(room_id)]


class _Page:
    """A page of history while it is being filled: the first messages that live, and how many there are in all."""

    def __init__(self, log: Log, room_id: str, epoch: str, most: int, most_bytes: int) -> None:
        self._log = log
        self._room_id = room_id
        self._epoch = epoch
        self._most = most
        self._bytes_left = most_bytes
        self._messages: list[Positioned] = []
        self._end: Cursor | None = None
        self._live = 0

    @property
    def more(self) -> bool:
        """Whether there are live messages behind this page."""
        return self._live > len(self._messages)

    async def take(self, entries: Sequence[Entry]) -> None:
        """Take the next messages of the index: into the page, or, once it is full, into the count alone."""
        start = 0
        while start < len(entries) and not self.more:
            group = entries[start : start + BODIES]
            start += BODIES
            for entry, body in zip(group, await self._log.bodies(self._room_id, group), strict=True):
                if body is not None:
                    self._add(entry, body)
        if start < len(entries):
            self._live += await self._log.live(self._room_id, entries[start:])

    def _add(self, entry: Entry, body: bytes) -> None:
        full = self.more or len(self._messages) >= self._most
        self._live += 1
        self._bytes_left -= len(body)
        if full or (self._bytes_left < 0 and self._messages):
            if self._end is None:
                self._end = Cursor(self._epoch, entry.milliseconds, entry.number - 1, entry.messages - 1)
            return
        self._end = Cursor(self._epoch, entry.milliseconds, entry.number, entry.messages)
        self._messages.append(self._log.positioned(body, self._end))

    def history(
        self,
        present: Cursor,
        since: str | None,
        cursor: Cursor | None,
        taken_back: int,
        unsent: tuple[MessageWithdrawn, ...],
    ) -> History:
        """Give the page, of a room whose position was `present`; `cursor` is `since` where that serves."""
        end = present if self._end is None else self._end
        if self.more and not self._messages and cursor is not None:
            end = cursor
        if cursor is not None:
            missed: int | None = max(0, present.messages - cursor.messages - self._live)
        else:
            missed = 0 if since is None else None
        return History(
            messages=tuple(self._messages),
            cursor=str(end),
            number=end.number if self.more else present.number,
            more=self.more,
            missed=missed,
            taken_back=taken_back,
            unsent=unsent,
        )


def _timestamp(raw: bytes) -> Timestamp:
    return Timestamp(raw.decode())


def _outcome(answer: Any, stored: Stored) -> Stored | Conflict:
    if answer == 1:
        return stored
    if answer == 0:
        return Conflict()
    return Stored(_timestamp(answer[0]), _timestamp(answer[1]), duplicate=True)
