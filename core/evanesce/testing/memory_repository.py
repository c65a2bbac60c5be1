"""A repository in memory, for tests in virtual time; it can be told to fail or to hang."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import trio

from evanesce.errors import BadRequest, PersistenceUnavailable
from evanesce.model import ChatRoom, Record, RoomActivity, SessionEnded, SessionStarted, Timestamp, User, UserSeen


@dataclass(slots=True)
class SessionLog:
    """A row of SessionLog; `leave_time` is None while the session goes on."""

    session_id: str
    user_id: str
    room_id: str
    join_time: Timestamp
    leave_time: Timestamp | None = None
    server: str = ""


class MemoryRepository:
    """Keeps `evanesce.interfaces.Repository` with nothing outside this process; no call waits for real time.

    `state` is what the next calls meet: `up`; `down`, `PersistenceUnavailable` is raised and nothing done; `hung`, a
    call waits until it is cancelled. What it holds may be looked at: `users` and `chat_rooms` are by id those that are
    neither erased nor closed, `erased` and `closed` say since when the others are, `guests` which of the erased were
    some; `session_logs` are by session id; `revoked` says until when a sign-in has to be remembered; `registered` is by
    provider and user, `spent` by provider and proof.
    """

    def __init__(self) -> None:
        self.state: Literal["up", "down", "hung"] = "up"
        self.users: dict[str, User] = {}
        self.erased: dict[str, Timestamp] = {}
        self.guests: set[str] = set()
        self.chat_rooms: dict[str, ChatRoom] = {}
        self.closed: dict[str, tuple[ChatRoom, Timestamp]] = {}
        self.session_logs: dict[str, SessionLog] = {}
        self.revoked: dict[str, Timestamp] = {}
        self.registered: dict[tuple[str, str], str] = {}
        self.spent: dict[tuple[str, str], tuple[str, str]] = {}

    async def __aenter__(self) -> MemoryRepository:
        await self._answer()
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def _answer(self) -> None:
        """Be cancelled here or not at all: what comes behind it in a method never waits."""
        await trio.lowlevel.checkpoint()
        if self.state == "hung":
            await trio.sleep_forever()
        if self.state == "down":
            raise PersistenceUnavailable

    async def sign_in(self, user: User) -> tuple[User, bool]:
        """See `Repository.sign_in`."""
        await self._answer()
        self.revoked = {key: until for key, until in self.revoked.items() if until >= user.last_active}
        for known in self.users.values():
            if known.world_id == user.world_id:
                return self._seen(known, user.last_active), False
        self.users[user.user_id] = user
        return user, True

    async def user(self, user_id: str, sign_in_id: str | None = None) -> User | None:
        """See `Repository.user`."""
        await self._answer()
        return None if sign_in_id in self.revoked else self.users.get(user_id)

    async def has_account(self, world_id: str) -> bool:
        """See `Repository.has_account`."""
        await self._answer()
        return any(user.world_id == world_id for user in self.users.values())

    async def registration(self, provider: str, user_id: str) -> str | None:
        """See `Repository.registration`."""
        await self._answer()
        return self.registered.get((provider, user_id))

    async def register(self, provider: str, user_id: str, value: str) -> str | None:
        """See `Repository.register`."""
        await self._answer()
        taken = any(key[0] == provider and other == value for key, other in self.registered.items())
        if user_id in self.users and not taken:
            self.registered.setdefault((provider, user_id), value)
        return self.registered.get((provider, user_id))

    async def spend(self, provider: str, user_id: str, proof: str, attempt: str) -> bool:
        """See `Repository.spend`."""
        await self._answer()
        if user_id in self.users:
            self.spent.setdefault((provider, proof), (user_id, attempt))
        return self.spent.get((provider, proof)) == (user_id, attempt)

    async def update_user(self, user: User) -> User | None:
        """See `Repository.update_user`."""
        await self._answer()
        known = self.users.get(user.user_id)
        if known is None:
            return None
        changed = msgspec.structs.replace(known, display_name=user.display_name, email=user.email)
        self.users[user.user_id] = changed
        return changed

    async def erase_user(self, user_id: str, now: Timestamp) -> list[str]:
        """See `Repository.erase_user`."""
        await self._answer()
        user = self.users.pop(user_id, None)
        if user is not None:
            self.erased[user_id] = now
            if user.guest:
                self.guests.add(user_id)
            self.registered = {key: value for key, value in self.registered.items() if key[1] != user_id}
            self.spent = {key: by for key, by in self.spent.items() if by[0] != user_id}
            for room in [room for room in self.chat_rooms.values() if room.created_by == user_id]:
                self._close(room.room_id, now)
            for log in [log for log in self.session_logs.values() if log.user_id == user_id]:
                del self.session_logs[log.session_id]
        erased_at = self.erased.get(user_id)
        return [key for key, (room, at) in self.closed.items() if room.created_by == user_id and at == erased_at]

    async def revoke_sign_in(self, sign_in_id: str, until: Timestamp) -> None:
        """See `Repository.revoke_sign_in`."""
        await self._answer()
        self.revoked[sign_in_id] = max(until, self.revoked.get(sign_in_id, until))

    async def create_room(self, room: ChatRoom, most: int) -> bool:
        """See `Repository.create_room`."""
        await self._answer()
        known = self.chat_rooms.get(room.room_id)
        if known is not None or room.room_id in self.closed:
            return known is not None and known.created_by == room.created_by
        if room.created_by not in self.users:
            return False
        if sum(other.created_by == room.created_by for other in self.chat_rooms.values()) >= most:
            return False
        self.chat_rooms[room.room_id] = room
        return True

    async def room(self, room_id: str) -> ChatRoom | None:
        """See `Repository.room`."""
        await self._answer()
        return self.chat_rooms.get(room_id)

    async def rooms(self, user_id: str, after: str | None, count: int) -> tuple[list[ChatRoom], str | None]:
        """See `Repository.rooms`."""
        await self._answer()
        own = [room for room in self.chat_rooms.values() if room.created_by == user_id]
        if after is not None:
            created_at, separator, room_id = after.partition("/")
            if not separator:
                raise BadRequest("after", "Give the `next` of the page before.")
            own = [room for room in own if (room.created_at, room.room_id) < (created_at, room_id)]
        own.sort(key=lambda room: (room.created_at, room.room_id), reverse=True)
        page = own[:count]
        return page, f"{page[-1].created_at}/{page[-1].room_id}" if len(own) > count else None

    async def close_room(self, room_id: str, now: Timestamp) -> bool:
        """See `Repository.close_room`."""
        await self._answer()
        return self._close(room_id, now)

    async def record(self, records: Sequence[Record]) -> None:
        """See `Repository.record`."""
        await self._answer()
        for record in records:
            match record:
                case SessionStarted():
                    self._start(record)
                case SessionEnded():
                    log = self.session_logs.get(record.session_id)
                    if log is not None and log.leave_time is None:
                        log.leave_time = record.leave_time
                case UserSeen():
                    if record.user_id in self.users:
                        self._seen(self.users[record.user_id], record.last_active)
                case RoomActivity():
                    if record.room_id in self.chat_rooms:
                        room = msgspec.structs.replace(self.chat_rooms[record.room_id], active=record.active)
                        self.chat_rooms[record.room_id] = room

    async def servers_in_sessions(self) -> Sequence[str]:
        """See `Repository.servers_in_sessions`."""
        await self._answer()
        return sorted({log.server for log in self.session_logs.values() if log.leave_time is None})

    async def end_sessions(self, server: str, at: Timestamp, count: int) -> int:
        """See `Repository.end_sessions`."""
        await self._answer()
        left = [log for log in self.session_logs.values() if log.leave_time is None and log.server == server][:count]
        for log in left:
            log.leave_time = max(log.join_time, at)
        return len(left)

    async def active_rooms(self, after: str, count: int) -> Sequence[str]:
        """See `Repository.active_rooms`."""
        await self._answer()
        return sorted(room.room_id for room in self.chat_rooms.values() if room.active and room.room_id > after)[:count]

    async def delete_sessions(self, before: Timestamp, count: int) -> int:
        """See `Repository.delete_sessions`."""
        await self._answer()
        ended = [log for log in self.session_logs.values() if log.leave_time is not None and log.leave_time < before]
        return self._delete_sessions(ended[:count])

    async def delete_rooms(self, before: Timestamp, count: int) -> int:
        """See `Repository.delete_rooms`."""
        await self._answer()
        old = [room_id for room_id, (_, at) in self.closed.items() if at < before]
        deleted = self._delete_sessions([log for log in self.session_logs.values() if log.room_id in old][:count])
        used = {log.room_id for log in self.session_logs.values()}
        gone = [room_id for room_id in old if room_id not in used][:count]
        for room_id in gone:
            del self.closed[room_id]
        return deleted + len(gone)

    async def unused_guests(self, before: Timestamp, skip: int, count: int) -> Sequence[str]:
        """See `Repository.unused_guests`."""
        await self._answer()
        unused = [user for user in self.users.values() if user.guest and user.last_active < before]
        unused.sort(key=lambda user: (user.last_active, user.user_id))
        return [user.user_id for user in unused[skip : skip + count]]

    async def delete_guests(self, count: int) -> int:
        """See `Repository.delete_guests`."""
        await self._answer()
        creators = {room.created_by for room, _ in self.closed.values()}
        gone = [user_id for user_id in self.guests if user_id not in creators][:count]
        for user_id in gone:
            self.guests.remove(user_id)
            del self.erased[user_id]
        return len(gone)

    async def check(self) -> str:
        """See `Repository.check`."""
        await self._answer()
        return "in memory"

    def _seen(self, user: User, at: Timestamp) -> User:
        seen = msgspec.structs.replace(user, last_active=max(user.last_active, at))
        self.users[user.user_id] = seen
        return seen

    def _close(self, room_id: str, now: Timestamp) -> bool:
        room = self.chat_rooms.pop(room_id, None)
        if room is None:
            return False
        self.closed[room_id] = (msgspec.structs.replace(room, active=False), now)
        return True

    def _start(self, record: SessionStarted) -> None:
        known_room = record.room_id in self.chat_rooms or record.room_id in self.closed
        if record.user_id in self.users and known_room and record.session_id not in self.session_logs:
            log = SessionLog(record.session_id, record.user_id, record.room_id, record.join_time, server=record.server)
            self.session_logs[record.session_id] = log

    def _delete_sessions(self, logs: Sequence[SessionLog]) -> int:
        for log in logs:
            del self.session_logs[log.session_id]
        return len(logs)
