"""What sessions and rooms know of each other: the requests in a room's inbox, and who made them.

One is made for every command, hence structs: a frozen data class takes several times as long to make.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from evanesce.errors import CloseCode, CommandError
from evanesce.frame import Frame, Outgoing
from evanesce.model import Draft
from evanesce.protocol.commands import Ref


class Subscriber(Protocol):
    """A session, as a room sees it: somebody on one connection."""

    @property
    def user_id(self) -> str:
        """Who it is."""
        ...

    @property
    def display_name(self) -> str:
        """What the others call them."""
        ...

    @property
    def backlogged(self) -> bool:
        """Whether the connection has much to do with what it was given already."""
        ...

    def write(self, frame: Frame) -> None:
        """Pass a frame on; a connection that is too slow for it is ended."""
        ...

    def answer(self, replies: Sequence[Outgoing], *, requests: int = 1) -> None:
        """Pass on the replies to so many of its requests."""
        ...

    def refuse(self, ref: Ref | None, error: CommandError) -> None:
        """Say that one of its requests was refused."""
        ...

    def dismissed(self, room_id: str, join: Enter | None = None) -> None:
        """Learn that it is no member of a room any more, or, with `join`, that this one did not make it one."""
        ...

    def end(self, code: CloseCode, reason: str) -> None:
        """End the connection."""
        ...


class Request(msgspec.Struct, frozen=True, eq=False):
    """Something that a session asks of a room; its reply, or its error, carries `ref`."""

    subscriber: Subscriber
    ref: Ref | None


class Enter(Request, frozen=True, eq=False):
    """Come in, or begin again from `since`."""

    since: str | None


class Quit(Request, frozen=True, eq=False):
    """Go out."""


class Post(Request, frozen=True, eq=False):
    """Store and tell a message."""

    draft: Draft


class Withdraw(Request, frozen=True, eq=False):
    """Take a message back."""

    message_id: str


class Write(Request, frozen=True, eq=False):
    """Show the others that somebody is typing."""


class AskMembers(Request, frozen=True, eq=False):
    """Ask who is here."""


class Rename(msgspec.Struct, frozen=True, eq=False):
    """A user has a new name."""

    user_id: str
    display_name: str


class CountAnew(msgspec.Struct, frozen=True, eq=False):
    """Who is here is not known by name: ask the store."""


class Wake(msgspec.Struct, frozen=True, eq=False):
    """Look whether there is still anybody here."""


RoomRequest = Enter | Quit | Post | Withdraw | Write | AskMembers | Rename | CountAnew | Wake
