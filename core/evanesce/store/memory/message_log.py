"""The messages of rooms in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from evanesce.errors import StoreUnavailable
from evanesce.model import Draft, Message, timestamp
from evanesce.store.cursor import Cursor, parse
from evanesce.store.events import Closed
from evanesce.store.memory.room import Room, StoredEntry, UnsentEntry
from evanesce.store.memory.server import MemoryServer
from evanesce.store.message_log import Conflict, History, LogEntry, MessageUnsent, Muted, Outcome, RoomClosed, Stored


class MemoryMessageLog:
    """A `MessageLog`. `ttl`, in seconds, is that of rooms without one of their own."""

    def __init__(self, server: MemoryServer, ttl: float) -> None:
        self._server = server
        self._ttl = round(ttl * 1000)

    async def append(
        self, room_id: str, drafts: Sequence[Draft], ttl: int | None = None, version: int = 0
    ) -> Sequence[Outcome] | RoomClosed:
        """See `MessageLog.append`."""

        return await self._server.ask(lambda: self._append(room_id, drafts, ttl, version))

    def append_one(
        self,
        room_id: str,
        draft: Draft,
        done: Callable[[Outcome | RoomClosed | StoreUnavailable], None],
        ttl: int | None = None,
        version: int = 0,
    ) -> None:
        """See `MessageLog.append_one`."""

        def act() -> Outcome | RoomClosed:
            outcomes = self._append(room_id, [draft], ttl, version)
            return outcomes if isinstance(outcomes, RoomClosed) else outcomes[0]

        self._server.call(act, done)

    def _append(
        self, room_id: str, drafts: Sequence[Draft], ttl: int | None, version: int
    ) -> Sequence[Outcome] | RoomClosed:
        room = self._server.room(room_id)
        if room.closed is not None:
            return RoomClosed()
        if room.rules is not None and room.rules.version > version:
            ttl = room.rules.message_ttl
        elif ttl is None:
            ttl = self._ttl
        stored: list[LogEntry] = []
        answers = [self._append_to(room, draft, ttl, stored) for draft in drafts]
        room.publish(stored)
        return answers

    def _append_to(self, room: Room, draft: Draft, ttl: int, stored: list[LogEntry]) -> Outcome:
        if draft.message_id in room.unsent:
            return Conflict()
        if (known := room.live.get(draft.message_id)) is not None:
            message = known.entry.message
            if message.sender_id != draft.sender_id:
                return Conflict()
            return Stored(message.created_at, message.expires_at, duplicate=True)
        now = self._server.stamp()
        if (muted_until := room.mutes.get(draft.sender_id, 0)) > now:
            return Muted(muted_until)
        if draft.ttl is not None:
            ttl = min(ttl, max(1, round(draft.ttl * 1000)))
        message = Message(
            message_id=draft.message_id,
            room_id=draft.room_id,
            sender_id=draft.sender_id,
            sender_name=draft.sender_name,
            content=draft.content,
            reply_to=draft.reply_to,
            created_at=timestamp(now),
            expires_at=timestamp(now + ttl),
        )
        room.number += 1
        room.count += 1
        cursor = Cursor(room.epoch, now, room.number, room.count)
        entry = LogEntry(message, str(cursor), room.number, self._server.deadline(now + ttl))
        room.live[message.message_id] = StoredEntry(entry, cursor, len(msgspec.json.encode(message)))
        stored.append(entry)
        return Stored(message.created_at, message.expires_at, duplicate=False)

    async def find(self, room_id: str, message_id: str, sender_id: str) -> Stored | None:
        """See `MessageLog.find`."""

        def act() -> Stored | None:
            stored = self._server.room(room_id).live.get(message_id)
            if stored is None or stored.entry.message.sender_id != sender_id:
                return None
            message = stored.entry.message
            return Stored(message.created_at, message.expires_at, duplicate=True)

        return await self._server.ask(act)

    async def unsend(self, room_id: str, message_id: str, sender_id: str) -> bool | RoomClosed | None:
        """See `MessageLog.unsend`."""

        def act() -> bool | RoomClosed | None:
            room = self._server.room(room_id)
            if room.closed is not None:
                return RoomClosed()
            stored = room.live.get(message_id)
            if stored is None:
                return None
            if stored.entry.message.sender_id != sender_id:
                return False
            del room.live[message_id]
            room.number += 1
            room.unsent[message_id] = UnsentEntry(message_id, room.number, stored.entry.number, stored.entry.deadline)
            room.publish([MessageUnsent(message_id, room.number)])
            return True

        return await self._server.ask(act)

    async def history(
        self, room_id: str, since: str | None, most: int, most_bytes: int, whole: bool = True
    ) -> History | RoomClosed:
        """See `MessageLog.history`."""

        def act() -> History | RoomClosed:
            room = self._server.room(room_id)
            if room.closed is not None:
                return RoomClosed()
            present = room.position(self._server.now())
            cursor = parse(since) if since is not None else None
            if cursor is not None and not cursor.is_valid(present):
                cursor = None
            behind = [e for e in room.live.values() if cursor is None or e.cursor.number > cursor.number]
            page: list[StoredEntry] = []
            size = 0
            for stored in behind[:most]:
                size += stored.size
                if page and size > most_bytes:
                    break
                page.append(stored)
            more = len(page) < len(behind)
            if page:
                end = page[-1].cursor
            elif more:
                first = behind[0].cursor
                end = cursor or first._replace(number=first.number - 1, messages=first.messages - 1)
            else:
                end = present
            if cursor is not None:
                cut = more and not whole
                last, live = (end, len(page)) if cut else (present, len(behind))
                missed: int | None = max(0, last.messages - cursor.messages - live)
                later = [entry for entry in room.unsent.values() if entry.number > cursor.number]
                missed_unsent = sum(cursor.number < entry.of_number <= last.number for entry in later)
                unsent = tuple(
                    MessageUnsent(entry.message_id, entry.number)
                    for entry in later
                    if entry.of_number <= cursor.number and (entry.number <= last.number or not cut)
                )
            else:
                missed, missed_unsent, unsent = 0 if since is None else None, 0, ()
            return History(
                messages=tuple(stored.entry for stored in page),
                cursor=str(end),
                number=end.number if more else room.number,
                more=more,
                missed=missed,
                missed_unsent=missed_unsent,
                unsent=unsent,
            )

        return await self._server.ask(act)

    async def close_room(self, room_id: str, reason: str) -> None:
        """See `MessageLog.close_room`."""

        def act() -> None:
            room = self._server.room(room_id)
            if room.closed is not None:
                return
            room.closed = reason
            room.live.clear()
            room.unsent.clear()
            room.names.clear()
            room.servers.clear()
            room.forget_rules()
            room.publish([Closed(reason)])

        await self._server.ask(act)
