"""The data model: users, rooms, session logs, messages, and their timestamps.

Fields are in snake case here. On the wire and in Redis they are in camel case.
"""

from __future__ import annotations

import enum
import os
from datetime import UTC, datetime
from functools import lru_cache
from typing import NewType

import msgspec

from evanesce.confidential import Confidential

Timestamp = NewType("Timestamp", str)
"""A time of the store's clock: RFC 3339 in UTC with milliseconds, `2026-11-22T05:42:00.123Z`. Sorted as text."""


def timestamp(milliseconds: int) -> Timestamp:
    """Return `milliseconds` since 1970 as a `Timestamp`."""
    seconds, rest = divmod(milliseconds, 1000)
    return Timestamp(f"{_written(seconds)}.{rest:03d}Z")


@lru_cache(maxsize=256)
def milliseconds(time: Timestamp) -> int:
    """Return a `Timestamp` as milliseconds since 1970."""
    return _read(time[:19]) * 1000 + int(time[20:23])


# Cached, because every message needs the same few seconds: those of now, and those of a TTL later.


@lru_cache(maxsize=16)
def _written(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


@lru_cache(maxsize=16)
def _read(time: str) -> int:
    return int(datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp())


def new_id() -> str:
    """Return a random id (RFC 9562, version 4), as `uuid.uuid4` does, but faster: without a `UUID` object."""
    random = os.urandom(16).hex()
    return f"{random[:8]}-{random[8:12]}-4{random[13:16]}-{_VARIANT[random[16]]}{random[17:20]}-{random[20:]}"


_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


class User(Confidential, msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An account of a person or a guest. `world_id` is the unique identifier of World ID, or `provider:subject`.

    `guest`: nobody can sign in to this account again when its tokens have expired. `banned_until` is when the last ban
    of the account from all servers ends or ended; None where there is none.
    """

    user_id: str
    world_id: str
    display_name: str
    email: str | None = None
    created_at: Timestamp
    last_active: Timestamp
    guest: bool = False
    banned_until: Timestamp | None = None


class Access(enum.StrEnum):
    """Who may join a room that is not locked."""

    LINK = "link"
    """Whoever has the link."""
    INVITE = "invite"
    """Its creator, and who was admitted by an invite."""


class ChatRoom(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A room. `active`: at least one user is in it.

    The other fields with a default are its rules. `message_ttl` is in seconds; None: that of the configuration.
    `locked`: nobody new may join. `encrypted`: its content is encrypted by the clients; this never changes.
    `rules_version` grows by one with each change of the rules, of the bans, and with each removal of a member.
    """

    room_id: str
    created_by: str
    created_at: Timestamp
    deep_link: str
    active: bool = False
    message_ttl: float | None = None
    access: Access = Access.LINK
    locked: bool = False
    encrypted: bool = False
    rules_version: int = 0


class Invite(Confidential, msgspec.Struct, frozen=True, kw_only=True):
    """An invite to a room, for `people` persons, of whom `used` were admitted by it so far.

    `secret_hash` is the SHA-256 of the secret that is in its link, in hexadecimal digits.
    """

    invite_id: str
    room_id: str
    secret_hash: str
    people: int
    used: int = 0
    created_at: Timestamp
    expires_at: Timestamp


class Ban(Confidential, msgspec.Struct, frozen=True, kw_only=True):
    """The removal of a person from a room at `since`, and their ban from it until `until` (`since`: no ban).

    `reason` is `creator` or `vote`. `subject` identifies the person also after the account was erased; see
    `evanesce.subjects`. `user_id` is the account that was banned, and `display_name` its present name; `user_id` is
    None and the name empty after it was erased.
    """

    room_id: str
    subject: str
    user_id: str | None
    display_name: str = ""
    reason: str
    since: Timestamp
    until: Timestamp


FOR_EVER = Timestamp("9999-12-31T23:59:59.999Z")
"""The end of a `UserBan` that has none."""


class UserBan(Confidential, msgspec.Struct, frozen=True, kw_only=True):
    """The ban of a person from all servers, until `until` (`FOR_EVER`: without an end). Operators ban.

    `subject` identifies the person also after the account was erased; see `evanesce.subjects`. `user_id` is the account
    that was banned, None where there is none any more, or was none yet. `reason` is a note for operators.
    """

    subject: str
    user_id: str | None
    reason: str = ""
    since: Timestamp
    until: Timestamp


class Message(Confidential, msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A message as it is stored in Redis until `expires_at`. `reply_to` is the id of the message that it answers."""

    message_id: str
    room_id: str
    sender_id: str
    sender_name: str
    content: str
    reply_to: str | None = None
    created_at: Timestamp
    expires_at: Timestamp


class Draft(Confidential, msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A message before it is stored, without times. Plugins may refuse it or change its content.

    `reply_to` is the id of the message that it answers. `ttl` is how long its sender wants it to live, in seconds;
    None, and anything longer than the room's: as long as the room's messages live.

    `retry`: this plugin has let the same message through before, on this server, and it was not stored then, because
    another filter, the room or the store refused it. A filter that counts messages has counted it already. It is False
    after the plugin's own refusal, and for a client that has come back on another server. Each server remembers its
    own, of the last 10,000 messages: to ask the store would cost one call more for each message. So a message that is
    sent again on another server may be counted twice, and is never let through uncounted.
    """

    message_id: str
    room_id: str
    sender_id: str
    sender_name: str
    content: str
    reply_to: str | None = None
    ttl: float | None = None
    retry: bool = False


class Registration(Confidential, msgspec.Struct, frozen=True, kw_only=True):
    """What an identity provider stores with an account, so that its user can sign in with an account code.

    `value` is what the provider compares a later credential with, such as the id of a session, or the public keys of
    devices: at most 65,536 characters, and different for each account. `account_code` is a secret text that identifies
    the account on another device: unique, random, generated by the provider, of 1 to 128 characters. Only the user sees
    it, in `profile`.
    """

    value: str
    account_code: str


class RegisteredAccount(Confidential, msgspec.Struct, frozen=True, kw_only=True):
    """The account of an account code, and the `value` that the provider registered with it."""

    user_id: str
    value: str

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.user_id}>"  # the value is secret


class Identity(Confidential, msgspec.Struct, frozen=True, kw_only=True):
    """The identity that an authenticator has verified.

    - `subject`: the identifier of this person at this provider, which never changes: 1 to 255 characters without
      control characters. It is stored as `User.worldId`: as `provider:subject`, or as it is if `is_world_id` says that
      it is the unique identifier of World ID.
    - `display_name` and `email`: used for a new account only.
    - `guest`: no credential leads to this subject again. Nobody can use the account when its tokens have expired.
    - `registration`: stored with the account, in the same transaction, unless this provider has registered something
      with the account before.
    - `sign_in_id`: the id of this sign-in, a random UUID, for a provider that may have to end it
      (`Accounts.end_sign_in`); where it is None the server makes one.
    """

    subject: str
    display_name: str
    email: str | None = None
    is_world_id: bool = False
    guest: bool = False
    registration: Registration | None = None
    sign_in_id: str | None = None


class KnownUser(msgspec.Struct, frozen=True, kw_only=True):
    """The existing account that an authenticator has verified. It never creates an account.

    `sign_in_id` is that of `Identity`.
    """

    user_id: str
    sign_in_id: str | None = None


# The records of the write-behind queue. Writing one of them twice has the same result as writing it once.


class SessionStarted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A row of SessionLog: a connection to `server` joined a room."""

    session_id: str
    user_id: str
    room_id: str
    join_time: Timestamp
    server: str


class SessionEnded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The connection of `session_id` left its room. `lost`: nobody wanted that, and its user may come back."""

    session_id: str
    leave_time: Timestamp
    lost: bool = False


class UserSeen(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A user was active. `lastActive` only moves forward."""

    user_id: str
    last_active: Timestamp


class RoomActivity(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Whether users are in a room (`active`)."""

    room_id: str
    active: bool


Record = SessionStarted | SessionEnded | UserSeen | RoomActivity
