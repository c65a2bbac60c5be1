"""A cache of users and rooms, so that signed-in users can reconnect without the database, also while it is unavailable.

An entry must not outlive a revocation. Two rules ensure that:

- Every notice is counted. A caller takes a *mark* before it reads the database. The answer is not cached if a notice
  after that mark contradicts it, even where the answer comes later.
- When notices may have been lost, no entry from before is used until the database has confirmed it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Generic, NewType, TypeVar

import msgspec
import trio

from evanesce.model import ChatRoom, User
from evanesce.store.control_bus import (
    REVOCATION_SECONDS,
    DrainRequested,
    Notice,
    NoticesLost,
    TokenRevoked,
    UserBanned,
    UserDisconnected,
    UserErased,
    UserRenamed,
    ban_mark,
)

MOST = 10_000
"""How many sign-ins, and how many rooms, are cached; those that were not used for the longest time go first."""

MOST_ENDED = 10_000
"""How many of the latest revocations are remembered, for callers that were reading the database meanwhile."""

VALID_SECONDS = REVOCATION_SECONDS
"""How long after it was read an entry is valid: as long as the store knows revoked sign-ins and closed rooms."""

Mark = NewType("Mark", int)
"""The number of notices up to a moment."""

Value = TypeVar("Value")


@dataclass(slots=True)
class _Entry(Generic[Value]):
    """What the database returned at `mark`; it is valid until the time `until` of Trio's clock."""

    value: Value
    until: float
    mark: Mark


class AccountCache:
    """Users by their sign-ins, and open rooms, as the database last returned them."""

    def __init__(self) -> None:
        self._users: OrderedDict[str, _Entry[User]] = OrderedDict()  # by sign-in
        self._sign_ins: dict[str, set[str]] = {}  # of each user in `_users`
        self._rooms: OrderedDict[str, _Entry[ChatRoom]] = OrderedDict()
        self._notices = Mark(0)
        self._ended: OrderedDict[str, Mark] = OrderedDict()
        self._ended_known_since = Mark(0)  # `_ended` has all revocations after this mark
        self._lost_at = Mark(0)  # when notices may last have been lost

    # --- marks ----------------------------------------------------------------------------------------------------

    def mark(self) -> Mark:
        """Return the current mark; take it before the database is read."""
        return self._notices

    def ended_since(self, mark: Mark, user_id: str, sign_in_id: str) -> bool:
        """Return whether a notice after `mark` said that a sign-in has ended, or that its user was erased."""
        return self._ended.get(user_id, 0) > mark or self._ended.get(sign_in_id, 0) > mark

    def banned_since(self, mark: Mark, user_id: str) -> bool:
        """Return whether a notice after `mark` said that a user is banned, or is not any more."""
        return self._ended.get(ban_mark(user_id), 0) > mark

    def handle_notice(self, notice: Notice | NoticesLost) -> None:
        """Update the entries of the sign-in or user that a notice is about. It costs no more than those."""
        self._notices = Mark(self._notices + 1)
        match notice:
            case TokenRevoked(sign_in_id):
                self._end(sign_in_id)
                self._drop(sign_in_id)
            case UserErased(user_id):
                self._end(user_id)
                self._drop_all(user_id)
            case UserBanned(user_id):
                self._end(ban_mark(user_id))
                self._drop_all(user_id)
            case UserRenamed(user_id, display_name):
                for sign_in_id in self._sign_ins.get(user_id, ()):
                    entry = self._users[sign_in_id]
                    entry.value = msgspec.structs.replace(entry.value, display_name=display_name)
            case NoticesLost():
                self._lost_at = self._notices
            case UserDisconnected() | DrainRequested():
                pass

    def _end(self, ended: str) -> None:
        self._ended[ended] = self._notices
        self._ended.move_to_end(ended)
        if len(self._ended) > MOST_ENDED:
            _, self._ended_known_since = self._ended.popitem(last=False)

    def _valid_value(self, entry: _Entry[Value] | None) -> Value | None:
        if entry is None or entry.mark < self._lost_at or entry.until <= trio.current_time():
            return None
        return entry.value

    # --- users ----------------------------------------------------------------------------------------------------

    @property
    def sign_ins(self) -> Collection[tuple[str, str]]:
        """All user and sign-in ids in the cache, also those that the database has to confirm."""
        return [(entry.value.user_id, sign_in_id) for sign_in_id, entry in self._users.items()]

    def keep_user(self, user: User, sign_in_id: str, mark: Mark) -> None:
        """Cache a user who signs in or reconnects, as the database returned it after `mark`."""
        if mark < self._lost_at or mark < self._ended_known_since:
            return
        if self.ended_since(mark, user.user_id, sign_in_id) or self.banned_since(mark, user.user_id):
            return
        self._users[sign_in_id] = _Entry(user, trio.current_time() + VALID_SECONDS, mark)
        self._users.move_to_end(sign_in_id)
        self._sign_ins.setdefault(user.user_id, set()).add(sign_in_id)
        if len(self._users) > MOST:
            self._drop(next(iter(self._users)))

    def confirm_user(self, user: User, sign_in_id: str, mark: Mark) -> None:
        """Note that the database has confirmed a sign-in after `mark`. It does not count as a use."""
        entry = self._users.get(sign_in_id)
        if entry is None:
            return
        if entry.until <= trio.current_time():
            self._drop(sign_in_id)
        else:
            entry.value, entry.mark = user, mark

    def user(self, user_id: str, sign_in_id: str) -> User | None:
        """Return a user who was signed in when the database last answered; None where no valid entry says so."""
        user = self._valid_value(self._users.get(sign_in_id))
        if user is None or user.user_id != user_id:
            return None
        self._users.move_to_end(sign_in_id)
        return user

    def any_user(self, user_id: str) -> User | None:
        """Return a user of whom any sign-in is cached; None where no valid entry has the user."""
        entries = (self._users[sign_in_id] for sign_in_id in self._sign_ins.get(user_id, ()))
        return next((user for entry in entries if (user := self._valid_value(entry)) is not None), None)

    def _drop_all(self, user_id: str) -> None:
        for sign_in_id in tuple(self._sign_ins.get(user_id, ())):
            self._drop(sign_in_id)

    def _drop(self, sign_in_id: str) -> None:
        entry = self._users.pop(sign_in_id, None)
        if entry is None:
            return
        sign_ins = self._sign_ins[entry.value.user_id]
        sign_ins.discard(sign_in_id)
        if not sign_ins:
            del self._sign_ins[entry.value.user_id]

    # --- rooms ----------------------------------------------------------------------------------------------------

    @property
    def room_ids(self) -> Collection[str]:
        """All room ids in the cache, also those that the database has to confirm."""
        return self._rooms.keys()

    def keep_room(self, room: ChatRoom, mark: Mark) -> None:
        """Cache an open room, as the database returned it after `mark`."""
        if mark < self._lost_at:
            return
        self._rooms[room.room_id] = _Entry(room, trio.current_time() + VALID_SECONDS, mark)
        self._rooms.move_to_end(room.room_id)
        if len(self._rooms) > MOST:
            self._rooms.popitem(last=False)

    def confirm_rooms(self, versions: Mapping[str, int], mark: Mark) -> None:
        """Note that the database has confirmed after `mark` that rooms are open. It does not count as a use.

        `versions` has the version of the rules of each. A room with other ones is dropped.
        """
        for room_id, version in versions.items():
            if (entry := self._rooms.get(room_id)) is None:
                continue
            if entry.value.rules_version == version:
                entry.mark = mark
            else:
                self.drop_room(room_id)

    def room(self, room_id: str) -> ChatRoom | None:
        """Return a room that was open when the database last answered; None where no valid entry says so."""
        room = self._valid_value(self._rooms.get(room_id))
        if room is not None:
            self._rooms.move_to_end(room_id)
        return room

    def drop_room(self, room_id: str) -> None:
        """Remove a closed room."""
        self._rooms.pop(room_id, None)
