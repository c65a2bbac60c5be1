"""The messages of each room: stored in order, and deleted when they expire.

A room's *position* counts its messages; a *cursor* is a position in the form that clients hold. The store gives the
state of a room a random name when it creates it, the *epoch*. A cursor contains the epoch, so that a cursor of another
room is recognized, and one from before the store lost its data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from evanesce.errors import StoreUnavailable
from evanesce.model import Draft, Message, Timestamp


class Stored(msgspec.Struct, frozen=True):  # of each message: a data class takes several times as long to make
    """The message is in the store. `duplicate`: it was already, with the same id and the same sender."""

    created_at: Timestamp
    expires_at: Timestamp
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Conflict:
    """The message was not stored: its id belongs to a message of another sender, or to one that was unsent."""


@dataclass(frozen=True, slots=True)
class Muted:
    """The message was not stored: its sender may not write until `until`, in milliseconds of the store's clock."""

    until: int


@dataclass(frozen=True, slots=True)
class RoomClosed:
    """Nothing was done: the room is closed."""


Outcome = Stored | Conflict | Muted
"""What a message may come to in an open room."""


class LogEntry(NamedTuple):
    """A live message and its place in the room's log.

    `number` counts the entries of the room's log (messages, and messages that were unsent) and grows by one with each.
    It does not decrease when the store loses its data: the store then starts from its clock, which is past any count
    that was reached, unless the clock was set back too (see `HistoryLost`). `deadline` is when the message expires, in
    seconds of Trio's clock. `previous_number` is for `RepeatedEntry`.
    """

    message: Message
    cursor: str
    number: int
    deadline: float
    previous_number: int = 0


class RepeatedEntry(LogEntry):
    """A message that a feed has given before, and that was sent and stored again after the store lost its data.

    Members to whom the entry `previous_number` was delivered have it; those who joined after the loss do not, nor those
    who were behind then.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class MessageUnsent:
    """A message was unsent. `number` is as in `LogEntry`."""

    message_id: str
    number: int


@dataclass(frozen=True, slots=True)
class History:
    """A page of the live messages after a cursor, oldest first.

    `cursor` and `number` are the end of the page: its last message, or the room's newest entry if there is no `more`.
    `more`: there are live messages after this page. `missed` is as in the protocol's `joined`: how many messages
    expired or were unsent before they could be read, or None if that is not known. `missed_unsent` says how many of
    those were unsent. `unsent` lists the messages up to the cursor that were unsent after it and would still be alive.
    """

    messages: tuple[LogEntry, ...]
    cursor: str
    number: int
    more: bool
    missed: int | None
    missed_unsent: int
    unsent: tuple[MessageUnsent, ...]


class MessageLog(Protocol):
    """The messages of all rooms."""

    async def append(
        self, room_id: str, drafts: Sequence[Draft], ttl: int | None = None, version: int = 0
    ) -> Sequence[Outcome] | RoomClosed:
        """Store messages under their TTL, in order, in one round trip, and publish them to every follower at once.

        `ttl` is that of the room's rules as the caller knows them, in milliseconds; None: the default. The store's copy
        of the rules goes before it if its version is above `version`. A draft with a shorter one lives for that.
        """
        ...

    def append_one(
        self,
        room_id: str,
        draft: Draft,
        done: Callable[[Outcome | RoomClosed | StoreUnavailable], None],
        ttl: int | None = None,
        version: int = 0,
    ) -> None:
        """Store one message as `append` does, without waiting: `done` is called with the outcome.

        It is called once, on the Trio thread, after this has returned and within the time that `append` may take, and
        must not raise. Raises `StoreUnavailable` where the message is refused before it is sent.
        """
        ...

    async def find(self, room_id: str, message_id: str, sender_id: str) -> Stored | None:
        """Return when a live message of this sender was stored and when it expires; None if there is none."""
        ...

    async def unsend(self, room_id: str, message_id: str, sender_id: str) -> bool | RoomClosed | None:
        """Delete a message. Return True if it is deleted, None if none is live, False if it has another sender."""
        ...

    async def history(
        self, room_id: str, since: str | None, most: int, most_bytes: int, whole: bool = True
    ) -> History | RoomClosed:
        """Return the live messages after `since`: at most `most`, with at most `most_bytes` of JSON (but at least one).

        If `whole` is False and there is `more`, then `missed`, `missed_unsent` and `unsent` cover only the part up to
        the end of the page. The cost is then that of the page, however many messages follow it.
        """
        ...

    async def close_room(self, room_id: str, reason: str) -> None:
        """Erase a room's messages and presence, and tell its followers. Later calls for it return `RoomClosed`."""
        ...
