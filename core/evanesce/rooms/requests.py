"""The requests in a room's inbox, and the subscribers that make them: what rooms and sessions know of each other.

A request is made for every command. It is a struct, because a frozen data class takes several times as long to make.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from time import perf_counter
from typing import NamedTuple, Protocol

import msgspec

from evanesce.confidential import Confidential
from evanesce.delivery.frame import Frame, Outgoing
from evanesce.errors import CloseCode, CommandError, ErrorCode
from evanesce.model import Draft
from evanesce.protocol.commands import Ref
from evanesce.store.message_log import Stored

_numbers = itertools.count(1)


class SubscriberConnection(Protocol):
    """The connection of a subscriber, as a room writes to it."""

    @property
    def backlogged(self) -> bool:
        """Whether much waits for the client already."""
        ...

    def write(self, frame: Frame) -> None:
        """Write a frame. Where the connection has no room for it, it is ended."""
        ...

    def offer(self, frame: Frame) -> bool:
        """Write a frame if the connection has room for it beside the replies; return False if it was not written.

        It is for what can be read in the store later.
        """
        ...


class Subscriber(Protocol):
    """A session, as a room sees it: a user on one connection."""

    @property
    def user_id(self) -> str:
        """The user's id."""
        ...

    @property
    def display_name(self) -> str:
        """The user's name."""
        ...

    @property
    def connection(self) -> SubscriberConnection:
        """Its connection."""
        ...

    def answer(self, replies: Sequence[Outgoing], *, requests: int = 1) -> None:
        """Write the replies to `requests` of its requests."""
        ...

    def refuse(self, ref: Ref | None, error: CommandError) -> None:
        """Write that one of its requests was refused."""
        ...

    def left(self, room_id: str, join: JoinRequest | None = None) -> None:
        """Note that it is no member of a room any more, or, with `join`, that this request did not make it one."""
        ...

    def end(self, code: CloseCode, reason: str) -> None:
        """End the connection."""
        ...


class Reply(NamedTuple):
    """The reply `sent` to a message that is stored and was not delivered yet: both go to its sender together."""

    message_id: str
    subscriber: Subscriber
    sent: Outgoing


class Request(msgspec.Struct, frozen=True, eq=False):
    """A request of a session to a room. The reply, or the error, carries `ref`."""

    subscriber: Subscriber
    ref: Ref | None


class JoinRequest(Confidential, Request, frozen=True, eq=False):
    """Join the room, or join it again from the cursor `since`.

    `subject` identifies the person in bans; `invite` is the secret of an invite. `number` is different for each join of
    the process.
    """

    since: str | None
    subject: str
    invite: str | None = None
    number: int = msgspec.field(default_factory=_numbers.__next__)


class LeaveRequest(Request, frozen=True, eq=False):
    """Leave the room. `lost`: the connection was lost, and the user may come back."""

    lost: bool = False


class SendRequest(Request, frozen=True, eq=False):
    """Store a message. `made_at` is when this request was made, in seconds of `time.perf_counter`."""

    draft: Draft
    made_at: float = msgspec.field(default_factory=perf_counter)


class ResendRequest(Request, frozen=True, eq=False):
    """Answer a message that was sent again: it is stored already."""

    message_id: str
    stored: Stored


class UnsendRequest(Request, frozen=True, eq=False):
    """Take a message back."""

    message_id: str


class TypingRequest(Request, frozen=True, eq=False):
    """Publish that the user is typing."""


class MembersRequest(Request, frozen=True, eq=False):
    """Return the members."""


class LeftRequest(msgspec.Struct, frozen=True, eq=False):
    """Tell the store that a user has left who was removed."""

    user_id: str


class RenameRequest(Confidential, msgspec.Struct, frozen=True, eq=False):
    """Note the new name of a user."""

    user_id: str
    display_name: str


class RecountRequest(msgspec.Struct, frozen=True, eq=False):
    """Ask the store for the members, because their names are not known."""


class Wake(msgspec.Struct, frozen=True, eq=False):
    """Check whether the room has work, or subscribers, left."""


RoomRequest = (
    JoinRequest
    | LeaveRequest
    | SendRequest
    | ResendRequest
    | UnsendRequest
    | TypingRequest
    | MembersRequest
    | LeftRequest
    | RenameRequest
    | RecountRequest
    | Wake
)


def not_member() -> CommandError:
    """Return the refusal of a request to a room that the client is not in, whether the room exists or not."""
    return CommandError(ErrorCode.NOT_MEMBER, "You are not in this room. Join it first.")


def room_not_found() -> CommandError:
    """Return the refusal of a request to a room that does not exist."""
    return CommandError(ErrorCode.ROOM_NOT_FOUND, "There is no such room, or it was closed.")
