"""What happens in a room, as the store tells it to the servers that follow the room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from evanesce.store.message_log import LogEntry, MessageUnsent
from evanesce.store.presence import Member, PresenceSnapshot
from evanesce.store.rules import Ballot, Removal, RoomRules


@dataclass(frozen=True, slots=True)
class Joined:
    """A user joined: the first connection on any server. `count` and `version` are those of presence after it."""

    person: Member
    count: int
    version: int


@dataclass(frozen=True, slots=True)
class Left:
    """A user left: the last connection on any server ended."""

    user_id: str
    count: int
    version: int


@dataclass(frozen=True, slots=True)
class Renamed:
    """A user in the room has a new name."""

    person: Member
    version: int


@dataclass(frozen=True, slots=True)
class Typing:
    """A user in the room is typing."""

    user_id: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The room was closed. No event follows."""

    reason: str


@dataclass(frozen=True, slots=True)
class HistoryLost:
    """Messages may have been lost for good. `cursor` is that of the last message before, or of the start.

    Later entries have numbers above `number`, and `version` is the current version of presence. Both may be lower than
    before: if a replica without the newest data became the primary, or if the store lost its data and its clock was set
    back.
    """

    cursor: str
    number: int
    version: int


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """Changes of presence may have been missed. `presence` is the current state, limited as `follow` was told to."""

    presence: PresenceSnapshot


@dataclass(frozen=True, slots=True)
class RulesChanged:
    """The room has other rules. Older ones than those that are known have to be ignored."""

    rules: RoomRules


@dataclass(frozen=True, slots=True)
class RulesUncertain:
    """Changes of the rules, removals or mutes may have been missed: the database, and `Rules.mutes`, have them."""


@dataclass(frozen=True, slots=True)
class MemberRemoved:
    """A person was removed. `at` is when, in milliseconds of the store's clock: who joined later is not concerned."""

    removal: Removal
    at: int


@dataclass(frozen=True, slots=True)
class MemberMuted:
    """A user may not write until `until`, in milliseconds of the store's clock; 0: may write again."""

    user_id: str
    until: int


@dataclass(frozen=True, slots=True)
class Voted:
    """A person has voted for the removal of a member."""

    ballot: Ballot


RoomEvent = (
    LogEntry
    | MessageUnsent
    | Joined
    | Left
    | Renamed
    | Typing
    | Closed
    | HistoryLost
    | PresenceChanged
    | RulesChanged
    | RulesUncertain
    | MemberRemoved
    | MemberMuted
    | Voted
)


class Feed(Protocol):
    """The events of one room, from the moment `follow` was entered."""

    def deliver_to(self, handle: Callable[[Sequence[RoomEvent]], None]) -> None:
        """Call `handle` with events as they arrive, where none before them is missing: no task has to be woken.

        `next` returns only the others from now on, and has to be called all the same. `handle` must not raise. It is
        not called any more once `follow` has been left.
        """
        ...

    async def next(self) -> Sequence[RoomEvent]:
        """Wait for the next events: one or more, in the room's order, each message once.

        A message that comes again, after the store lost its data, is a `RepeatedEntry`. Events that were lost between
        the store and this server are fetched before newer ones are returned. If they cannot be fetched any more,
        `HistoryLost` is returned in their place. Waits while the store is down; raises only `trio.Cancelled`.
        """
        ...


class RoomEvents(Protocol):
    """The events of all rooms."""

    def follow(self, room_id: str, roster: int) -> AbstractAsyncContextManager[Feed]:
        """Follow a room: inside the context, the feed has every event since its start."""
        ...

    async def typing(self, room_id: str, user_id: str) -> None:
        """Publish to the room's followers that a user is typing."""
        ...
