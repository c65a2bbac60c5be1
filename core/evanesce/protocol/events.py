"""The replies and events of protocol version 1, which the server sends to a client."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from evanesce.confidential import Confidential
from evanesce.model import Access, Timestamp
from evanesce.protocol.commands import Ref


class Event(msgspec.Struct, kw_only=True, frozen=True, tag_field="type", rename="camel", omit_defaults=True):
    """The base of all events, which the server sends without a request."""


class Reply(Event, kw_only=True, frozen=True):
    """The base of all replies. `ref` is that of the command."""

    ref: Ref | None = None


class Member(Confidential, msgspec.Struct, frozen=True, rename="camel"):
    """A user in a room."""

    user_id: str
    display_name: str


class Limits(msgspec.Struct, kw_only=True, frozen=True, rename="camel"):
    """The limits that apply to a client: sizes, numbers and rates. Those that do not apply are left out."""

    content_bytes: int
    frame_bytes: int
    history: int
    rooms_per_connection: int
    shortest_ttl: float
    longest_ttl: float
    messages_per_second: float
    burst: int
    commands_per_second: float | UnsetType = UNSET
    joins_per_second: float | UnsetType = UNSET
    members_per_second: float | UnsetType = UNSET
    renames_per_minute: int | UnsetType = UNSET
    rooms_per_hour: int | UnsetType = UNSET
    rooms_per_user: int | UnsetType = UNSET
    connections_per_user: int | UnsetType = UNSET
    connections_per_address: int | UnsetType = UNSET
    handshakes_per_second: float | UnsetType = UNSET
    commands_before_hello: float | UnsetType = UNSET
    sign_ins_per_minute: int | UnsetType = UNSET


# Events


class MessageEvent(Confidential, Event, tag="message", kw_only=True, frozen=True):
    """A message, sent to every member. `cursor` is its position in the room."""

    room_id: str
    message_id: str
    sender_id: str
    sender_name: str
    content: str
    reply_to: str | UnsetType = UNSET
    created_at: Timestamp
    expires_at: Timestamp
    cursor: str


class Unsent(Event, tag="unsent", kw_only=True, frozen=True):
    """The sender took a message back."""

    room_id: str
    message_id: str


class MemberJoined(Confidential, Event, tag="member_joined", kw_only=True, frozen=True):
    """The first connection of a user joined the room."""

    room_id: str
    user_id: str
    display_name: str
    member_count: int


class MemberLeft(Event, tag="member_left", kw_only=True, frozen=True):
    """The last connection of a user left the room. `removed`: the user was removed from it."""

    room_id: str
    user_id: str
    member_count: int
    removed: bool = False


class MemberUpdated(Confidential, Event, tag="member_updated", kw_only=True, frozen=True):
    """A member changed their display name."""

    room_id: str
    user_id: str
    display_name: str


class MemberCount(Event, tag="member_count", kw_only=True, frozen=True):
    """Sent in place of the three above in a room above the roster size, at most once a second."""

    room_id: str
    member_count: int


class TypingEvent(Event, tag="typing", kw_only=True, frozen=True):
    """A member is typing."""

    room_id: str
    user_id: str


class Skipped(Event, tag="skipped", kw_only=True, frozen=True):
    """Messages expired while they waited for this slow client."""

    room_id: str
    count: int


class Gap(Event, tag="gap", kw_only=True, frozen=True):
    """The server may have lost messages of this room. The client has to join again with this `since`."""

    room_id: str
    since: str


class RoomClosed(Event, tag="room_closed", kw_only=True, frozen=True):
    """The room was closed."""

    room_id: str
    reason: str


class RoomUpdated(Event, tag="room_updated", kw_only=True, frozen=True):
    """The rules of the room have changed. `message_ttl` is in seconds."""

    room_id: str
    message_ttl: float
    access: Access
    locked: bool


class Removed(Event, tag="removed", kw_only=True, frozen=True):
    """This user was removed from the room, by its `creator` or by a `vote`, and is banned until `until`."""

    room_id: str
    reason: str
    until: Timestamp | UnsetType = UNSET


class MemberMuted(Event, tag="member_muted", kw_only=True, frozen=True):
    """A member may not write until `until`, or, without it, may write again."""

    room_id: str
    user_id: str
    until: Timestamp | UnsetType = UNSET


class Vote(Event, tag="vote", kw_only=True, frozen=True):
    """Somebody voted for the removal of a member, or the vote has ended: with the outcome `removed` or `expired`."""

    room_id: str
    user_id: str
    votes: int
    needed: int
    expires_at: Timestamp
    outcome: str | UnsetType = UNSET


class Goodbye(Event, tag="goodbye", kw_only=True, frozen=True):
    """The server is going to close the connection. `reconnect_after` is in seconds."""

    code: int
    reason: str
    reconnect: bool
    reconnect_after: float | UnsetType = UNSET


# Replies


class Welcome(Confidential, Reply, tag="welcome", kw_only=True, frozen=True):
    """The reply to `hello`."""

    user_id: str
    display_name: str
    server_time: Timestamp
    token: str | UnsetType = UNSET
    token_expires_at: Timestamp | UnsetType = UNSET
    message_ttl: float
    heartbeat: float
    limits: Limits


class ChallengeReply(Confidential, Reply, tag="challenge", kw_only=True, frozen=True):
    """The provider's challenge. `codec.encode_one` writes its fields beside `type` and `ref`."""

    fields: dict[str, Any]


class TokenReply(Confidential, Reply, tag="token", kw_only=True, frozen=True):
    """A new token that is valid for longer."""

    token: str
    token_expires_at: Timestamp


class Ok(Reply, tag="ok", kw_only=True, frozen=True):
    """The command was carried out."""


class RoomReply(Reply, tag="room", kw_only=True, frozen=True):
    """The data of a room. `message_ttl` is in seconds."""

    room_id: str
    created_by: str
    created_at: Timestamp
    deep_link: str
    active: bool
    member_count: int
    message_ttl: float
    access: Access
    locked: bool
    encrypted: bool


class RoomsReply(Reply, tag="rooms", kw_only=True, frozen=True):
    """A page of rooms. For the following page, send `next` as `after`."""

    rooms: list[RoomReply]
    next: str | UnsetType = UNSET


class RoomOptions(msgspec.Struct, kw_only=True, frozen=True, rename="camel"):
    """The options of a room, in `joined`. `message_ttl` is in seconds."""

    message_ttl: float
    access: Access
    locked: bool
    encrypted: bool


class Joined(Reply, tag="joined", kw_only=True, frozen=True):
    """The reply to `join`. A `missed` of None, sent as null, means that the number is unknown."""

    room_id: str
    session_id: str
    members: list[Member] | UnsetType = UNSET
    member_count: int
    messages: list[MessageEvent]
    more: bool
    cursor: str
    missed: int | None
    unsent: list[str]
    room: RoomOptions


class Left(Reply, tag="left", kw_only=True, frozen=True):
    """The reply to `leave`."""

    room_id: str


class Sent(Reply, tag="sent", kw_only=True, frozen=True):
    """The store has the message with its TTL."""

    room_id: str
    message_id: str
    created_at: Timestamp
    expires_at: Timestamp
    duplicate: bool


class MembersReply(Reply, tag="members", kw_only=True, frozen=True):
    """The members of a room. `members` is left out above the roster size."""

    room_id: str
    members: list[Member] | UnsetType = UNSET
    member_count: int


class InviteInfo(msgspec.Struct, kw_only=True, frozen=True, rename="camel", omit_defaults=True):
    """A live invite: how many people it is for, and how many are `left`."""

    room_id: str
    invite_id: str
    people: int
    left: int
    expires_at: Timestamp


class InviteReply(Confidential, Reply, tag="invite", kw_only=True, frozen=True):
    """A new invite. `link` contains its secret, which is told only once."""

    room_id: str
    invite_id: str
    link: str
    people: int
    left: int
    expires_at: Timestamp


class InvitesReply(Reply, tag="invites", kw_only=True, frozen=True):
    """The live invites of a room, the newest first."""

    room_id: str
    invites: list[InviteInfo]


class BanInfo(Confidential, msgspec.Struct, kw_only=True, frozen=True, rename="camel"):
    """A ban of a person."""

    user_id: str
    display_name: str
    until: Timestamp


class BansReply(Reply, tag="bans", kw_only=True, frozen=True):
    """A page of the bans of a room, the newest first. For the following page, send `next` as `after`."""

    room_id: str
    bans: list[BanInfo]
    next: str | UnsetType = UNSET


class VoteReply(Reply, tag="vote", kw_only=True, frozen=True):
    """The reply to `vote_remove`."""

    room_id: str
    user_id: str
    votes: int
    needed: int
    expires_at: Timestamp


class ProfileReply(Confidential, Reply, tag="profile", kw_only=True, frozen=True):
    """The data of the user's account. `account_code` is set if the identity provider has registered one."""

    user_id: str
    display_name: str
    email: str | UnsetType = UNSET
    account_code: str | UnsetType = UNSET
    created_at: Timestamp


class Pong(Reply, tag="pong", kw_only=True, frozen=True):
    """The time of the store."""

    server_time: Timestamp


class Error(Reply, tag="error", kw_only=True, frozen=True):
    """A command was refused. `message` is for people."""

    code: str
    message: str
    field: str | UnsetType = UNSET
    retry: bool
    retry_after: float | UnsetType = UNSET
