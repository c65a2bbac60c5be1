"""The rules of rooms in the store: who may join, how long messages live, who may not write, and votes.

The database has the rules. The store has a copy of those of each room that is in use, so that each decision is one
atomic step for all servers: a join, a message, a vote. A server that has changed the database, or learns that the
store's copy is older than the database, installs the room's rules anew. A room without rules of its own has none in the
store.

A mute lasts at most a day, and a vote a minute: only the store has them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from evanesce.confidential import Confidential
from evanesce.model import Access
from evanesce.store.message_log import RoomClosed


@dataclass(frozen=True, slots=True)
class RoomRules:
    """The rules of a room, as of `version` of the database (see `ChatRoom.rules_version`).

    `message_ttl` is in milliseconds. `created_by` and `encrypted` never change.
    """

    created_by: str
    message_ttl: int
    version: int = 0
    access: Access = Access.LINK
    locked: bool = False
    encrypted: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Person(Confidential):
    """An account in a room, and the subject of its person, which stays the same with another account."""

    user_id: str
    subject: str


@dataclass(frozen=True, slots=True)
class Removal:
    """A person is removed from the room, by its `creator` or by a `vote`, and banned until `until`.

    `until` is in milliseconds of the store's clock; 0: no ban.
    """

    user_id: str
    reason: str
    until: int


@dataclass(frozen=True, slots=True)
class Ballot:
    """The vote on the removal of a member, after a person has voted.

    `votes` has reached `needed`, and the vote has ended, where the person was removed: then `until` is the end of their
    ban, otherwise 0. It is the same for all who ask again. `expires_at` and `until` are in milliseconds of the store's
    clock.
    """

    user_id: str
    votes: int
    needed: int
    expires_at: int
    until: int = 0

    @property
    def removed(self) -> bool:
        """Whether the person was removed."""
        return self.until > 0


class VoteRefused(enum.Enum):
    """Why a vote was not counted."""

    NOT_MEMBER = "not_member"
    """The voter is not in the room."""
    ABSENT = "absent"
    """The person in question is not in the room, and no vote on them runs."""
    CREATOR = "creator"
    """The room's creator is in the room, or is the person in question."""
    TOO_FEW = "too_few"
    """Fewer than three people are in the room."""


class Rules(Protocol):
    """The rules of all rooms."""

    async def install(
        self, room_id: str, rules: RoomRules, bans: Mapping[str, int], removal: Removal | None = None
    ) -> Sequence[str] | RoomClosed:
        """Replace the rules and the bans of a room, unless the store has a newer version of them.

        `bans` has the end of each ban, in milliseconds of the store's clock, by subject, also of those that have ended
        in the last hour: each one takes the place of the ban of a vote on the same subject, unless the vote was after
        it ended. Followers are told the rules where they differ, and `removal` in any case, in the same step, which
        takes the user out of the room on all servers. Returns the ids of all users who are in the room after it.
        """
        ...

    async def version(self, room_id: str) -> int:
        """Return the version of the rules that the store has of a room; 0 where it has none."""
        ...

    async def mute(
        self, room_id: str, user_id: str, seconds: float, subject: str | None = None
    ) -> int | RoomClosed | None:
        """Forbid a user to write for some seconds; 0 allows it again. Followers are told.

        It concerns the person with `subject`, also with another account; where that is None, it is not known, and
        becomes known when the user joins. Returns the end, in milliseconds of the store's clock; 0 where there is none.
        None: nothing was done, as `MOST_MUTES` other people are muted.
        """
        ...

    async def mutes(self, room_id: str) -> Mapping[str, int]:
        """Return who may not write, and until when, in milliseconds of the store's clock."""
        ...

    async def votes(self, room_id: str) -> Sequence[Ballot]:
        """Return the votes of which those are told who join, and those of them that removed somebody.

        The latter too until the time is up at which the vote would have ended.
        """
        ...

    async def vote(
        self, room_id: str, voter: Person, person: Person, created_by: str
    ) -> Ballot | VoteRefused | RoomClosed:
        """Count one vote for the removal of `person`. Followers are told.

        A vote lasts for `VOTE_SECONDS` from its first voter, also where the person in question leaves meanwhile, or
        comes back with another account. A voter with another account has the same vote. Votes of those who have left do
        not count. It needs three people in the room, and the votes of more than half of those who are there when one is
        cast, without the person in question, and of at least two. When it has them, the person is taken out of the room
        and banned for `VOTE_BAN_SECONDS` in the same step; the store keeps this ban beside those that are installed,
        until an installed one of the same subject replaces it (see `install`).
        """
        ...


MOST_MUTES = 1_000
"""How many people are muted in a room at the same time: a server that begins to follow the room reads all of them."""

MOST_TOLD = 100
"""How many of the votes that run, and how many mutes, somebody is told of who joins a room."""

VOTE_SECONDS = 60
"""How long a vote lasts."""

VOTE_BAN_SECONDS = 3600
"""How long a person is banned by a vote."""

COME_BACK_SECONDS = 60
"""How long after the loss of a connection its user may come back to a locked room."""
