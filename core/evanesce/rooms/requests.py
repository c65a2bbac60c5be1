"""What sessions and rooms know of each other: the requests in a room's inbox, and who made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Something that a session asks of a room; its reply, or its error, carries `ref`."""

    subscriber: Subscriber
    ref: Ref | None


@dataclass(frozen=True, slots=True, eq=False)
class Enter(Request):
    """Come in, or begin again from `since`."""

    since: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Quit(Request):
    """Go out."""


@dataclass(frozen=True, slots=True, eq=False)
class Post(Request):
    """Store and tell a message."""

    draft: Draft


@dataclass(frozen=True, slots=True, eq=False)
class Withdraw(Request):
    """Take a message back."""

    message_id: str


@dataclass(frozen=True, slots=True, eq=False)
class Write(Request):
    """Show the others that somebody is typing."""


@dataclass(frozen=True, slots=True, eq=False)
class AskMembers(Request):
    """Ask who is here."""


@dataclass(frozen=True, slots=True, eq=False)
class Rename:
    """A user has a new name."""

    user_id: str
    display_name: str


@dataclass(frozen=True, slots=True, eq=False)
class CountAnew:
    """Who is here is not known by name: ask the store."""


@dataclass(frozen=True, slots=True, eq=False)
class Wake:
    """Look whether there is still anybody here."""


RoomRequest = Enter | Quit | Post | Withdraw | Write | AskMembers | Rename | CountAnew | Wake
