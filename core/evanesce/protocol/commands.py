"""The commands of protocol version 1, with the types and ranges of their fields."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from evanesce.confidential import Confidential

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
    """Request a challenge from an identity provider. `request` has the fields for the provider."""

    provider: str
    # Not a field of the protocol: `codec.decode` puts all fields here that are not the protocol's own.
    request: dict[str, Any] = msgspec.field(default_factory=dict[str, Any], name="")


class Refresh(Command, tag="refresh", kw_only=True, frozen=True):
    """Request a new token that is valid for longer."""


class SignOut(Command, tag="sign_out", kw_only=True, frozen=True):
    """Revoke all tokens of this sign-in."""


class CreateRoom(Command, tag="create_room", kw_only=True, frozen=True):
    """Create a room."""


class GetRoom(Command, tag="room", kw_only=True, frozen=True):
    """Request the data of a room."""

    room_id: UUID


class ListRooms(Command, tag="rooms", kw_only=True, frozen=True):
    """List the rooms that the user has created, newest first. `after` is the `next` of the previous page."""

    after: Opaque | None = None


class Join(Command, tag="join", kw_only=True, frozen=True):
    """Join a room. `since` is the last cursor of this room that the client has."""

    room_id: UUID
    since: Opaque | None = None


class Leave(Command, tag="leave", kw_only=True, frozen=True):
    """Leave a room."""

    room_id: UUID


class Send(Confidential, Command, tag="send", kw_only=True, frozen=True):
    """Send a message to a room."""

    room_id: UUID
    content: str
    message_id: UUID | None = None


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
