"""What plugins are and what they are given: the typed contracts between Evanesce and everything around it.

A plugin hands over objects that fulfil `Authenticator`, `Repository` or `Transport`; a transport is given a `Gateway`.
Whatever is called `async` here may be cancelled at any await, and must then leave nothing half done.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec
import trio

from evanesce.frame import Frame, Framing
from evanesce.model import ChatRoom, Identity, KnownUser, Record, Timestamp, User
from evanesce.protocol.commands import Command
from evanesce.protocol.events import Reply, Welcome


@dataclass(frozen=True, slots=True)
class Setup:
    """What a plugin is built from.

    `name` is its entry point's; `settings` an instance of its own model (None where it declares none); `folder` what
    relative paths start from; `public_url` what deep links begin with, without a slash at its end.
    `frame_bytes` and `outbox_bytes` are the limits of the configuration, in bytes.
    """

    name: str
    settings: Any = field(repr=False)  # holds secrets
    folder: Path
    public_url: str
    origins: Sequence[str]
    frame_bytes: int
    outbox_bytes: int


class Accounts(Protocol):
    """What one provider may ask, and keep, of accounts. Every method raises `PersistenceUnavailable`.

    What is kept goes with the account.
    """

    async def exists(self, identity: Identity) -> bool:
        """Whether somebody has an account."""
        ...

    async def registration(self, user_id: str) -> str | None:
        """Give what this provider has registered with an account: a public key, a session; None where nothing is."""
        ...

    async def register(self, user_id: str, value: str) -> str | None:
        """Register `value` with an account that has nothing registered yet; give what is registered with it now.

        None where there is no such account, or `value` is registered with another one.
        """
        ...

    async def spend(self, user_id: str, proof: str, attempt: str) -> bool:
        """Note that an account has used `proof`, which no account may use twice; False where it was used before.

        The same `attempt` (the challenge's id) may spend it again: its first answer may have been lost.
        """
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the user, where somebody is signed in, and the address that the request came from.

    `accounts` is what the asked provider may know and keep of accounts.
    """

    user: User | None
    address: str
    accounts: Accounts


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a credential must answer.

    `fields` go to the client. `kept`, where it is not None, stays with the server for `seconds`: then the client is
    given a `challengeId` and `expiresAt` too, and the one credential that names that id gets it, on whichever server.
    """

    fields: Mapping[str, Any]
    kept: bytes | None = None
    seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Answered:
    """A challenge that a credential answers: its id, and what was kept with it."""

    challenge_id: str
    kept: bytes


class Authenticator(Protocol):
    """Finds out who somebody is. Opened (`async with`) before the server listens, closed after it has ended.

    `provider` is what clients name in `challenge` and `credential`. With `loopback_only` the server refuses to start
    on any other address: for a provider that proves nothing.
    """

    @property
    def provider(self) -> str:
        """The name that clients use."""
        ...

    @property
    def loopback_only(self) -> bool:
        """Whether this provider may serve this machine alone."""
        ...

    async def __aenter__(self) -> object: ...

    async def __aexit__(self, *error: object) -> bool | None: ...

    async def challenge(self, request: Mapping[str, Any], caller: Caller) -> Challenge:
        """Give what a credential must answer.

        Raises `AuthFailed`, `AuthUnavailable`, `BadRequest`; a `msgspec.ValidationError` is told as a `bad_request`.
        """
        ...

    async def authenticate(
        self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None
    ) -> Identity | KnownUser:
        """Find out who sent `credential`: somebody with or without an account, or an account that is known.

        `answered` is the challenge that its `challengeId` names; None where it names none that is live. It is used up
        then: nobody else gets it. Only where this, or the sign-in behind it, decides nothing (a fault, a cancellation,
        a malformed credential) the client may answer it again. Raises as `challenge` does.
        """
        ...

    async def check(self) -> str:
        """Say in a few words how the provider is; raises `AuthUnavailable` where it cannot be used."""
        ...


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

        A room that nobody is in any more, as far as sessions say, is not active then. Gives how many sessions it was.
        """
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


class Connection(Protocol):
    """One client on a transport. Used by one session; everything but `receive` and `close` returns at once.

    `address` is the client's, without a port. `heard_at` is when anything last came from it (seconds of Trio's clock):
    a transport that has no pings gives the present time as long as it trusts its medium.
    """

    @property
    def address(self) -> str:
        """Where the client is."""
        ...

    @property
    def framing(self) -> Framing:
        """How frames look on this connection."""
        ...

    @property
    def heard_at(self) -> float:
        """When anything last came from the client."""
        ...

    @property
    def waiting_bytes(self) -> int:
        """How much of what was written the network has not taken yet, in bytes."""
        ...

    @property
    def skipped(self) -> int:
        """How many messages expired before the network took them."""
        ...

    async def receive(self) -> str | bytes | None:
        """Wait for the next frame: text as `str`, anything else as `bytes`; None when the client is gone.

        What breaks the transport's own protocol ends the connection with the transport's own code, and gives None.
        It is a checkpoint after a few dozens of frames that came together at the latest: ceaseless input keeps nobody
        else waiting.
        """
        ...

    def write(self, frame: Frame) -> bool:
        """Send `frame`, at once or as soon as the network takes it; False where the outbox is full: it is not queued.

        Never waits and never raises. What expires while it waits is never sent.
        """
        ...

    def ping(self) -> None:
        """Ask the client for a sign of life, where the transport can."""
        ...

    async def close(self, code: int, reason: str, goodbye: Frame | None = None) -> None:
        """End the connection, after what is queued as far as the client takes it within 2 s. May be called again.

        `goodbye` goes out last, even where the outbox is full.
        """
        ...


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the server can serve.

    `status` is `ready`, `degraded`, `unavailable` or `draining`; each of `parts` is `up` or `down`.
    """

    status: str
    parts: Mapping[str, str]

    @property
    def serving(self) -> bool:
        """Whether clients should be sent here."""
        return self.status in ("ready", "degraded")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to a plugin's route. `user` is who is signed in by its bearer token."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    user: User | None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A plugin's answer."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """A route that a plugin adds, on every transport that has HTTP. `path` is absolute and exact."""

    method: str
    path: str
    handle: Callable[[HttpRequest], Awaitable[HttpResponse]]


@dataclass(frozen=True, slots=True)
class SignInPage:
    """How the web page signs in with `provider`, an authenticator's: by a JavaScript module.

    `module` is its absolute path on this origin, normally a route of the same plugin; docs/plugins.md says what it
    exports. `sources` is what the page's Content-Security-Policy must allow beside `'self'`, by directive, such as
    `{"connect-src": ["https://bridge.example"]}`.
    """

    provider: str
    module: str
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])


@dataclass(frozen=True, slots=True)
class CliCommand:
    """A subcommand that a plugin adds to `evanesce`; `run` gives the exit code."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


@dataclass(frozen=True, slots=True)
class SignIn:
    """A sign-in that succeeded: its `welcome`, and whether it made a new account."""

    reply: Welcome
    created: bool


class Gateway(Protocol):
    """What a transport is given: the server, as far as a transport needs it."""

    @property
    def draining(self) -> bool:
        """Whether the server is going away: new connections are not welcome any more."""
        ...

    @property
    def routes(self) -> Sequence[HttpRoute]:
        """What plugins add to HTTP."""
        ...

    @property
    def sign_in_pages(self) -> Sequence[SignInPage]:
        """How the web page signs in, in the order in which it offers it."""
        ...

    async def serve(self, connection: Connection, *, bearer: str | None = None) -> None:
        """Talk with a client from its first frame to its last. Never raises but `trio.Cancelled`.

        `bearer` is the token of the transport's handshake, where it had one. The connection is closed afterwards.
        """
        ...

    async def execute(self, command: Command, *, bearer: str | None, address: str) -> Reply:
        """Do what a client without a connection asks: any command but those that need one (rooms, `ping`).

        Raises `CommandError`.
        """
        ...

    async def sign_in(self, credential: Mapping[str, Any], *, bearer: str | None, address: str) -> SignIn:
        """Exchange a credential for a token. Raises `CommandError`.

        `bearer` counts where the provider takes a credential from someone who is signed in.
        """
        ...

    async def identify(self, bearer: str | None) -> User | None:
        """Give who a bearer token is of; None without one. Raises `CommandError` for one that is worthless."""
        ...

    def admits_origin(self, origin: str) -> bool:
        """Whether a page of `origin` may connect."""
        ...

    async def readiness(self) -> Readiness:
        """Look at every outside part."""
        ...

    def metrics(self) -> str:
        """Give the metrics as Prometheus text (format 0.0.4)."""
        ...


class Transport(Protocol):
    """How frames travel. `binds` are the addresses that the configuration gives it, as `host:port`."""

    @property
    def binds(self) -> Sequence[str]:
        """Where it is going to listen."""
        ...

    async def serve(
        self, gateway: Gateway, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen, and give every client to `gateway.serve`, until cancelled.

        Reports the URLs that it listens on as started. A client's fault never ends it.
        Raises `ConfigurationError` where it cannot listen.
        """
        ...


Settings = type[msgspec.Struct]
"""A plugin's model of its table in the configuration."""
