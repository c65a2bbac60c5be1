"""Who is in each room, over all servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evanesce.confidential import Confidential
from evanesce.store.message_log import RoomClosed


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


class Presence(Protocol):
    """The members of all rooms."""

    async def join(
        self, room_id: str, members: Sequence[Member], capacity: int, roster: int
    ) -> tuple[PresenceSnapshot, frozenset[str]] | RoomClosed:
        """Record that users are in a room on this server. Return who is there then, and whom the room has no place for.

        A user who is there already changes nothing. The record holds until `leave`, even if the store loses its data.
        `capacity` limits the users of the room over all servers.
        """
        ...

    async def leave(self, room_id: str, user_ids: Sequence[str]) -> int:
        """Record that users have left a room on this server. Return how many users are there on all servers.

        If the store does not answer, the request is repeated until it does: the last request for a user holds, even if
        the store loses its data.
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
