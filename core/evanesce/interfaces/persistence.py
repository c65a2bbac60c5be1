"""Persistence: users, rooms and session logs, and copying them from one database to another."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from evanesce.model import (
    Ban,
    ChatRoom,
    Invite,
    Record,
    RegisteredAccount,
    Registration,
    Timestamp,
    User,
    UserBan,
)

MOST_CHECKED = 500
"""The most sign-ins, rooms, admissions or members in one call of `signed_in`, `open_rooms`, `admitted` or `lost`."""


@dataclass(frozen=True, slots=True)
class RedisBinding:
    """Which Redis the servers of a database use.

    `identity` identifies the contents of that Redis. `heartbeats` grows while servers use it, and `silent` is how many
    seconds ago it last grew, by the database's clock: `math.inf` after the last server has released it.
    """

    identity: str
    heartbeats: int
    silent: float


@dataclass(frozen=True, slots=True)
class Inspection:
    """A database before it is opened.

    `text` describes it in a few words. `found` is the version of its schema (0: there is no database, or an empty one),
    and `newest` is the version to which opening it migrates. `steps` describe the migrations between the two, in order.
    `file` is its path, or None for a database that is not a file of this machine; `bound` is the Redis that it is bound
    to.
    """

    text: str
    found: int
    newest: int
    steps: Sequence[str] = ()
    file: Path | None = None
    bound: RedisBinding | None = None


class Repository(Protocol):
    """Stores users, rooms with their rules, and session logs. Opened (`async with`) before the server listens.

    Opening it creates the database where there is none, and migrates an older one. `inspect` alone is called while it
    is not open, and writes nothing: `evanesce check` calls no other method, and `evanesce serve` calls it first.

    Every method raises `PersistenceUnavailable` where the database does not answer: within 2.5 s, or later for those
    that no client waits for (`record`, and the maintenance jobs: sessions, links and retention). A call is cancelled
    after 5 s (60 s where no client waits). All times are parameters, from the store's clock.

    An optional attribute `database` names the database: a text without secrets that is the same for all servers that
    use it, and differs for any other database. Servers on one Redis compare it, where it is present.
    """

    async def __aenter__(self) -> object: ...

    async def __aexit__(self, *error: object) -> bool | None: ...

    async def inspect(self) -> Inspection:
        """Return what the database is, and what opening it would migrate. Called while it is not open.

        Creates and changes nothing. Raises what opening it would raise: `PersistenceUnavailable`, and
        `ConfigurationError` where a setting has to be corrected, for example because the database belongs to another
        application or has a newer schema. May take 60 s.
        """
        ...

    async def sign_in(
        self, user: User, provider: str = "", registration: Registration | None = None
    ) -> tuple[User, bool]:
        """Return the account with `user.world_id`, and whether it is new.

        Where there is none yet, `user` is stored as it is; otherwise only `last_active` is updated. Two calls for one
        `world_id` at the same time create one account.

        A `registration` is stored with the account, all or nothing, unless `provider` has one there already: the first
        one stays. Raises `RegistrationTaken`, and stores nothing, where its value belongs to another account.
        """
        ...

    async def user(self, user_id: str, sign_in_id: str | None = None) -> User | None:
        """Return a user, with `banned_until`; None for an unknown or erased user, or a revoked `sign_in_id`."""
        ...

    async def signed_in(self, sign_ins: Sequence[tuple[str, str]]) -> Sequence[User | None]:
        """Return the user of each sign-in (a user id and a sign-in id), as `user` does, for at most `MOST_CHECKED`.

        Servers regularly check whether their connected users are still signed in, and look up together those who come
        back at the same time. Such a call may take as long as one of `user`.
        """
        ...

    async def has_account(self, world_id: str) -> bool:
        """Return whether there is an account with `world_id`."""
        ...

    async def find_user(self, world_id: str) -> User | None:
        """Return the user with `world_id`, with `banned_until`; None where there is no such account."""
        ...

    async def all_users(self, after: str, count: int) -> Sequence[User]:
        """Return up to `count` users, as `user` does, in the order of their ids: those after the id `after`."""
        ...

    async def ban_user(self, ban: UserBan) -> None:
        """Store the ban of a person from all servers, in place of an earlier one of this `subject`.

        `user_id` is not stored where the account was erased. Storing the same again changes nothing.
        """
        ...

    async def unban_user(self, subject: str) -> bool:
        """Delete the ban of a person from all servers, and return whether there was one."""
        ...

    async def user_ban(self, subject: str) -> UserBan | None:
        """Return the ban of a person from all servers, also one that has ended; None where there is none."""
        ...

    async def user_bans(self, after: str, count: int) -> Sequence[UserBan]:
        """Return up to `count` bans from all servers in the order of their subjects: those after `after`."""
        ...

    async def find_registration(self, provider: str, account_code: str) -> RegisteredAccount | None:
        """Return the account with this code, and what the provider registered with it; None where there is none."""
        ...

    async def change_registration(self, provider: str, user_id: str, value: str, replaces: str) -> bool:
        """Store `value` in place of what a provider registered; see `Accounts.change`. The account code stays."""
        ...

    async def account_code(self, user_id: str) -> str | None:
        """Return the code of an account; None where its provider registered none."""
        ...

    async def spend(self, provider: str, user_id: str, proof: str, attempt: str) -> bool:
        """Store that `proof` was used; see `Accounts.spend`. Returns False where there is no such account."""
        ...

    async def update_user(self, user: User) -> User | None:
        """Store `display_name` and `email` of `user`, and return it; None where the account was erased meanwhile."""
        ...

    async def erase_user(self, user_id: str, now: Timestamp) -> list[str]:
        """Clear the user's row, delete the session logs and registrations, and close the rooms, all or nothing.

        Admissions are deleted, but the places that they took of an invite stay taken. Bans stay, also those from all
        servers, without the account.

        Returns the ids of the closed rooms. The row itself stays, because others refer to it. Erasing again returns the
        same ids, for a caller that does not know whether its first call succeeded.
        """
        ...

    async def revoke_sign_in(self, sign_in_id: str, until: Timestamp) -> None:
        """Revoke all tokens of a sign-in. After `until` all of them have expired, and this may be deleted."""
        ...

    async def create_room(self, room: ChatRoom, most: int) -> bool:
        """Store `room`. Returns False, and stores nothing, where its creator has `most` open rooms or was erased.

        Storing an open room again returns True and changes nothing.
        """
        ...

    async def update_room(self, room: ChatRoom) -> ChatRoom | None:
        """Store `message_ttl`, `access` and `locked` of `room`, if `rules_version` is still that of the database.

        Returns the room with its new `rules_version`; None, and stores nothing, where another server was faster or the
        room is closed. Storing the same again returns the same, unless the room has changed once more.
        """
        ...

    async def raise_rules_version(self, room_id: str, version: int) -> None:
        """Set the `rules_version` of an open room to `version`, where it is lower.

        Servers have seen higher versions of a room where an older state of the database was restored.
        """
        ...

    async def room(self, room_id: str) -> ChatRoom | None:
        """Return an open room; None for an unknown or closed one."""
        ...

    async def open_rooms(self, room_ids: Sequence[str]) -> Mapping[str, int]:
        """Return which of at most `MOST_CHECKED` rooms are open, and the `rules_version` of each."""
        ...

    async def all_rooms(self, after: str, count: int, *, active: bool) -> Sequence[ChatRoom]:
        """Return up to `count` open rooms in the order of their ids, those after the id `after`.

        With `active`, only those that are marked active.
        """
        ...

    async def rooms(self, user_id: str, after: str | None, count: int) -> tuple[list[ChatRoom], str | None]:
        """Return a page of a user's open rooms, newest first, and the value of `after` for the next page.

        Raises `BadRequest` for an `after` that this method did not return.
        """
        ...

    async def close_room(self, room_id: str, now: Timestamp) -> bool:
        """Close a room. Returns False for an unknown one, or one that was closed before."""
        ...

    async def create_invite(self, invite: Invite, most: int) -> bool:
        """Store an invite. Returns False, and stores nothing, where its room has `most` live ones, or is closed.

        An invite is live until it expires, is used up or is revoked, or its room is closed. Storing it again returns
        True.
        """
        ...

    async def invites(self, room_id: str, now: Timestamp) -> Sequence[Invite]:
        """Return the live invites of a room, the newest first."""
        ...

    async def revoke_invite(self, room_id: str, invite_id: str, now: Timestamp) -> bool:
        """Revoke an invite. Returns False where the room has no such live invite."""
        ...

    async def admit(self, room_id: str, user_id: str, invite_id: str, now: Timestamp, most: int) -> bool | None:
        """Admit a user to a room by an invite, in one step: True. It takes one of the invite's places.

        True, without another place, for a user who was admitted before. False where the invite is not live, or the
        account was erased. None where the room has admitted `most` users already.
        """
        ...

    async def admit_members(self, room_id: str, user_ids: Sequence[str], now: Timestamp, most: int) -> None:
        """Admit those who are in a room, without an invite: the first ones, so that it has at most `most`."""
        ...

    async def admitted(self, admissions: Sequence[tuple[str, str]]) -> Sequence[bool]:
        """Return whether users were admitted, for at most `MOST_CHECKED` pairs of a room id and a user id."""
        ...

    async def ban(self, ban: Ban, most: int) -> int | None:
        """Store the removal of a person, and the ban, in place of an earlier one of this person in this room.

        Returns the new `rules_version` of the room; None, and stores nothing, where the room has `most` bans of other
        people that have not ended by `since`, or is closed. Storing the same again changes nothing. `display_name` is
        not stored, nor is `user_id` where the account was erased.
        """
        ...

    async def bans(self, room_id: str, ended_after: Timestamp) -> Sequence[Ban]:
        """Return the bans of a room that end after a time, and removals after it, the newest first."""
        ...

    async def unban(self, room_id: str, subject: str, now: Timestamp) -> bool:
        """End the ban of a person at `now`, and store that, also where there is none: the store may have one of a vote.

        Returns False, and stores nothing, where the room is closed; otherwise `rules_version` has grown. Storing the
        same again changes nothing. What `bans` returns has ended at `now`; it is still a removal, where it was one, and
        otherwise has no `user_id`.
        """
        ...

    async def delete_ended_rules(self, before: Timestamp, count: int) -> int:
        """Delete up to `count` of each that ended before a time, and return how many it was.

        These are invites, bans from rooms, and bans from all servers.
        """
        ...

    async def record(self, records: Sequence[Record]) -> None:
        """Write records, all or nothing. The same records may be passed again, and then change nothing.

        A `SessionEnded` may be in the same call as its `SessionStarted`, but never before it. A record whose user has
        been erased meanwhile is dropped. Where a call raises anything but `PersistenceUnavailable`, the records are
        tried again in smaller batches, and a record that cannot be written alone is lost. A call may take 75 s.
        """
        ...

    async def servers_in_sessions(self) -> Sequence[str]:
        """Return the names of the servers of all sessions that have no `leave_time` yet."""
        ...

    async def end_sessions(self, server: str, at: Timestamp, count: int) -> int:
        """End up to `count` sessions of `server` that have no `leave_time`, and return how many it was.

        Their `leave_time` is `at`, or their `join_time` if that is later. They are `lost`.
        """
        ...

    async def lost(
        self, members: Sequence[tuple[str, str]], after: Timestamp, running: Collection[str]
    ) -> Sequence[bool]:
        """Return whether users lost their connection to a room, for at most `MOST_CHECKED` pairs of room and user.

        That is where a session of theirs in the room is `lost` and ended at `after` or later, or has no end. False
        where the user, since that session began, was removed from the room (see `bans`); where a session that was not
        lost ended later, or, if it was on another server, since that session began; and where a session without an end
        is on one of the servers `running`: its user is in the room, or its end is not recorded yet.
        """
        ...

    async def active_rooms(self, after: str, count: int) -> Sequence[str]:
        """Return the ids of up to `count` rooms that are marked active, in order, starting after `after`."""
        ...

    async def renew_links(self, base: str, count: int) -> int:
        """Update the deep links of up to `count` rooms to `base` and the room's id, and return how many it was.

        Links that are correct already do not count. Every server calls this at its start, because `server.public_url`
        may have changed.
        """
        ...

    async def delete_sessions(self, before: Timestamp, count: int) -> int:
        """Delete up to `count` sessions that ended before a time, and return how many it was."""
        ...

    async def delete_rooms(self, before: Timestamp, count: int) -> int:
        """Delete up to `count` rooms that were closed before a time, with all that is stored about them.

        These are their sessions, invites, admissions and bans: up to `count` of each. Returns how many rows that was: 0
        where nothing is left to delete.
        """
        ...

    async def unused_guests(self, before: Timestamp, skip: int, count: int) -> Sequence[str]:
        """Return the ids of up to `count` guests last active before a time, oldest first, without the first `skip`."""
        ...

    async def delete_guests(self, count: int) -> int:
        """Delete up to `count` rows of erased guests who have no rooms, open or closed, and return how many it was."""
        ...

    async def bound_redis(self) -> RedisBinding | None:
        """Return which Redis the database is bound to; None where it is bound to none yet."""
        ...

    async def bind_redis(self, identity: str, replacing: str | None) -> bool:
        """Bind the database to the Redis `identity`, or count a heartbeat where it is bound to it already.

        `replacing` is the Redis that it may be bound to at present; None: it may be bound to no other. Changes nothing
        where it is bound to another one. Returns whether it is bound to `identity` now. May be called twice.
        """
        ...

    async def release_redis(self, identity: str) -> None:
        """Store that the last server on a Redis ends, if the database is bound to it.

        `RedisBinding.silent` is `math.inf` until the next heartbeat.
        """
        ...

    async def purge(self) -> None:
        """Remove erased and replaced content from the files of the database, including free pages and journals.

        Called after an account was erased or a profile was changed. Raises `PersistenceUnavailable` where that is not
        possible yet, because others use the database: it is called again later. Does nothing for a database on another
        machine, whose operator is responsible for its files.
        """
        ...

    async def check(self) -> str:
        """Return the state of the database in a few words. Raises `PersistenceUnavailable` where it cannot be used.

        Writes nothing.
        """
        ...

    async def try_write(self) -> None:
        """Write to the disk, without a lasting change. Raises `PersistenceUnavailable` where that is not possible.

        Called for readiness checks, at most once in 2 s.
        """
        ...


Value = str | int | float | bytes | None
"""A value of a column."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a table, in the order of their keys. The first `key` values of each row are its key."""

    table: str
    key: int
    rows: Sequence[tuple[Value, ...]]


@runtime_checkable
class TableCopy(Protocol):
    """What a repository may implement in addition to its contract, so that `evanesce db copy` can copy its tables.

    Called while it is open, with the newest schema. Two databases with the same tables can be copied into each other.
    """

    @property
    def versions(self) -> tuple[int, int]:
        """The schema version that was found when it was opened (0: an empty database), and the present one."""
        ...

    @property
    def tables(self) -> Sequence[str]:
        """The names of the tables, each after those that it refers to."""
        ...

    async def read(self, table: str, after: Sequence[Value], count: int) -> Rows:
        """Return up to `count` rows of a table in the order of their keys: the first ones, or those after `after`."""
        ...

    async def write(self, rows: Rows) -> None:
        """Insert rows, all or nothing. A row whose key exists already is left unchanged."""
        ...
