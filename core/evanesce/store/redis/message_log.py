"""The messages of rooms in Redis. An index names the messages of a room; each message is a key with a TTL."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec
import trio

from evanesce.errors import StoreUnavailable
from evanesce.model import Draft, Message, milliseconds
from evanesce.store.cursor import Cursor, parse
from evanesce.store.events import RoomEvent
from evanesce.store.message_log import History, LogEntry, MessageUnsent, Outcome, RoomClosed, Stored
from evanesce.store.redis.appender import Appender
from evanesce.store.redis.client import Client, Deadline
from evanesce.store.redis.clock import Clock
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.scripts import CLOSE, GRACE, KEEP, READ, RENEW, UNSEND, new_epoch
from evanesce.store.sealing.interface import ContentCipher, UnknownKey

ENTRIES = 500
"""How many entries of an index are read in one call."""

BODIES = 64
"""How many messages are read in one call."""

ENDED = 100
"""How many entries that have ended a reader removes in one command."""

_MALFORMED = (ValueError, LookupError, TypeError, AttributeError)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Message)


class Entry(NamedTuple):
    """An entry of a room's index: a message, or that a message was unsent (`unsent`).

    `messages` counts the room's messages up to this one; it is 0 in an entry of the other kind. `until` is when the
    message expires, or would have expired, in milliseconds of the store's clock; 0 if that is not known.
    """

    message_id: str
    milliseconds: int
    number: int
    messages: int
    unsent: bool
    until: int


def _entry(raw: Any) -> Entry:
    (at, number), fields = raw[0].split(b"-"), raw[1]
    message_id = fields[1].decode()
    if fields[0] == b"m":
        until = int(fields[5]) if len(fields) > 5 else 0  # version 0.1.0 did not write it
        return Entry(message_id, int(at), int(number), int(fields[3]), False, until)
    return Entry(message_id, int(at), int(number), 0, True, int(fields[3]))


@dataclass(frozen=True, slots=True)
class Reading:
    """The position of a room at one moment, and the first entries of its index after another position.

    `now` is that moment, in milliseconds of the store's clock.
    """

    position: Cursor
    version: int
    closed: str | None
    entries: list[Entry]
    rules_version: int = 0
    now: int = 0

    def has_ended(self, entry: Entry) -> bool:
        """Return whether the message of an entry has ended for certain."""
        return not entry.unsent and 0 < entry.until < self.now

    def is_behind(self, position: Cursor) -> bool:
        """Return whether the room has lost entries up to `position`, and may have other ones in their place.

        Numbers decrease within an epoch only if a replica without the newest data became the primary.
        """
        return self.position.epoch == position.epoch and (
            self.position.number < position.number or bool(self.entries and self.entries[0].number <= position.number)
        )


class RedisMessageLog:
    """A `MessageLog`. `ttl`, and `keep` (how long the state of an unused room is kept), are in milliseconds.

    `ttl` is that of rooms without one of their own.
    `cipher` encrypts the content that Redis gets; None: it gets it readable.
    """

    def __init__(
        self,
        client: Client,
        keys: Keys,
        clock: Clock,
        ttl: int,
        *,
        keep: int = KEEP,
        cipher: ContentCipher | None = None,
    ) -> None:
        self._client = client
        self._cipher = cipher
        self._keys = keys
        self._clock = clock
        self._ttl = ttl
        self._keep = keep
        self._appender = Appender(client, keys, clock, ttl, keep=keep, cipher=cipher)

    async def append(
        self, room_id: str, drafts: Sequence[Draft], ttl: int | None = None, version: int = 0
    ) -> Sequence[Outcome] | RoomClosed:
        """See `MessageLog.append`."""
        return await self._appender.append(room_id, drafts, ttl, version)

    def append_one(
        self,
        room_id: str,
        draft: Draft,
        done: Callable[[Outcome | RoomClosed | StoreUnavailable], None],
        ttl: int | None = None,
        version: int = 0,
    ) -> None:
        """See `MessageLog.append_one`."""
        self._appender.append_one(room_id, draft, done, ttl, version)

    async def find(self, room_id: str, message_id: str, sender_id: str) -> Stored | None:
        """See `MessageLog.find`."""
        [[body]] = await self._client.run(("MGET", self._keys.message(room_id, message_id)))
        if body is None:
            return None
        message = _decoder.decode(body)
        if message.sender_id != sender_id:
            return None
        return Stored(message.created_at, message.expires_at, duplicate=True)

    async def unsend(self, room_id: str, message_id: str, sender_id: str) -> bool | RoomClosed | None:
        """See `MessageLog.unsend`."""
        keys = [
            *self._room(room_id),
            self._keys.message(room_id, message_id),
            self._keys.unsent(room_id, message_id),
        ]
        [answer] = await self._client.run(
            UNSEND.call(keys, new_epoch(), self._keep, self._ttl, GRACE, message_id, sender_id)
        )
        outcomes: dict[bytes, bool | RoomClosed | None] = {
            b"closed": RoomClosed(),
            b"none": None,
            b"other": False,
            b"done": True,
        }
        return outcomes[answer]

    async def close_room(self, room_id: str, reason: str) -> None:
        """Mark a room as closed, then erase its content. It is safe to repeat this if it failed half-way."""
        with Deadline():
            await self._close(room_id, reason)

    async def _close(self, room_id: str, reason: str) -> None:
        of_rules = (self._keys.bans, self._keys.voted, self._keys.mutes, self._keys.away, self._keys.votes)
        others = (self._keys.members, self._keys.events, *of_rules)
        keys = [self._keys.state(room_id), *(make(room_id) for make in others)]
        await self._client.run(CLOSE.call(keys, new_epoch(), self._keep, reason, _encoder.encode(reason)))
        index = self._keys.index(room_id)
        start = "-"
        while True:
            [raw] = await self._client.run(("XRANGE", index, start, "+", "COUNT", ENTRIES))
            ids = [_entry(entry).message_id for entry in raw]
            bodies = [key(room_id, id_) for id_ in ids for key in (self._keys.message, self._keys.unsent)]
            if len(raw) < ENTRIES:
                # The index is erased with its last messages: until then it tells what is left to erase.
                await self._client.run(("UNLINK", *bodies, index))
                return
            await self._client.run(("UNLINK", *bodies))
            start = f"({raw[-1][0].decode()}"

    async def read(self, room_id: str, behind: Cursor | None, entries: int) -> Reading:
        """Read a room's position, and up to `entries` of its index: after `behind` in the same epoch, else all."""
        epoch, entry = (behind.epoch, f"{behind.milliseconds}-{behind.number}") if behind is not None else ("", "")
        keys = [self._keys.state(room_id), self._keys.index(room_id)]
        [answer] = await self._client.run(READ.call(keys, new_epoch(), self._keep, self._ttl, entries, epoch, entry))
        return Reading(
            position=Cursor(answer[0].decode(), int(answer[1]), int(answer[2]), int(answer[3])),
            version=int(answer[4]),
            closed=answer[5].decode() or None,
            entries=[_entry(raw) for raw in answer[6]],
            rules_version=int(answer[7]),
            now=int(answer[8]),
        )

    async def renew(self, room_id: str, epoch: str) -> None:
        """Start a new epoch for a room whose numbers have decreased, unless it has a new one already."""
        keys = [self._keys.state(room_id), self._keys.events(room_id)]
        await self._client.run(RENEW.call(keys, new_epoch(), self._keep, epoch))

    async def entries(self, room_id: str, reading: Reading) -> AsyncGenerator[list[Entry], None]:
        """Yield the entries of the index up to the position of `reading`, which has the first `ENTRIES` of them."""
        entries = reading.entries
        yield entries
        end = reading.position
        while len(entries) == ENTRIES:
            start = f"({entries[-1].milliseconds}-{entries[-1].number}"
            [raw] = await self._client.run(
                ("XRANGE", self._keys.index(room_id), start, f"{end.milliseconds}-{end.number}", "COUNT", ENTRIES)
            )
            entries = [_entry(entry) for entry in raw]
            yield entries

    async def bodies(self, room_id: str, entries: Sequence[Entry]) -> list[bytes | None]:
        """Return messages as JSON: None for one that has expired or was unsent."""
        [bodies] = await self._client.run(
            ("MGET", *(self._keys.message(room_id, entry.message_id) for entry in entries))
        )
        return list(bodies) if self._cipher is None else [await self._learned(body) for body in bodies]

    def opened(self, body: bytes) -> bytes:
        """Return the JSON of a message with readable content. Raises `UnknownKey`; `ValueError` where it has none."""
        if self._cipher is None:
            return body
        message = self._cipher.open(_decoder.decode(body))
        if message is None:
            raise ValueError("the content of a message cannot be decrypted")
        return _encoder.encode(message)

    async def _learned(self, body: bytes | None) -> bytes | None:
        """Return what `opened` returns, and wait for a key that is not known yet; None where there is no content."""
        if body is None:
            return None
        for _ in range(2):
            try:
                return self.opened(body)
            except UnknownKey as unknown:
                if self._cipher is None or not await self._cipher.learn(unknown.chain):
                    return None
            except _MALFORMED:
                return None
        return None

    async def live(self, room_id: str, entries: Sequence[Entry]) -> int:
        """Count the messages that still exist."""
        [count] = await self._client.run(
            ("EXISTS", *(self._keys.message(room_id, entry.message_id) for entry in entries))
        )
        return int(count)

    async def missed_unsent(self, room_id: str, entries: Sequence[Entry]) -> int:
        """Count the messages that were unsent and would still be alive."""
        [count] = await self._client.run(
            ("EXISTS", *(self._keys.unsent(room_id, entry.message_id) for entry in entries))
        )
        return int(count)

    def to_entry(self, body: bytes, cursor: Cursor, now: float, *, published: bool = False) -> LogEntry:
        """Decode the JSON of a message, which may have been `published` a moment ago. `now` is Trio's time."""
        message = _decoder.decode(body)
        if published:  # otherwise the clock may have been set back since
            self._clock.witnessed(milliseconds(message.created_at))
        return LogEntry(message, str(cursor), cursor.number, self._deadline(message, now))

    async def refresh_deadlines(self, events: Sequence[RoomEvent], *, new: bool = False) -> list[RoomEvent]:
        """Return the same events; measure the clock and compute the deadlines again if a message seems to have expired.

        A message that Redis had a moment ago cannot have expired, and a `new` one has most of its TTL left. If it seems
        otherwise, the message arrived late, or Redis's clock was set back and this server does not know it yet.
        """
        if not self.seems_expired(events, trio.current_time(), new=new):
            return list(events)
        await self._clock.remeasure()
        now = trio.current_time()
        return [
            item._replace(deadline=self._deadline(item.message, now)) if isinstance(item, LogEntry) else item
            for item in events
        ]

    def seems_expired(self, events: Sequence[RoomEvent], now: float, *, new: bool) -> bool:
        """Return whether `refresh_deadlines` would measure the clock again. `now` is Trio's time."""
        least = now + (self._ttl / 2000 if new else 0.0)
        for item in events:
            if (
                isinstance(item, LogEntry)
                and item.deadline <= least
                and (not new or item.deadline <= now + _life(item.message) / 2000)  # its own TTL may be shorter
            ):
                return True
        return False

    def _deadline(self, message: Message, now: float) -> float:
        """Return when a message expires: at the latest after its whole TTL from now, however the clocks were set."""
        created, expires = milliseconds(message.created_at), milliseconds(message.expires_at)
        return now + min(self._clock.seconds_until(expires), (expires - created) / 1000)

    async def history(
        self, room_id: str, since: str | None, most: int, most_bytes: int, whole: bool = True
    ) -> History | RoomClosed:
        """See `MessageLog.history`."""
        with Deadline():
            return await self._history(room_id, since, most, most_bytes, whole)

    async def _history(
        self, room_id: str, since: str | None, most: int, most_bytes: int, whole: bool
    ) -> History | RoomClosed:
        cursor = parse(since) if since is not None else None
        reading = await self.read(room_id, cursor, ENTRIES)
        if cursor is not None and (not cursor.is_valid(reading.position) or reading.is_behind(cursor)):
            if cursor.epoch == reading.position.epoch:
                # The entries were read from the cursor, which is of this room, but too old or in the future.
                reading = await self.read(room_id, None, ENTRIES)
            cursor = None
        if reading.closed is not None:
            return RoomClosed()
        page = _Page(self, room_id, reading.position.epoch, most, most_bytes)
        if not reading.entries:  # as after a quiet time: there is nothing more to ask for
            return page.history(reading.position, since, cursor, 0, (), whole=whole)
        unsent: list[MessageUnsent] = []
        behind: dict[str, Entry] = {}
        explained: set[str] = set()
        now = self._clock.now()
        ended = _Ended(reading)
        async with aclosing(self.entries(room_id, reading)) as chunks:
            async for entries in chunks:
                # Behind a message that lives long there may be many that have ended.
                self._remove(room_id, ended.take(entries))
                await page.take([entry for entry in entries if not (entry.unsent or reading.has_ended(entry))])
                cut = page.more and (cursor is None or not whole)
                if cursor is not None:
                    last = page.last_number if cut else reading.position.number
                    behind.update(
                        (entry.message_id, entry) for entry in entries if not entry.unsent and entry.number <= last
                    )
                    for entry in entries:
                        if entry.unsent and entry.message_id in behind:
                            explained.add(entry.message_id)
                        elif entry.unsent and entry.number <= last and entry.until > now:
                            unsent.append(MessageUnsent(entry.message_id, entry.number))  # the client may have it
                if cut:
                    break
        missed_unsent = len(explained)
        if cursor is not None and not whole and page.more:
            # The entries that say that these were unsent may be after the part that was read.
            there = page.message_ids
            missing = [entry for id_, entry in behind.items() if id_ not in there and id_ not in explained]
            missed_unsent += await self.missed_unsent(room_id, missing) if missing else 0
        history = page.history(reading.position, since, cursor, missed_unsent, tuple(unsent), whole=whole)
        messages = [item for item in await self.refresh_deadlines(history.messages) if isinstance(item, LogEntry)]
        return replace(history, messages=tuple(messages))

    def _remove(self, room_id: str, entries: Sequence[Entry]) -> None:
        """Remove entries of messages that have ended, and have Redis erase these, as no eraser may find them later."""
        if len(entries) < ENDED:
            return
        index = self._keys.index(room_id)
        for start in range(0, len(entries), ENDED):
            group = entries[start : start + ENDED]
            self._client.post(
                ("EXISTS", *(self._keys.message(room_id, entry.message_id) for entry in group)),
                ("XDEL", index, *(f"{entry.milliseconds}-{entry.number}" for entry in group)),
            )

    def _room(self, room_id: str) -> list[str]:
        return [self._keys.state(room_id), self._keys.index(room_id), self._keys.events(room_id)]


class _Ended:
    """Finds the entries of a reading that have ended behind one that is alive, so that the index keeps them.

    Erasers remove nearly all of them (`walk.py`), but not those that were too many to remember.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._behind = False

    def take(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return those of the next entries that may be removed: never the last one of the index."""
        found: list[Entry] = []
        for entry in entries:
            if not self._reading.has_ended(entry):
                self._behind = True
            elif self._behind and entry.number < self._reading.position.number:
                found.append(entry)
        return found


class _Page:
    """A page of history that is being filled: the first live messages, and the number of all live messages."""

    def __init__(self, log: RedisMessageLog, room_id: str, epoch: str, most: int, most_bytes: int) -> None:
        self._log = log
        self._room_id = room_id
        self._epoch = epoch
        self._most = most
        self._bytes_left = most_bytes
        self._messages: list[LogEntry] = []
        self._end: Cursor | None = None
        self._live = 0

    @property
    def more(self) -> bool:
        """Whether there are live messages after this page."""
        return self._live > len(self._messages)

    @property
    def last_number(self) -> int:
        """The number of the last entry of this page, if there is `more`."""
        return self._end.number if self._messages and self._end is not None else 0

    @property
    def message_ids(self) -> set[str]:
        """The ids of the messages of this page."""
        return {entry.message.message_id for entry in self._messages}

    async def take(self, entries: Sequence[Entry]) -> None:
        """Add the next messages of the index to the page; when it is full, only count them."""
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
        self._messages.append(self._log.to_entry(body, self._end, trio.current_time()))

    def history(
        self,
        present: Cursor,
        since: str | None,
        cursor: Cursor | None,
        missed_unsent: int,
        unsent: tuple[MessageUnsent, ...],
        *,
        whole: bool,
    ) -> History:
        """Return the page of a room whose position was `present`. `cursor` is `since`, or None if that is not valid."""
        end = present if self._end is None else self._end
        if self.more and not self._messages and cursor is not None:
            end = cursor
        if cursor is not None:
            up_to, live = (present, self._live) if whole or not self.more else (end, len(self._messages))
            missed: int | None = max(0, up_to.messages - cursor.messages - live)
        else:
            missed = 0 if since is None else None
        return History(
            messages=tuple(self._messages),
            cursor=str(end),
            number=end.number if self.more else present.number,
            more=self.more,
            missed=missed,
            missed_unsent=missed_unsent,
            unsent=unsent,
        )


def _life(message: Message) -> int:
    """Return the TTL of a message, in milliseconds."""
    return milliseconds(message.expires_at) - milliseconds(message.created_at)
