"""A repository in memory, for tests in virtual time. It can be set to fail or to hang."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import trio

from evanesce.errors import BadRequest, PersistenceUnavailable, RegistrationTaken
from evanesce.interfaces import Inspection, RedisBinding
from evanesce.model import (
    ChatRoom,
    Record,
    RegisteredAccount,
    Registration,
    RoomActivity,
    SessionEnded,
    SessionStarted,
    Timestamp,
    User,
    UserSeen,
)
from evanesce.testing.memory_room_rules import MemoryRoomRules, delete
from evanesce.testing.memory_user_bans import MemoryUserBans


@dataclass(slots=True)
class SessionLog:
    """A row of `SessionLog`. `leave_time` is None until the session ends, and `lost` is about that end."""

    session_id: str
    user_id: str
    room_id: str
    join_time: Timestamp
    leave_time: Timestamp | None = None
    server: str = ""
    lost: bool = False


class MemoryRepository(MemoryRoomRules, MemoryUserBans):
    """An `evanesce.interfaces.Repository` in the memory of this process. No call waits for real time.

    `state` decides what the next calls do. `up`: they work. `down`: they raise `PersistenceUnavailable` and change
    nothing. `hung`: they wait until they are cancelled.

    Tests may read the contents. `users` and `chat_rooms` are, by id, those that are neither erased nor closed; `erased`
    and `closed` have the others with the time of their end, and `guests` the ids of erased guests. `session_logs` and
    `room_invites` are by id, `admissions` by room and user with the time of each, `room_bans` by room and subject, and
    `banned` by subject. `revoked` has the time until which a revoked sign-in has to be remembered. `registered` is by
    provider and user, `spent` by provider and proof. `binding` is the identity of the Redis to which the repository is
    bound, the number of heartbeats and the time of the last one. `purges` counts the calls of `purge`.
    """

    def __init__(self) -> None:
        MemoryRoomRules.__init__(self)
        MemoryUserBans.__init__(self)
        self.state: Literal["up", "down", "hung"] = "up"
        self.erased: dict[str, Timestamp] = {}
        self.guests: set[str] = set()
        self.closed: dict[str, tuple[ChatRoom, Timestamp]] = {}
        self.session_logs: dict[str, SessionLog] = {}
        self.revoked: dict[str, Timestamp] = {}
        self.registered: dict[tuple[str, str], Registration] = {}
        self.spent: dict[tuple[str, str], tuple[str, str]] = {}
        self.binding: tuple[str, int, float] | None = None
        self.purges = 0

    async def __aenter__(self) -> MemoryRepository:
        await self._answer()
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def _answer(self) -> None:
        """Reach a checkpoint, the only one of the calling method: it is cancelled here or not at all."""
        await trio.lowlevel.checkpoint()
        if self.state == "hung":
            await trio.sleep_forever()
        if self.state == "down":
            raise PersistenceUnavailable

    async def inspect(self) -> Inspection:
        """See `Repository.inspect`."""
        await self._answer()
        return Inspection("in memory", 1, 1)

    async def sign_in(
        self, user: User, provider: str = "", registration: Registration | None = None
    ) -> tuple[User, bool]:
        """See `Repository.sign_in`."""
        await self._answer()
        known = next((other for other in self.users.values() if other.world_id == user.world_id), None)
        key = (provider, user.user_id if known is None else known.user_id)
        if registration is not None and key not in self.registered:
            others = [other for (name, _), other in self.registered.items() if name == provider]
            if any(other.value == registration.value for other in others):
                raise RegistrationTaken
            self.registered[key] = registration
        self.revoked = {key: until for key, until in self.revoked.items() if until >= user.last_active}
        if known is not None:
            return self._seen(known, user.last_active), False
        self.users[user.user_id] = user
        return user, True

    async def user(self, user_id: str, sign_in_id: str | None = None) -> User | None:
        """See `Repository.user`."""
        await self._answer()
        return None if sign_in_id in self.revoked else self._with_ban(self.users.get(user_id))

    async def signed_in(self, sign_ins: Sequence[tuple[str, str]]) -> Sequence[User | None]:
        """See `Repository.signed_in`."""
        await self._answer()
        return [None if key in self.revoked else self._with_ban(self.users.get(user)) for user, key in sign_ins]

    async def has_account(self, world_id: str) -> bool:
        """See `Repository.has_account`."""
        await self._answer()
        return any(user.world_id == world_id for user in self.users.values())

    async def find_user(self, world_id: str) -> User | None:
        """See `Repository.find_user`."""
        await self._answer()
        return self._with_ban(next((user for user in self.users.values() if user.world_id == world_id), None))

    async def all_users(self, after: str, count: int) -> Sequence[User]:
        """See `Repository.all_users`."""
        await self._answer()
        found = [self._with_ban(self.users[key]) for key in sorted(self.users) if key > after][:count]
        return [user for user in found if user is not None]

    async def find_registration(self, provider: str, account_code: str) -> RegisteredAccount | None:
        """See `Repository.find_registration`."""
        await self._answer()
        for (name, user_id), kept in self.registered.items():
            if name == provider and kept.account_code == account_code:
                return RegisteredAccount(user_id=user_id, value=kept.value)
        return None

    async def change_registration(self, provider: str, user_id: str, value: str, replaces: str) -> bool:
        """See `Repository.change_registration`."""
        await self._answer()
        kept = self.registered.get((provider, user_id))
        if kept is None or kept.value not in (value, replaces):
            return False
        others = [other for key, other in self.registered.items() if key[0] == provider and key[1] != user_id]
        if any(other.value == value for other in others):
            raise RegistrationTaken
        self.registered[provider, user_id] = msgspec.structs.replace(kept, value=value)
        return True

    async def account_code(self, user_id: str) -> str | None:
        """See `Repository.account_code`."""
        await self._answer()
        return next((kept.account_code for (_, owner), kept in self.registered.items() if owner == user_id), None)

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
            self._erase_from_rules(user_id)
            self._erase_from_user_bans(user_id)
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

    async def update_room(self, room: ChatRoom) -> ChatRoom | None:
        """See `Repository.update_room`."""
        await self._answer()
        known = self.chat_rooms.get(room.room_id)
        if known is None:
            return None
        changed = msgspec.structs.replace(
            known,
            message_ttl=room.message_ttl,
            access=room.access,
            locked=room.locked,
            rules_version=room.rules_version + 1,
        )
        if known.rules_version == room.rules_version:
            self.chat_rooms[room.room_id] = changed
        return changed if self.chat_rooms[room.room_id] == changed else None

    async def raise_rules_version(self, room_id: str, version: int) -> None:
        """See `Repository.raise_rules_version`."""
        await self._answer()
        room = self.chat_rooms.get(room_id)
        if room is not None and room.rules_version < version:
            self.chat_rooms[room_id] = msgspec.structs.replace(room, rules_version=version)

    async def room(self, room_id: str) -> ChatRoom | None:
        """See `Repository.room`."""
        await self._answer()
        return self.chat_rooms.get(room_id)

    async def all_rooms(self, after: str, count: int, *, active: bool) -> Sequence[ChatRoom]:
        """See `Repository.all_rooms`."""
        await self._answer()
        rooms = (self.chat_rooms[key] for key in sorted(self.chat_rooms) if key > after)
        return [room for room in rooms if room.active or not active][:count]

    async def open_rooms(self, room_ids: Sequence[str]) -> Mapping[str, int]:
        """See `Repository.open_rooms`."""
        await self._answer()
        return {key: self.chat_rooms[key].rules_version for key in room_ids if key in self.chat_rooms}

    async def rooms(self, user_id: str, after: str | None, count: int) -> tuple[list[ChatRoom], str | None]:
        """See `Repository.rooms`."""
        await self._answer()
        own = [room for room in self.chat_rooms.values() if room.created_by == user_id]
        if after is not None:
            created_at, separator, room_id = after.partition("/")
            if not separator:
                raise BadRequest("after", "Use the `next` of the previous page.")
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
                        log.leave_time, log.lost = max(log.join_time, record.leave_time), record.lost
                case UserSeen():
                    if record.user_id in self.users:
                        self._seen(self.users[record.user_id], record.last_active)
                case RoomActivity():
                    if record.room_id in self.chat_rooms:
                        room = msgspec.structs.replace(self.chat_rooms[record.room_id], active=record.active)
                        self.chat_rooms[record.room_id] = room

    async def delete_ended_rules(self, before: Timestamp, count: int) -> int:
        """See `Repository.delete_ended_rules`."""
        deleted = await super().delete_ended_rules(before, count)
        return deleted + delete(self.banned, lambda _, ban: ban.until < before, count)

    async def servers_in_sessions(self) -> Sequence[str]:
        """See `Repository.servers_in_sessions`."""
        await self._answer()
        return sorted({log.server for log in self.session_logs.values() if log.leave_time is None})

    async def end_sessions(self, server: str, at: Timestamp, count: int) -> int:
        """See `Repository.end_sessions`."""
        await self._answer()
        left = [log for log in self.session_logs.values() if log.leave_time is None and log.server == server][:count]
        for log in left:
            log.leave_time, log.lost = max(log.join_time, at), True
        return len(left)

    async def lost(
        self, members: Sequence[tuple[str, str]], after: Timestamp, running: Collection[str]
    ) -> Sequence[bool]:
        """See `Repository.lost`."""
        await self._answer()
        return [self._was_lost(room_id, user_id, after, running) for room_id, user_id in members]

    def _was_lost(self, room_id: str, user_id: str, after: Timestamp, running: Collection[str]) -> bool:
        logs = [log for log in self.session_logs.values() if (log.room_id, log.user_id) == (room_id, user_id)]
        if any(log.leave_time is None and log.server in running for log in logs):
            return False
        removed = max(
            (ban.since for ban in self.room_bans.values() if ban.room_id == room_id and ban.user_id == user_id),
            default="",
        )
        left = [(log.server, log.leave_time) for log in logs if log.leave_time is not None and not log.lost]

        def counts(log: SessionLog) -> bool:
            ended = log.leave_time
            if removed >= log.join_time or (ended is not None and not (log.lost and ended >= after)):
                return False
            return not any(
                at >= log.join_time if server != log.server else ended is not None and at >= ended
                for server, at in left
            )

        return any(map(counts, logs))

    async def active_rooms(self, after: str, count: int) -> Sequence[str]:
        """See `Repository.active_rooms`."""
        await self._answer()
        return sorted(room.room_id for room in self.chat_rooms.values() if room.active and room.room_id > after)[:count]

    async def renew_links(self, base: str, count: int) -> int:
        """See `Repository.renew_links`."""
        await self._answer()
        old = [room for room in self.chat_rooms.values() if room.deep_link != base + room.room_id][:count]
        for room in old:
            self.chat_rooms[room.room_id] = msgspec.structs.replace(room, deep_link=base + room.room_id)
        return len(old)

    async def delete_sessions(self, before: Timestamp, count: int) -> int:
        """See `Repository.delete_sessions`."""
        await self._answer()
        return delete(self.session_logs, lambda _, log: log.leave_time is not None and log.leave_time < before, count)

    async def delete_rooms(self, before: Timestamp, count: int) -> int:
        """See `Repository.delete_rooms`."""
        await self._answer()
        old = {room_id for room_id, (_, at) in self.closed.items() if at < before}
        deleted = delete(self.session_logs, lambda _, log: log.room_id in old, count)
        deleted += self._delete_rules_of(old, count)
        old -= {log.room_id for log in self.session_logs.values()} | self._rooms_with_rules()
        return deleted + delete(self.closed, lambda room_id, _: room_id in old, count)

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

    async def bound_redis(self) -> RedisBinding | None:
        """See `Repository.bound_redis`."""
        await self._answer()
        if self.binding is None:
            return None
        identity, heartbeats, seen = self.binding
        return RedisBinding(identity, heartbeats, trio.current_time() - seen)

    async def bind_redis(self, identity: str, replacing: str | None) -> bool:
        """See `Repository.bind_redis`."""
        await self._answer()
        bound, heartbeats, _ = self.binding or (None, 0, 0.0)
        if bound in (replacing, identity):
            self.binding = (identity, heartbeats + 1, trio.current_time())
        return self.binding is not None and self.binding[0] == identity

    async def release_redis(self, identity: str) -> None:
        """See `Repository.release_redis`."""
        await self._answer()
        if self.binding is not None and self.binding[0] == identity:
            self.binding = (identity, self.binding[1], -math.inf)

    async def purge(self) -> None:
        """See `Repository.purge`."""
        await self._answer()
        self.purges += 1

    async def check(self) -> str:
        """See `Repository.check`."""
        await self._answer()
        return "in memory"

    async def try_write(self) -> None:
        """See `Repository.try_write`."""
        await self._answer()

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
