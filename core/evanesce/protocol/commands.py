"""The commands of protocol version 1, with the types and ranges of their fields."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from evanesce.confidential import Confidential
from evanesce.model import Access

Ref = Annotated[str, Meta(min_length=1, max_length=64)] | Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1)]
"""The name that a client gives a command, and finds in the reply: text, or an integer of at most 53 bits."""

UUID = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")]
"""An id: a UUID as lower-case text."""

Opaque = Annotated[str, Meta(max_length=256)]
"""A value that the server has sent, and that the client sends back unchanged: a cursor, the next page."""


class Command(msgspec.Struct, kw_only=True, frozen=True, tag_field="type", rename="camel"):
    """The base of all commands."""

    ref: Ref | None = None


class Hello(Confidential, Command, tag="hello", kw_only=True, frozen=True):
    """Sign in on this connection, with a token, a credential, or the data of the transport's handshake."""

    token: Annotated[str, Meta(max_length=4096)] | None = None
    credential: dict[str, Any] | None = None


class Challenge(Confidential, Command, tag="challenge", kw_only=True, frozen=True):
    """Request a challenge from an identity provider. All other fields are for the provider."""

    provider: str
    # Not a field of the protocol: `codec.decode` puts all fields here that are not the protocol's own. A client may use
    # the name of it, as any other, for the provider: so a value of any type is decoded, and replaced.
    request: dict[str, Any] | Any = msgspec.field(default_factory=dict[str, Any], name="")


class Refresh(Command, tag="refresh", kw_only=True, frozen=True):
    """Request a new token that is valid for longer."""


class SignOut(Command, tag="sign_out", kw_only=True, frozen=True):
    """Revoke all tokens of this sign-in."""


class CreateRoom(Command, tag="create_room", kw_only=True, frozen=True):
    """Create a room. `message_ttl` is in seconds. `encrypted`: the clients encrypt its content."""

    message_ttl: float | None = None
    access: Access | None = None
    encrypted: bool = False


class UpdateRoom(Command, tag="update_room", kw_only=True, frozen=True):
    """Change the rules of a room that this user has created."""

    room_id: UUID
    message_ttl: float | UnsetType = UNSET
    access: Access | UnsetType = UNSET
    locked: bool | UnsetType = UNSET


class CreateInvite(Command, tag="invite", kw_only=True, frozen=True):
    """Create an invite to a room that this user has created, for so many people and so many seconds."""

    room_id: UUID
    people: Annotated[float, Meta(ge=1, le=1_000, multiple_of=1)] = 1  # not `int`: to JSON, 5.0 is the same as 5
    seconds: Annotated[float, Meta(ge=60, le=2_592_000)] = 86_400


class ListInvites(Command, tag="invites", kw_only=True, frozen=True):
    """List the live invites to a room that this user has created."""

    room_id: UUID


class RevokeInvite(Command, tag="revoke_invite", kw_only=True, frozen=True):
    """Revoke an invite. Who was admitted by it stays admitted."""

    room_id: UUID
    invite_id: UUID


class RemoveMember(Command, tag="remove_member", kw_only=True, frozen=True):
    """Remove a person from a room that this user has created, and ban them from it for some seconds."""

    room_id: UUID
    user_id: UUID
    ban_seconds: Annotated[float, Meta(ge=0, le=31_536_000)] = 0


class ListBans(Command, tag="bans", kw_only=True, frozen=True):
    """List the bans of a room that this user has created. `after` is the `next` of the previous page."""

    room_id: UUID
    after: Opaque | None = None


class Unban(Command, tag="unban", kw_only=True, frozen=True):
    """End the ban of a person."""

    room_id: UUID
    user_id: UUID


class Mute(Command, tag="mute", kw_only=True, frozen=True):
    """Forbid a person to write in a room for some seconds; 0 allows it again."""

    room_id: UUID
    user_id: UUID
    seconds: Annotated[float, Meta(ge=0, le=86_400)]


class VoteRemove(Command, tag="vote_remove", kw_only=True, frozen=True):
    """Vote for the removal of a member, while the creator of the room is not present."""

    room_id: UUID
    user_id: UUID


class GetRoom(Command, tag="room", kw_only=True, frozen=True):
    """Request the data of a room."""

    room_id: UUID


class ListRooms(Command, tag="rooms", kw_only=True, frozen=True):
    """List the rooms that the user has created, newest first. `after` is the `next` of the previous page."""

    after: Opaque | None = None


class Join(Confidential, Command, tag="join", kw_only=True, frozen=True):
    """Join a room. `since` is the last cursor of this room that the client has. `invite` is the secret of an invite."""

    room_id: UUID
    since: Opaque | None = None
    invite: Opaque | None = None


class Leave(Command, tag="leave", kw_only=True, frozen=True):
    """Leave a room."""

    room_id: UUID


class Send(Confidential, Command, tag="send", kw_only=True, frozen=True):
    """Send a message to a room. `ttl` is in seconds; `reply_to` is the id of the message that it answers."""

    room_id: UUID
    content: str
    message_id: UUID | None = None
    ttl: float | None = None
    reply_to: UUID | None = None


class Unsend(Command, tag="unsend", kw_only=True, frozen=True):
    """Take back a message of this user."""

    room_id: UUID
    message_id: UUID


class Typing(Command, tag="typing", kw_only=True, frozen=True):
    """Show the other members that this user is typing."""

    room_id: UUID


class Members(Command, tag="members", kw_only=True, frozen=True):
    """Request the members of a room."""

    room_id: UUID


class CloseRoom(Command, tag="close_room", kw_only=True, frozen=True):
    """Close a room that this user has created."""

    room_id: UUID


class GetProfile(Command, tag="profile", kw_only=True, frozen=True):
    """Request the data of this user's account."""


class UpdateProfile(Confidential, Command, tag="update_profile", kw_only=True, frozen=True):
    """Change the display name or the mail address of this user. An `email` of null removes the address."""

    display_name: str | UnsetType = UNSET
    email: str | UnsetType | None = UNSET


class ForgetMe(Command, tag="forget_me", kw_only=True, frozen=True):
    """Erase this user's account."""


class Ping(Command, tag="ping", kw_only=True, frozen=True):
    """Request the time of the store."""


AnyCommand = (
    Hello
    | Challenge
    | Refresh
    | SignOut
    | CreateRoom
    | UpdateRoom
    | CreateInvite
    | ListInvites
    | RevokeInvite
    | RemoveMember
    | ListBans
    | Unban
    | Mute
    | VoteRemove
    | GetRoom
    | ListRooms
    | Join
    | Leave
    | Send
    | Unsend
    | Typing
    | Members
    | CloseRoom
    | GetProfile
    | UpdateProfile
    | ForgetMe
    | Ping
)
