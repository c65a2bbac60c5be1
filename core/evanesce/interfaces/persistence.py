"""What lasts: users, rooms and session logs, and moving them from one database to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from evanesce.model import ChatRoom, Record, Timestamp, User


class Repository(Protocol):
    """Users, rooms and session logs: what lasts. Opened (`async with`) before the server listens.

    Every method raises `PersistenceUnavailable` where the database does not answer: within 2.5 s, but for those that
    nobody waits for (`record`, and those about sessions and what has been kept long enough), which may take longer.
    Times are the caller's: the store's clock.
    """

    async def __aenter__(self) -> object: ...

    async def __aexit__(self, *error: object) -> bool | None: ...

    async def sign_in(self, user: User) -> tuple[User, bool]:
        """Give the account with `user.world_id`, and whether it is new.

        Where there is none yet, `user` is stored as it is; where there is one, only its `last_active` moves. Two
        calls for one `world_id` at the same time give one account.
        """
        ...

    async def user(self, user_id: str, sign_in_id: str | None = None) -> User | None:
        """Give a user; None where there is none, it was erased, or `sign_in_id` was revoked."""
        ...

    async def has_account(self, world_id: str) -> bool:
        """Whether there is an account with `world_id`."""
        ...

    async def registration(self, provider: str, user_id: str) -> str | None:
        """Give what a provider has registered with an account; None where there is nothing."""
        ...

    async def register(self, provider: str, user_id: str, value: str) -> str | None:
        """Register `value` with an account, unless something is; see `Accounts.register`."""
        ...

    async def spend(self, provider: str, user_id: str, proof: str, attempt: str) -> bool:
        """Note that `proof` was used; see `Accounts.spend`. False where there is no such account."""
        ...

    async def update_user(self, user: User) -> User | None:
        """Store `display_name` and `email` of `user`; None where the account was erased meanwhile."""
        ...

    async def erase_user(self, user_id: str, now: Timestamp) -> list[str]:
        """Empty the user's row, delete the session logs and what providers registered, close the rooms, all or nothing.

        Gives the closed rooms' ids. The row itself stays, so that what refers to it holds. Erasing again gives the
        same ids: who does not know how the first time went can ask.
        """
        ...

    async def revoke_sign_in(self, sign_in_id: str, until: Timestamp) -> None:
        """Make all tokens of a sign-in worthless; after `until` none of them lives and this may be forgotten."""
        ...

    async def create_room(self, room: ChatRoom, most: int) -> bool:
        """Store `room`; False, and nothing stored, where its creator has `most` open rooms already, or was erased.

        Storing an open room again gives True and changes nothing.
        """
        ...

    async def room(self, room_id: str) -> ChatRoom | None:
        """Give an open room; None where there is none or it was closed."""
        ...

    async def rooms(self, user_id: str, after: str | None, count: int) -> tuple[list[ChatRoom], str | None]:
        """Give a page of a user's open rooms, newest first, and what to give as `after` for the next page.

        Raises `BadRequest` for an `after` that this method did not give.
        """
        ...

    async def close_room(self, room_id: str, now: Timestamp) -> bool:
        """Close a room; False where it is none or was closed before."""
        ...

    async def record(self, records: Sequence[Record]) -> None:
        """Write what happened, all or nothing. The same records may come twice, and change nothing then.

        A `SessionEnded` may come in the same call as its `SessionStarted`, never before it. One whose user has been
        erased meanwhile is dropped.
        """
        ...

    async def servers_in_sessions(self) -> Sequence[str]:
        """Name the servers of all sessions that have no `leave_time` yet."""
        ...

    async def end_sessions(self, server: str, at: Timestamp, count: int) -> int:
        """Let up to `count` sessions of `server` that have no `leave_time` end `at` a time, or when they began.

        Gives how many it was.
        """
        ...

    async def active_rooms(self, after: str, count: int) -> Sequence[str]:
        """Name up to `count` rooms that are marked active, in the order of their ids, behind `after`."""
        ...

    async def delete_sessions(self, before: Timestamp, count: int) -> int:
        """Delete up to `count` sessions that ended before a time; gives how many."""
        ...

    async def delete_rooms(self, before: Timestamp, count: int) -> int:
        """Delete up to `count` rooms that were closed before a time, with their sessions, of which not more at once.

        Gives how many rows that was: 0 where nothing is left to delete.
        """
        ...

    async def unused_guests(self, before: Timestamp, skip: int, count: int) -> Sequence[str]:
        """Name up to `count` guests who were last active before a time, longest ago first, but not the first `skip`."""
        ...

    async def delete_guests(self, count: int) -> int:
        """Delete up to `count` rows of guests who were erased and have no rooms, open or closed; gives how many."""
        ...

    async def check(self) -> str:
        """Say in a few words how the database is; raises `PersistenceUnavailable` where it cannot be used."""
        ...


Value = str | int | float | bytes | None
"""What a column holds."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a table, in the order of their keys: of each row so many values of the first columns are its key."""

    table: str
    key: int
    rows: Sequence[tuple[Value, ...]]


@runtime_checkable
class Movable(Protocol):
    """What a repository may have beside its contract, while it is open, so that `evanesce db` can do more with it.

    Opening it brings its schema to the newest version. Two of the same tables can be copied into each other.
    """

    @property
    def versions(self) -> tuple[int, int]:
        """The version of the schema that was found when it was opened, 0 where there was nothing, and the present."""
        ...

    @property
    def tables(self) -> Sequence[str]:
        """The tables, each behind those that it refers to."""
        ...

    async def read(self, table: str, after: Sequence[Value], count: int) -> Rows:
        """Give up to `count` rows of a table in the order of their keys: the first, or those behind the row `after`."""
        ...

    async def write(self, rows: Rows) -> None:
        """Add rows, all or nothing. One whose key is there already is left as it is."""
        ...
