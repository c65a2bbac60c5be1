"""Whom and which rooms this server knows from the database: who is signed in comes back while that is away."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

import msgspec
import trio

from evanesce.model import ChatRoom, User
from evanesce.store.base import Notice, TokenRevoked, UserErased, UserRenamed

MOST = 10_000
"""How many people, and how many rooms, are known; the longest unseen are forgotten first."""

BELIEVED_SECONDS = 24 * 3600.0
"""How long what the database said is believed: the store knows as long which rooms were closed."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class _Recent(Generic[Key, Value]):
    """Values, each for `BELIEVED_SECONDS`, and no more than `MOST`."""

    def __init__(self) -> None:
        self.values: OrderedDict[Key, tuple[Value, float]] = OrderedDict()

    def put(self, key: Key, value: Value) -> None:
        self.values[key] = value, trio.current_time() + BELIEVED_SECONDS
        self.values.move_to_end(key)
        if len(self.values) > MOST:
            self.values.popitem(last=False)

    def get(self, key: Key) -> Value | None:
        value, until = self.values.get(key, (None, 0.0))
        return value if until > trio.current_time() else None


class Acquaintances:
    """What the database said last. It hears what servers tell each other, so that it says nothing that is over."""

    def __init__(self) -> None:
        self._users: _Recent[tuple[str, str], User] = _Recent()
        self._rooms: _Recent[str, ChatRoom] = _Recent()

    def meet(self, user: User, sign_in_id: str) -> None:
        """Remember somebody, by their sign-in."""
        self._users.put((user.user_id, sign_in_id), user)

    def user(self, user_id: str, sign_in_id: str) -> User | None:
        """Give somebody whom this server has met lately."""
        return self._users.get((user_id, sign_in_id))

    def visit(self, room: ChatRoom) -> None:
        """Remember a room that is open."""
        self._rooms.put(room.room_id, room)

    def room(self, room_id: str) -> ChatRoom | None:
        """Give a room that was open lately."""
        return self._rooms.get(room_id)

    def leave(self, room_id: str) -> None:
        """Forget a room: it is closed."""
        self._rooms.values.pop(room_id, None)

    def hear(self, notice: Notice) -> None:
        """Take note of what a server announced."""
        known = self._users.values
        match notice:
            case TokenRevoked(sign_in_id):
                for key in [key for key in known if key[1] == sign_in_id]:
                    del known[key]
            case UserErased(user_id):
                for key in [key for key in known if key[0] == user_id]:
                    del known[key]
            case UserRenamed(user_id, display_name):
                for key in [key for key in known if key[0] == user_id]:
                    user, until = known[key]
                    known[key] = msgspec.structs.replace(user, display_name=display_name), until
