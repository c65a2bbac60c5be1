"""A message store in this process's memory, for tests: the same contract, deterministic, under virtual time too.

Several servers are several `MemoryStore`s on one `MemoryServer`, which has the switches for faults.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
import trio

from evanesce.errors import StoreUnavailable
from evanesce.model import Draft, Message, Timestamp, timestamp
from evanesce.store.base import (
    Closed,
    Conflict,
    Departed,
    Entered,
    Feed,
    Gone,
    Happening,
    History,
    Lost,
    MessageWithdrawn,
    Notice,
    Person,
    Positioned,
    Presence,
    PresenceChanged,
    Renamed,
    Stored,
    Writing,
)
from evanesce.store.cursor import Cursor, parse
from evanesce.testing.memory_usage import MemoryUsage

T = TypeVar("T")

STARTED_AT = 1_767_225_600_000
"""The store's time when it is first asked for it: 2026-01-01T00:00:00.000Z."""

LEASE_SECONDS = 9.0
"""How long after the memory was lost it is not known which servers live."""

ANSWER_SECONDS = 2.0
"""How long a caller waits for an answer that is held back."""

NOTICES = 1_000
"""How many notices wait for whoever asks; what comes when so many wait is dropped."""


@dataclass
class _Entry:
    """A message of the log: where it stands, and how it may still be had."""

    positioned: Positioned
    cursor: Cursor
    size: int


@dataclass
class _Withdrawal:
    message_id: str
    number: int
    of_number: int
    deadline: float


@dataclass
class _Room:
    epoch: str
    number: int = 0
    count: int = 0
    version: int = 0
    closed: str | None = None
    live: OrderedDict[str, _Entry] = field(default_factory=OrderedDict[str, _Entry])
    withdrawn: dict[str, _Withdrawal] = field(default_factory=dict[str, _Withdrawal])
    names: dict[str, str] = field(default_factory=dict[str, str])
    servers: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    feeds: list[_MemoryFeed] = field(default_factory=list["_MemoryFeed"])

    def presence(self, roster: int) -> Presence:
        people = tuple(Person(user_id, name) for user_id, name in self.names.items())
        return Presence(len(people), self.version, people if len(people) <= roster else None)

    def publish(self, happenings: Sequence[Happening]) -> None:
        for feed in self.feeds:
            feed.give(happenings)

    def purge(self, now: float) -> None:
        for message_id in [key for key, entry in self.live.items() if entry.positioned.deadline <= now]:
            del self.live[message_id]
        for message_id in [key for key, gone in self.withdrawn.items() if gone.deadline <= now]:
            del self.withdrawn[message_id]


class _MemoryFeed:
    """What waits for one follower. Not bounded: a test that does not read its feed keeps it."""

    def __init__(self, roster: int, start: Cursor) -> None:
        self.roster = roster
        self._waiting: list[Happening] = []
        self._last = start
        self._seen: dict[str, float] = {}
        self._news = trio.Event()

    def give(self, happenings: Sequence[Happening]) -> None:
        for happening in happenings:
            if isinstance(happening, Positioned):
                cursor = parse(happening.cursor)
                assert cursor is not None, "a cursor of this store's own"
                self._last = cursor
                message_id = happening.message.message_id
                if self._seen.get(message_id, -math.inf) > trio.current_time():
                    continue
                self._seen[message_id] = happening.deadline
            elif isinstance(happening, MessageWithdrawn):
                self._last = self._last._replace(number=happening.number)
            self._waiting.append(happening)
        if self._waiting:
            self._news.set()

    def lose(self, number: int, version: int) -> None:
        self.give([Lost(str(self._last), number, version)])

    async def next(self) -> Sequence[Happening]:
        await self._news.wait()
        self._news = trio.Event()
        happenings, self._waiting = self._waiting, []
        return happenings


class MemoryServer:
    """What several stores share: the messages, the presence and the faults."""

    def __init__(self) -> None:
        self.up = True
        self.rooms: dict[str, _Room] = {}
        self.kept: dict[str, tuple[bytes, float]] = {}
        self.duties: dict[str, float] = {}
        self.usage = MemoryUsage()
        self.lives: dict[str, float] = {}
        """Until when each server lives, in seconds since the store was first asked for the time."""
        self.lost_at = -math.inf
        self.listeners: list[trio.MemorySendChannel[Notice]] = []
        self.postponed: list[Callable[[], object]] = []
        """What is done when the server is up again."""
        self._zero: float | None = None
        self._epochs = 0
        self._released: trio.Event | None = None

    # Time

    def elapsed(self) -> float:
        """Seconds since the store was first asked for the time."""
        if self._zero is None:
            self._zero = trio.current_time()
        return trio.current_time() - self._zero

    def now(self) -> int:
        """The store's time in milliseconds, rounded up: never behind."""
        return STARTED_AT + math.ceil(self.elapsed() * 1000 - 1e-3)

    def stamp(self) -> int:
        """The store's time in milliseconds, rounded down: what it writes into messages."""
        return STARTED_AT + math.floor(self.elapsed() * 1000 + 1e-3)

    def deadline(self, expires_at: int) -> float:
        """When `expires_at`, in milliseconds of the store's clock, is in Trio's."""
        self.elapsed()
        assert self._zero is not None
        return self._zero + (expires_at - STARTED_AT) / 1000

    # Faults

    def go_down(self) -> None:
        """Refuse every call from now on. Feeds wait."""
        self.up = False

    def come_back(self, *, with_memory: bool = True) -> None:
        """Answer again, with what was stored or without. The servers put back who is in their rooms."""
        self.up = True
        for act in self.postponed:
            act()
        self.postponed.clear()
        for room in self.rooms.values():
            if not with_memory:
                self._epochs += 1
                room.epoch, room.count = f"e{self._epochs}", 0
                room.live.clear()
                room.withdrawn.clear()
            room.version += 1
            for feed in room.feeds:
                if not with_memory:
                    feed.lose(room.number, room.version)
                feed.give([PresenceChanged(room.presence(feed.roster))])
        if not with_memory:
            self.kept.clear()
            self.duties.clear()
            self.usage.forget()
            self.lives = {name: until for name, until in self.lives.items() if until == math.inf}
            self.lost_at = self.elapsed()

    def hold_answers(self) -> None:
        """Do what is asked but keep the answer, until `release_answers`; callers give up after `ANSWER_SECONDS`."""
        self._released = trio.Event()

    def release_answers(self) -> None:
        """Give the answers that were held, and no longer hold any."""
        if self._released is not None:
            self._released.set()
            self._released = None

    async def ask(self, act: Callable[[], T]) -> T:
        """Do one call, all of it at once, under the faults that are switched on."""
        await trio.lowlevel.checkpoint()
        if not self.up:
            raise StoreUnavailable()
        answer = act()
        if (released := self._released) is not None:
            with trio.move_on_after(ANSWER_SECONDS) as patience:
                await released.wait()
            if patience.cancelled_caught:
                raise StoreUnavailable()
        return answer

    def room(self, room_id: str) -> _Room:
        """Give a room as it is now, made on first use."""
        room = self.rooms.get(room_id)
        if room is None:
            self._epochs += 1
            room = self.rooms[room_id] = _Room(f"e{self._epochs}")
        room.purge(trio.current_time())
        return room


class MemoryStore:
    """A `MessageStore` for the server `server_id`; `ttl` is in seconds."""

    def __init__(self, *, ttl: float = 60.0, server_id: str = "memory", server: MemoryServer | None = None) -> None:
        self.server = MemoryServer() if server is None else server
        self._ttl = round(ttl * 1000)
        self._server_id = server_id
        send, self._notices = trio.open_memory_channel[Notice](NOTICES)
        self.server.listeners.append(send)
        self._name = f"{server_id}.{len(self.server.lives)}"
        self.server.lives[self._name] = math.inf

    def stop(self) -> None:
        """Take this server's people out of all rooms, as a server that ends does, or one whose lease ran out."""
        self.server.lives[self._name] = self.server.elapsed()
        for room in self.server.rooms.values():
            self._leave(room, [user for user, servers in room.servers.items() if self._server_id in servers])

    @property
    def healthy(self) -> bool:
        """Whether the server is up."""
        return self.server.up

    @property
    def server_name(self) -> str:
        """The name of this server's present life."""
        return self._name

    def now(self) -> int:
        """The store's time."""
        return self.server.now()

    def _position(self, room: _Room) -> Cursor:
        return Cursor(room.epoch, self.server.now(), room.number, room.count)

    # Messages

    async def append(self, room_id: str, drafts: Sequence[Draft]) -> Sequence[Stored | Conflict] | Gone:
        """Store messages and give them to the followers."""

        def act() -> Sequence[Stored | Conflict] | Gone:
            room = self.server.room(room_id)
            if room.closed is not None:
                return Gone()
            stored: list[Positioned] = []
            answers = [self._append_one(room, draft, stored) for draft in drafts]
            room.publish(stored)
            return answers

        return await self.server.ask(act)

    def _append_one(self, room: _Room, draft: Draft, stored: list[Positioned]) -> Stored | Conflict:
        if draft.message_id in room.withdrawn:
            return Conflict()
        if (known := room.live.get(draft.message_id)) is not None:
            message = known.positioned.message
            if message.sender_id != draft.sender_id:
                return Conflict()
            return Stored(message.created_at, message.expires_at, duplicate=True)
        now = self.server.stamp()
        message = Message(
            message_id=draft.message_id,
            room_id=draft.room_id,
            sender_id=draft.sender_id,
            sender_name=draft.sender_name,
            content=draft.content,
            created_at=timestamp(now),
            expires_at=timestamp(now + self._ttl),
        )
        room.number += 1
        room.count += 1
        cursor = Cursor(room.epoch, now, room.number, room.count)
        positioned = Positioned(message, str(cursor), room.number, self.server.deadline(now + self._ttl))
        room.live[message.message_id] = _Entry(positioned, cursor, len(msgspec.json.encode(message)))
        stored.append(positioned)
        return Stored(message.created_at, message.expires_at, duplicate=False)

    async def withdraw(self, room_id: str, message_id: str, sender_id: str) -> bool | Gone | None:
        """Take a message back."""

        def act() -> bool | Gone | None:
            room = self.server.room(room_id)
            if room.closed is not None:
                return Gone()
            entry = room.live.get(message_id)
            if entry is None:
                return None
            if entry.positioned.message.sender_id != sender_id:
                return False
            del room.live[message_id]
            room.number += 1
            room.withdrawn[message_id] = _Withdrawal(
                message_id, room.number, entry.positioned.number, entry.positioned.deadline
            )
            room.publish([MessageWithdrawn(message_id, room.number)])
            return True

        return await self.server.ask(act)

    async def history(self, room_id: str, since: str | None, most: int, most_bytes: int) -> History | Gone:
        """Give a page of the live messages behind `since`."""

        def act() -> History | Gone:
            room = self.server.room(room_id)
            if room.closed is not None:
                return Gone()
            present = self._position(room)
            cursor = parse(since) if since is not None else None
            if cursor is not None and not cursor.serves(present):
                cursor = None
            behind = [e for e in room.live.values() if cursor is None or e.cursor.number > cursor.number]
            page: list[_Entry] = []
            size = 0
            for entry in behind[:most]:
                size += entry.size
                if page and size > most_bytes:
                    break
                page.append(entry)
            more = len(page) < len(behind)
            if cursor is not None:
                missed: int | None = max(0, room.count - cursor.messages - len(behind))
                later = [w for w in room.withdrawn.values() if w.number > cursor.number]
                unsent = tuple(MessageWithdrawn(w.message_id, w.number) for w in later if w.of_number <= cursor.number)
                taken_back = len(later) - len(unsent)
            else:
                missed, taken_back, unsent = 0 if since is None else None, 0, ()
            if page:
                end = page[-1].cursor
            elif more:
                first = behind[0].cursor
                end = cursor or first._replace(number=first.number - 1, messages=first.messages - 1)
            else:
                end = present
            return History(
                messages=tuple(entry.positioned for entry in page),
                cursor=str(end),
                number=end.number if more else room.number,
                more=more,
                missed=missed,
                taken_back=taken_back,
                unsent=unsent,
            )

        return await self.server.ask(act)

    async def close_room(self, room_id: str, reason: str) -> None:
        """Close a room for good."""

        def act() -> None:
            room = self.server.room(room_id)
            if room.closed is not None:
                return
            room.closed = reason
            room.live.clear()
            room.withdrawn.clear()
            room.names.clear()
            room.servers.clear()
            room.publish([Closed(reason)])

        await self.server.ask(act)

    @asynccontextmanager
    async def follow(self, room_id: str, roster: int) -> AsyncGenerator[Feed, None]:
        """Hear of what happens in a room from now on."""

        def act() -> tuple[_Room, _MemoryFeed]:
            room = self.server.room(room_id)
            feed = _MemoryFeed(roster, self._position(room))
            if room.closed is not None:
                feed.give([Closed(room.closed)])
            room.feeds.append(feed)
            return room, feed

        room, feed = await self.server.ask(act)
        try:
            yield feed
        finally:
            room.feeds.remove(feed)

    # Presence

    async def enter(
        self, room_id: str, people: Sequence[Person], capacity: int, roster: int
    ) -> tuple[Presence, frozenset[str]] | Gone:
        """Note that users came in on this server."""

        def act() -> tuple[Presence, frozenset[str]] | Gone:
            room = self.server.room(room_id)
            if room.closed is not None:
                return Gone()
            refused: set[str] = set()
            for person in people:
                if person.user_id in room.servers:
                    room.servers[person.user_id].add(self._server_id)
                elif len(room.names) >= capacity:
                    refused.add(person.user_id)
                else:
                    room.names[person.user_id] = person.display_name
                    room.servers[person.user_id] = {self._server_id}
                    room.version += 1
                    room.publish([Entered(person, len(room.names), room.version)])
            return room.presence(roster), frozenset(refused)

        return await self.server.ask(act)

    async def leave(self, room_id: str, user_ids: Sequence[str]) -> int:
        """Note that users left on this server."""

        def act() -> int:
            return self._leave(self.server.room(room_id), user_ids)

        try:
            return await self.server.ask(act)
        except StoreUnavailable:
            self.server.postponed.append(act)
            raise

    def _leave(self, room: _Room, user_ids: Sequence[str]) -> int:
        for user_id in user_ids:
            servers = room.servers.get(user_id, set())
            if self._server_id not in servers:
                continue
            servers.remove(self._server_id)
            if not servers:
                del room.servers[user_id], room.names[user_id]
                room.version += 1
                room.publish([Departed(user_id, len(room.names), room.version)])
        return len(room.names)

    async def rename(self, room_id: str, person: Person) -> None:
        """Change a user's name in a room."""

        def act() -> None:
            room = self.server.room(room_id)
            if room.names.get(person.user_id, person.display_name) != person.display_name:
                room.names[person.user_id] = person.display_name
                room.version += 1
                room.publish([Renamed(person, room.version)])

        await self.server.ask(act)

    async def presence(self, room_id: str, roster: int) -> Presence:
        """Say who is in a room."""
        return await self.server.ask(lambda: self.server.room(room_id).presence(roster))

    async def counts(self, room_ids: Sequence[str]) -> list[int]:
        """Say how many are in each room."""
        return await self.server.ask(lambda: [len(self.server.room(room_id).names) for room_id in room_ids])

    async def writing(self, room_id: str, user_id: str) -> None:
        """Tell the followers that a user is typing."""
        await self.server.ask(lambda: self.server.room(room_id).publish([Writing(user_id)]))

    # Between servers

    async def announce(self, notice: Notice) -> None:
        """Tell every store on this server."""

        def act() -> None:
            for listener in self.server.listeners:
                if listener.statistics().current_buffer_used < NOTICES:
                    listener.send_nowait(notice)

        await self.server.ask(act)

    async def notices(self) -> Notice:
        """Wait for the next notice."""
        return await self._notices.receive()

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        """Keep `value` for a while."""

        def act() -> None:
            self.server.kept[key] = value, trio.current_time() + seconds

        await self.server.ask(act)

    async def take(self, key: str) -> bytes | None:
        """Take what was put."""

        def act() -> bytes | None:
            value, deadline = self.server.kept.pop(key, (b"", -math.inf))
            return value if deadline > trio.current_time() else None

        return await self.server.ask(act)

    async def take_tokens(self, bucket: str, wanted: int, rate: float, burst: int) -> tuple[int, float]:
        """Take tokens out of a bucket."""
        server = self.server
        return await server.ask(lambda: server.usage.take_tokens(bucket, wanted, rate, burst, server.elapsed()))

    async def connect(self, user_id: str, here: int, most: int) -> bool:
        """Note a user's connections on this server, where there are not too many."""
        server, name = self.server, self.server_name
        return await server.ask(lambda: server.usage.connect(user_id, name, here, most, server.lives, server.elapsed()))

    def disconnect(self, user_id: str, here: int) -> None:
        """Note how many connections of a user are left here."""
        if self.server.up:
            self.server.usage.disconnect(user_id, self.server_name, here)

    async def servers(self) -> Mapping[str, Timestamp] | None:
        """Say until when each server lives or lived."""

        def act() -> Mapping[str, Timestamp] | None:
            elapsed = self.server.elapsed()
            if elapsed - self.server.lost_at < LEASE_SECONDS:
                return None
            ends = {name: min(until, elapsed + LEASE_SECONDS) for name, until in self.server.lives.items()}
            return {name: timestamp(STARTED_AT + math.floor(until * 1000)) for name, until in ends.items()}

        return await self.server.ask(act)

    async def claim(self, duty: str, seconds: float) -> bool:
        """Take on a duty, where nobody has it."""

        def act() -> bool:
            if self.server.duties.get(duty, -math.inf) > trio.current_time():
                return False
            self.server.duties[duty] = trio.current_time() + seconds
            return True

        return await self.server.ask(act)

    async def check(self) -> Sequence[str]:
        """Say what this store is."""
        return await self.server.ask(lambda: ["in this process's memory: nothing is kept"])
