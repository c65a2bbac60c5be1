"""What Evanesce knows: users, rooms, session logs, messages, and the times they carry.

Field names are the owner's, in snake case; on the wire and in Redis they are camelCase.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import lru_cache
from typing import NewType

import msgspec

Timestamp = NewType("Timestamp", str)
"""A time of the store's clock: RFC 3339 in UTC with milliseconds, `2026-11-22T05:42:00.123Z`. Sorts as text."""


def timestamp(milliseconds: int) -> Timestamp:
    """Write `milliseconds` since 1970 as a `Timestamp`."""
    seconds, rest = divmod(milliseconds, 1000)
    return Timestamp(f"{_written(seconds)}.{rest:03d}Z")


def milliseconds(time: Timestamp) -> int:
    """Read a `Timestamp` as milliseconds since 1970."""
    return _read(time[:19]) * 1000 + int(time[20:23])


# Each is asked of the same few seconds over and over, for every message: those now and those a TTL ahead.


@lru_cache(maxsize=16)
def _written(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


@lru_cache(maxsize=16)
def _read(time: str) -> int:
    return int(datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp())


def new_id() -> str:
    """Make a random id (RFC 9562, version 4), as `uuid.uuid4` does, without making an object of it first."""
    random = os.urandom(16).hex()
    return f"{random[:8]}-{random[8:12]}-4{random[13:16]}-{_VARIANT[random[16]]}{random[17:20]}-{random[20:]}"


_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


class User(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One human, or one guest. `world_id` is World ID's unique identifier, or `provider:subject`.

    `guest`: nobody can sign in to this account again, once its tokens have run out.
    """

    user_id: str
    world_id: str
    display_name: str
    email: str | None = None
    created_at: Timestamp
    last_active: Timestamp
    guest: bool = False


class ChatRoom(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A room that exists. `active`: someone is in it now."""

    room_id: str
    created_by: str
    created_at: Timestamp
    deep_link: str
    active: bool = False


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A message as Redis holds it, whole, until `expires_at`."""

    message_id: str
    room_id: str
    sender_id: str
    sender_name: str
    content: str
    created_at: Timestamp
    expires_at: Timestamp


class Draft(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A message before the store has it: no times yet. Plugins may refuse it or change its content."""

    message_id: str
    room_id: str
    sender_id: str
    sender_name: str
    content: str


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who an authenticator found somebody to be.

    `subject` is what never changes for this person at this provider. It is stored as `User.worldId`: as
    `provider:subject`, or bare where `is_world_id` says that it is World ID's own unique identifier.
    `display_name` and `email` are taken for a new account only. `guest`: no credential ever gives this subject again,
    so that the account is of no use to anybody once its tokens have run out.
    """

    subject: str
    display_name: str
    email: str | None = None
    is_world_id: bool = False
    guest: bool = False


class KnownUser(msgspec.Struct, frozen=True, kw_only=True):
    """The account that an authenticator found somebody to have. No account is ever made of it."""

    user_id: str


# What the write-behind queue carries to the repository. Each may be written twice with the same result.


class SessionStarted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A row of SessionLog: a connection to `server` joined a room."""

    session_id: str
    user_id: str
    room_id: str
    join_time: Timestamp
    server: str


class SessionEnded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The connection of `session_id` left its room."""

    session_id: str
    leave_time: Timestamp


class UserSeen(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A user did something: moves `lastActive`, never back."""

    user_id: str
    last_active: Timestamp


class RoomActivity(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Somebody is in a room (`active`), or nobody is any more."""

    room_id: str
    active: bool


Record = SessionStarted | SessionEnded | UserSeen | RoomActivity
