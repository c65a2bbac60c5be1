"""The replies and events of protocol version 1: what the server tells a client."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from evanesce.model import Timestamp
from evanesce.protocol.commands import Ref


class Event(msgspec.Struct, kw_only=True, frozen=True, tag_field="type", rename="camel", omit_defaults=True):
    """What the server says unasked."""


class Reply(Event, kw_only=True, frozen=True):
    """What the server answers; `ref` is the command's."""

    ref: Ref | None = None


class Member(msgspec.Struct, frozen=True, rename="camel"):
    """A person in a room."""

    user_id: str
    display_name: str


class Limits(msgspec.Struct, kw_only=True, frozen=True, rename="camel"):
    """What a client must keep to: bytes, messages and rooms."""

    content_bytes: int
    frame_bytes: int
    history: int
    rooms_per_connection: int
    messages_per_second: float
    burst: int


# Events


class MessageEvent(Event, tag="message", kw_only=True, frozen=True):
    """A message, to every member; `cursor` is its position."""

    room_id: str
    message_id: str
    sender_id: str
    sender_name: str
    content: str
    created_at: Timestamp
    expires_at: Timestamp
    cursor: str


class Unsent(Event, tag="unsent", kw_only=True, frozen=True):
    """A message was taken back by its sender."""

    room_id: str
    message_id: str


class MemberJoined(Event, tag="member_joined", kw_only=True, frozen=True):
    """A user's first connection came into the room."""

    room_id: str
    user_id: str
    display_name: str
    member_count: int


class MemberLeft(Event, tag="member_left", kw_only=True, frozen=True):
    """A user's last connection left the room."""

    room_id: str
    user_id: str
    member_count: int


class MemberUpdated(Event, tag="member_updated", kw_only=True, frozen=True):
    """A member changed the name."""

    room_id: str
    user_id: str
    display_name: str


class MemberCount(Event, tag="member_count", kw_only=True, frozen=True):
    """In place of the three above, at most once a second, above the roster size."""

    room_id: str
    member_count: int


class TypingEvent(Event, tag="typing", kw_only=True, frozen=True):
    """Somebody is writing."""

    room_id: str
    user_id: str


class Skipped(Event, tag="skipped", kw_only=True, frozen=True):
    """Messages that expired while they waited for this slow client."""

    room_id: str
    count: int


class Gap(Event, tag="gap", kw_only=True, frozen=True):
    """The server itself may have lost messages for this room: join again with this `since`."""

    room_id: str
    since: str


class RoomClosed(Event, tag="room_closed", kw_only=True, frozen=True):
    """The room is gone."""

    room_id: str
    reason: str


class Goodbye(Event, tag="goodbye", kw_only=True, frozen=True):
    """The server is about to close the connection; `reconnect_after` is in seconds."""

    code: int
    reason: str
    reconnect: bool
    reconnect_after: float | UnsetType = UNSET


# Replies


class Welcome(Reply, tag="welcome", kw_only=True, frozen=True):
    """The answer to `hello`."""

    user_id: str
    display_name: str
    server_time: Timestamp
    token: str | UnsetType = UNSET
    token_expires_at: Timestamp | UnsetType = UNSET
    message_ttl: float
    heartbeat: float
    limits: Limits


class ChallengeReply(Reply, tag="challenge", kw_only=True, frozen=True):
    """What the provider gives; its fields stand beside `type` and `ref` on the wire (`codec.encode` sees to it)."""

    fields: dict[str, Any]


class TokenReply(Reply, tag="token", kw_only=True, frozen=True):
    """A token that lasts longer."""

    token: str
    token_expires_at: Timestamp


class Ok(Reply, tag="ok", kw_only=True, frozen=True):
    """Done."""


class RoomReply(Reply, tag="room", kw_only=True, frozen=True):
    """A room."""

    room_id: str
    created_by: str
    created_at: Timestamp
    deep_link: str
    active: bool
    member_count: int


class RoomsReply(Reply, tag="rooms", kw_only=True, frozen=True):
    """A page of rooms; give `next` as `after` for the one behind it."""

    rooms: list[RoomReply]
    next: str | UnsetType = UNSET


class Joined(Reply, tag="joined", kw_only=True, frozen=True):
    """The answer to `join`; a `missed` of None goes out as null: it cannot be known."""

    room_id: str
    session_id: str
    members: list[Member] | UnsetType = UNSET
    member_count: int
    messages: list[MessageEvent]
    more: bool
    cursor: str
    missed: int | None
    unsent: list[str]


class Left(Reply, tag="left", kw_only=True, frozen=True):
    """The answer to `leave`."""

    room_id: str


class Sent(Reply, tag="sent", kw_only=True, frozen=True):
    """The store has the message under its TTL."""

    room_id: str
    message_id: str
    created_at: Timestamp
    expires_at: Timestamp
    duplicate: bool


class MembersReply(Reply, tag="members", kw_only=True, frozen=True):
    """Who is in the room; `members` is left out above the roster size."""

    room_id: str
    members: list[Member] | UnsetType = UNSET
    member_count: int


class ProfileReply(Reply, tag="profile", kw_only=True, frozen=True):
    """What is kept of the caller."""

    user_id: str
    display_name: str
    email: str | UnsetType = UNSET
    created_at: Timestamp


class Pong(Reply, tag="pong", kw_only=True, frozen=True):
    """The store's time."""

    server_time: Timestamp


class Error(Reply, tag="error", kw_only=True, frozen=True):
    """A command was refused; `message` is for a person."""

    code: str
    message: str
    field: str | UnsetType = UNSET
    retry: bool
    retry_after: float | UnsetType = UNSET
