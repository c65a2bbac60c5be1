"""The replies and events of protocol version 1, which the server sends to a client."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from evanesce.confidential import Confidential
from evanesce.errors import CloseCode, ErrorCode
from evanesce.model import Access, Timestamp
from evanesce.protocol.commands import UUID, Ref

# Nothing is checked when events are encoded: the constraints are for the schema.

Time = Annotated[
    Timestamp,
    Meta(extra_json_schema={"format": "date-time", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$"}),
]
"""A time of the store's clock: RFC 3339 in UTC with milliseconds."""

Count = Annotated[int, Meta(ge=0)]
"""A number of people, messages or votes."""

Seconds = Annotated[float, Meta(ge=0)]
"""A number of seconds."""


class Event(msgspec.Struct, kw_only=True, frozen=True, tag_field="type", rename="camel", omit_defaults=True):
    """The base of all events, which the server sends without a request."""


class Reply(Event, kw_only=True, frozen=True):
    """The base of all replies. `ref` is that of the command."""

    ref: Ref | None = None


class Member(Confidential, msgspec.Struct, frozen=True, rename="camel"):
    """A user in a room."""

    user_id: UUID
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

    room_id: UUID
    message_id: UUID
    sender_id: UUID
    sender_name: str
    content: str
    reply_to: UUID | UnsetType = UNSET
    created_at: Time
    expires_at: Time
    cursor: str


class Unsent(Event, tag="unsent", kw_only=True, frozen=True):
    """The sender took a message back."""

    room_id: UUID
    message_id: UUID


class MemberJoined(Confidential, Event, tag="member_joined", kw_only=True, frozen=True):
    """The first connection of a user joined the room."""

    room_id: UUID
    user_id: UUID
    display_name: str
    member_count: Count


class MemberLeft(Event, tag="member_left", kw_only=True, frozen=True):
    """The last connection of a user left the room. `removed`: the user was removed from it."""

    room_id: UUID
    user_id: UUID
    member_count: Count
    removed: bool = False


class MemberUpdated(Confidential, Event, tag="member_updated", kw_only=True, frozen=True):
    """A member changed their display name."""

    room_id: UUID
    user_id: UUID
    display_name: str


class MemberCount(Event, tag="member_count", kw_only=True, frozen=True):
    """Sent in place of the three above in a room above the roster size, at most once a second."""

    room_id: UUID
    member_count: Count


class TypingEvent(Event, tag="typing", kw_only=True, frozen=True):
    """A member is typing."""

    room_id: UUID
    user_id: UUID


class Skipped(Event, tag="skipped", kw_only=True, frozen=True):
    """Messages expired while they waited for this slow client."""

    room_id: UUID
    count: Count


class Gap(Event, tag="gap", kw_only=True, frozen=True):
    """The server may have lost messages of this room. The client has to join again with this `since`."""

    room_id: UUID
    since: str


class RoomClosed(Event, tag="room_closed", kw_only=True, frozen=True):
    """The room was closed."""

    room_id: UUID
    reason: str


class RoomUpdated(Event, tag="room_updated", kw_only=True, frozen=True):
    """The rules of the room have changed. `message_ttl` is in seconds."""

    room_id: UUID
    message_ttl: Seconds
    access: Access
    locked: bool


class Removed(Event, tag="removed", kw_only=True, frozen=True):
    """This user was removed from the room, by its `creator` or by a `vote`, and is banned until `until`."""

    room_id: UUID
    reason: Annotated[str, Meta(extra_json_schema={"enum": ["creator", "vote"]})]
    until: Time | UnsetType = UNSET


class MemberMuted(Event, tag="member_muted", kw_only=True, frozen=True):
    """A member may not write until `until`, or, without it, may write again."""

    room_id: UUID
    user_id: UUID
    until: Time | UnsetType = UNSET


class Vote(Event, tag="vote", kw_only=True, frozen=True):
    """Somebody voted for the removal of a member, or the vote has ended: with the outcome `removed` or `expired`."""

    room_id: UUID
    user_id: UUID
    votes: Count
    needed: Count
    expires_at: Time
    outcome: Annotated[str, Meta(extra_json_schema={"enum": ["removed", "expired"]})] | UnsetType = UNSET


class Goodbye(Event, tag="goodbye", kw_only=True, frozen=True):
    """The server is going to close the connection. `reconnect_after` is in seconds."""

    code: Annotated[int, Meta(extra_json_schema={"enum": [code.value for code in CloseCode]})]
    reason: str
    reconnect: bool
    reconnect_after: Seconds | UnsetType = UNSET


# Replies


class Welcome(Confidential, Reply, tag="welcome", kw_only=True, frozen=True):
    """The reply to `hello`."""

    user_id: UUID
    display_name: str
    server_time: Time
    token: str | UnsetType = UNSET
    token_expires_at: Time | UnsetType = UNSET
    message_ttl: Seconds
    heartbeat: Seconds
    limits: Limits


class ChallengeReply(Confidential, Reply, tag="challenge", kw_only=True, frozen=True):
    """The challenge of an identity provider: the fields that it gives, beside `type` and `ref`."""

    fields: dict[str, Any]


class TokenReply(Confidential, Reply, tag="token", kw_only=True, frozen=True):
    """A new token that is valid for longer."""

    token: str
    token_expires_at: Time


class Ok(Reply, tag="ok", kw_only=True, frozen=True):
    """The command was carried out."""


class RoomReply(Reply, tag="room", kw_only=True, frozen=True):
    """The data of a room. `message_ttl` is in seconds."""

    room_id: UUID
    created_by: UUID
    created_at: Time
    deep_link: str
    active: bool
    member_count: Count
    message_ttl: Seconds
    access: Access
    locked: bool
    encrypted: bool


class RoomsReply(Reply, tag="rooms", kw_only=True, frozen=True):
    """A page of rooms. For the following page, send `next` as `after`."""

    rooms: list[RoomReply]
    next: str | UnsetType = UNSET


class RoomOptions(msgspec.Struct, kw_only=True, frozen=True, rename="camel"):
    """The options of a room, in `joined`. `message_ttl` is in seconds."""

    message_ttl: Seconds
    access: Access
    locked: bool
    encrypted: bool


class Joined(Reply, tag="joined", kw_only=True, frozen=True):
    """The reply to `join`. A `missed` of None, sent as null, means that the number is unknown."""

    room_id: UUID
    session_id: UUID
    members: list[Member] | UnsetType = UNSET
    member_count: Count
    messages: list[MessageEvent]
    more: bool
    cursor: str
    missed: Count | None
    unsent: list[UUID]
    room: RoomOptions


class Left(Reply, tag="left", kw_only=True, frozen=True):
    """The reply to `leave`."""

    room_id: UUID


class Sent(Reply, tag="sent", kw_only=True, frozen=True):
    """The store has the message with its TTL."""

    room_id: UUID
    message_id: UUID
    created_at: Time
    expires_at: Time
    duplicate: bool


class MembersReply(Reply, tag="members", kw_only=True, frozen=True):
    """The members of a room. `members` is left out above the roster size."""

    room_id: UUID
    members: list[Member] | UnsetType = UNSET
    member_count: Count


class InviteInfo(msgspec.Struct, kw_only=True, frozen=True, rename="camel", omit_defaults=True):
    """A live invite: how many people it is for, and how many are `left`."""

    room_id: UUID
    invite_id: UUID
    people: Count
    left: Count
    expires_at: Time


class InviteReply(Confidential, Reply, tag="invite", kw_only=True, frozen=True):
    """A new invite. `link` contains its secret, which is told only once."""

    room_id: UUID
    invite_id: UUID
    link: str
    people: Count
    left: Count
    expires_at: Time


class InvitesReply(Reply, tag="invites", kw_only=True, frozen=True):
    """The live invites of a room, the newest first."""

    room_id: UUID
    invites: list[InviteInfo]


class BanInfo(Confidential, msgspec.Struct, kw_only=True, frozen=True, rename="camel"):
    """A ban of a person."""

    user_id: UUID
    display_name: str
    until: Time


class BansReply(Reply, tag="bans", kw_only=True, frozen=True):
    """A page of the bans of a room, the newest first. For the following page, send `next` as `after`."""

    room_id: UUID
    bans: list[BanInfo]
    next: str | UnsetType = UNSET


class VoteReply(Reply, tag="vote", kw_only=True, frozen=True):
    """The reply to `vote_remove`."""

    room_id: UUID
    user_id: UUID
    votes: Count
    needed: Count
    expires_at: Time


class ProfileReply(Confidential, Reply, tag="profile", kw_only=True, frozen=True):
    """The data of the user's account. `account_code` is set if the identity provider has registered one."""

    user_id: UUID
    display_name: str
    email: str | UnsetType = UNSET
    account_code: str | UnsetType = UNSET
    created_at: Time


class Pong(Reply, tag="pong", kw_only=True, frozen=True):
    """The time of the store."""

    server_time: Time


class Error(Reply, tag="error", kw_only=True, frozen=True):
    """A command was refused. `message` is for people."""

    code: Annotated[str, Meta(extra_json_schema={"enum": [code.value for code in ErrorCode]})]
    message: str
    field: str | UnsetType = UNSET
    retry: bool
    retry_after: Seconds | UnsetType = UNSET


AnyEvent = (
    MessageEvent
    | Unsent
    | MemberJoined
    | MemberLeft
    | MemberUpdated
    | MemberCount
    | TypingEvent
    | Skipped
    | Gap
    | RoomClosed
    | RoomUpdated
    | Removed
    | MemberMuted
    | Vote
    | Goodbye
)
"""The events that are no replies."""
