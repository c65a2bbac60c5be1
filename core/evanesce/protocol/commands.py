"""The commands of protocol version 1: what a client may ask for, with the ranges of each field."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

Ref = Annotated[str, Meta(min_length=1, max_length=64)] | Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1)]
"""What a client names a command with, so as to know its reply: text, or an integer of at most 53 bits."""

UUID = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")]
"""An id: a UUID in lower-case text."""

Opaque = Annotated[str, Meta(max_length=256)]
"""Something that the server gave and takes back: a cursor, a page."""


class Command(msgspec.Struct, kw_only=True, frozen=True, tag_field="type", rename="camel"):
    """What every command may carry."""

    ref: Ref | None = None


class Hello(Command, tag="hello", kw_only=True, frozen=True):
    """Sign in on this connection, with a token, a credential, or what the transport's handshake gave."""

    token: Annotated[str, Meta(max_length=4096)] | None = None
    credential: dict[str, Any] | None = None


class Challenge(Command, tag="challenge", kw_only=True, frozen=True):
    """Ask an identity provider for what its credential must answer; `request` is all that the client sent."""

    provider: str
    # No field of this name is on the wire: `codec.decode` puts here what stands beside the protocol's own.
    request: dict[str, Any] = msgspec.field(default_factory=dict[str, Any], name="")


class Refresh(Command, tag="refresh", kw_only=True, frozen=True):
    """Ask for a token that lasts longer."""


class SignOut(Command, tag="sign_out", kw_only=True, frozen=True):
    """Make this sign-in worthless."""


class CreateRoom(Command, tag="create_room", kw_only=True, frozen=True):
    """Open a room."""


class GetRoom(Command, tag="room", kw_only=True, frozen=True):
    """Look at a room."""

    room_id: UUID


class ListRooms(Command, tag="rooms", kw_only=True, frozen=True):
    """List the caller's own rooms, newest first; `after` is the `next` of the page before."""

    after: Opaque | None = None


class Join(Command, tag="join", kw_only=True, frozen=True):
    """Come into a room; `since` is the last cursor that this client has of it."""

    room_id: UUID
    since: Opaque | None = None


class Leave(Command, tag="leave", kw_only=True, frozen=True):
    """Go out of a room."""

    room_id: UUID


class Send(Command, tag="send", kw_only=True, frozen=True):
    """Say something in a room."""

    room_id: UUID
    content: str
    message_id: UUID | None = None


class Unsend(Command, tag="unsend", kw_only=True, frozen=True):
    """Take back one's own message."""

    room_id: UUID
    message_id: UUID


class Typing(Command, tag="typing", kw_only=True, frozen=True):
    """Show the others that one is writing."""

    room_id: UUID


class Members(Command, tag="members", kw_only=True, frozen=True):
    """Ask who is in a room."""

    room_id: UUID


class CloseRoom(Command, tag="close_room", kw_only=True, frozen=True):
    """End one's own room for everyone."""

    room_id: UUID


class GetProfile(Command, tag="profile", kw_only=True, frozen=True):
    """Ask what is kept of oneself."""


class UpdateProfile(Command, tag="update_profile", kw_only=True, frozen=True):
    """Change one's name or address; an `email` of null clears it."""

    display_name: str | UnsetType = UNSET
    email: str | UnsetType | None = UNSET


class ForgetMe(Command, tag="forget_me", kw_only=True, frozen=True):
    """Erase one's account."""


class Ping(Command, tag="ping", kw_only=True, frozen=True):
    """Ask for the time."""


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
