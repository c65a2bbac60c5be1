"""Who is in each room, over all servers."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from evanesce.confidential import Confidential
from evanesce.store.message_log import RoomClosed
from evanesce.store.rules import Ballot, RoomRules


@dataclass(frozen=True, slots=True, repr=False)
class Member(Confidential):
    """A user in a room."""

    user_id: str
    display_name: str


@dataclass(frozen=True, slots=True)
class PresenceSnapshot:
    """Who is in a room, on all servers. `members` is None if there are more than the caller asked for.

    `version` grows with every change of presence and does not decrease, as `LogEntry.number`: an event with a version
    up to this one is included in `members`.
    """

    count: int
    version: int
    members: tuple[Member, ...] | None


@dataclass(frozen=True, slots=True, repr=False)
class Joiner(Member):
    """A user who wants to join a room.

    `subject` identifies the person in bans. `admitted`: the person is known to have been admitted by an invite.
    `returns`: the user is known to have lost the connection, before the store lost its data.
    """

    subject: str
    admitted: bool = False
    returns: bool = False


class Bar(enum.Enum):
    """What keeps a user from joining a room; the first one that applies."""

    BANNED = "banned"
    LOCKED = "locked"
    UNINVITED = "uninvited"
    FULL = "full"


class Barred(NamedTuple):
    """A user may not join. `until` is when a ban ends, in milliseconds of the store's clock; otherwise 0."""

    bar: Bar
    until: int = 0


@dataclass(frozen=True, slots=True)
class JoinOutcome:
    """Who is in the room after a join, who may not join, and when that was decided.

    `at` is in milliseconds of the store's clock: a removal after it concerns the users who joined, an earlier one does
    not. `rules` are the store's where they are newer than those of the caller, otherwise None. `mutes` has who may not
    write, and until when, in milliseconds of the store's clock, and `votes` has the votes that run, `MOST_TOLD` at
    most; both are empty where the caller follows the room.
    """

    presence: PresenceSnapshot
    barred: Mapping[str, Barred]
    at: int
    rules: RoomRules | None
    mutes: Mapping[str, int]
    votes: Sequence[Ballot]


@dataclass(frozen=True, slots=True)
class RulesMissing:
    """Nothing was done: the store has no rules of this room, or older ones than the caller knows. Install them."""


PresenceObserver = Callable[[str, Sequence[str], Sequence[str]], None]
"""Is called with a room, who came into it and who left it, over all servers. It must not raise."""


class Presence(Protocol):
    """The members of all rooms."""

    def observe(self, changed: PresenceObserver) -> None:
        """Call `changed` with each change of presence over all servers that a call of this server has made.

        So of all servers one is told of each change: it has made the first join or the last leave of a user, or has
        removed the users of a server that has died. Nobody is told of those who were removed from a room, or were in it
        when it was closed, or whom the store has lost with its data, or whose last leave it has recorded without its
        answer reaching a server. After the store has lost data, a join may be told again.
        """
        ...

    async def join(
        self,
        room_id: str,
        members: Sequence[Joiner],
        capacity: int,
        roster: int,
        rules: RoomRules,
        *,
        follows: bool = False,
    ) -> JoinOutcome | RulesMissing | RoomClosed:
        """Record that users are in a room on this server, those who may join it by its rules and its bans.

        `rules` are those that the caller knows: the store decides by its own, which must not be older. The room's
        creator may always join, and a user who is in the room already changes nothing; a ban holds for that user all
        the same. Whoever has lost a connection (see `leave`) may come back to a locked room for `COME_BACK_SECONDS`. So
        may one who `returns`, unless the store knows that this user has left on purpose, or was removed, since then.
        Who is muted stays muted with another account, which followers are told. The record holds until `leave`, even if
        the store loses its data. `capacity` limits the users of the room over all servers. `follows`: the caller has
        been told of all mutes and votes since an earlier outcome.
        """
        ...

    async def leave(self, room_id: str, user_ids: Sequence[str], *, lost: Collection[str] = ()) -> int:
        """Record that users have left a room on this server. Return how many users are there on all servers.

        `lost` are those of them who did not want to leave: who lost their connection. The users of a server that has
        died count as such too.

        If the store does not answer, the request is repeated until it does: the last request for a user holds, even if
        the store loses its data.
        """
        ...

    def remembers_since(self, room_id: str) -> int:
        """Return since when the store knows who was in a room, in milliseconds of its clock; 0: for ever.

        Before that time it has lost its data, or had none. It is as known by the last call of `join`.
        """
        ...

    async def rename(self, room_id: str, person: Member) -> None:
        """Change the name of a user in the room. Followers are told once, however many servers report it."""
        ...

    async def snapshot(self, room_id: str, roster: int) -> PresenceSnapshot:
        """Return who is in a room, with the names if there are at most `roster` users."""
        ...

    async def counts(self, room_ids: Sequence[str]) -> list[int]:
        """Return the number of users in each of some rooms."""
        ...
