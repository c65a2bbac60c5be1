"""The interfaces of a transport: the transport itself, its connections, and the gateway to the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import trio

from evanesce.addresslimits import AddressLimits
from evanesce.delivery.frame import Frame, Framing
from evanesce.interfaces.authentication import SignInPage
from evanesce.interfaces.http import HttpRoute
from evanesce.model import User
from evanesce.protocol.commands import Command
from evanesce.protocol.events import Reply, Welcome


class Connection(Protocol):
    """The connection of one client. One session uses it. All methods but `receive` and `close` return at once.

    `address` has no port. `local` is whether the client is on this machine and not behind a proxy; it is False where
    the transport does not know. `heard_at` is in seconds of Trio's clock; a transport without pings returns the present
    time while it considers the connection intact.

    An optional attribute `outbox` is the `evanesce.delivery.outbox.Outbox` whose `write`, `waiting_bytes` and
    `unacknowledged_bytes` the connection returns. The server then calls it without the connection, which costs less.

    An optional method `deliver_to(handle: Callable[[str], bool] | None)` is called before the first `receive`, and with
    None after the last. While `receive` waits, the connection may call `handle` with a text frame, in the task that has
    read it, and so without waking another one: it returns True where the frame is done, and False where `receive` has
    to return it. It never waits. A connection calls it for a few dozen frames in a row at most. What it raises,
    `receive` raises.
    """

    @property
    def address(self) -> str:
        """The address of the client."""
        ...

    @property
    def local(self) -> bool:
        """Whether the client is on this machine."""
        ...

    @property
    def framing(self) -> Framing:
        """The framing of this connection."""
        ...

    @property
    def heard_at(self) -> float:
        """When the client last sent any data."""
        ...

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait to be sent."""
        ...

    @property
    def unacknowledged_bytes(self) -> int:
        """How many sent bytes the client has not acknowledged; 0 where the transport does not know."""
        ...

    @property
    def skipped(self) -> int:
        """How many messages expired before they could be sent."""
        ...

    async def receive(self) -> str | bytes | None:
        """Wait for the next frame: text as `str`, anything else as `bytes`; None when the client is gone.

        Data that violates the transport's protocol ends the connection with the transport's own code, and the result
        is None. Frames that came together may be returned without a checkpoint, but only a few dozen of them, so that
        constant input does not delay other clients.
        """
        ...

    def write(self, frame: Frame) -> bool:
        """Send or queue `frame`, and return True; False where the outbox is full: then it is not queued.

        Never waits and never raises. A message that expires while it waits is never sent.
        """
        ...

    def ping(self) -> None:
        """Send a ping, where the transport has pings."""
        ...

    async def close(self, code: int, reason: str, goodbye: Frame | None = None) -> None:
        """Send the queued data and `goodbye`, and close the connection, after 2 s at most. May be called again.

        `goodbye` is sent last, even where the outbox is full.
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
        """Whether a load balancer should send clients to this server."""
        return self.status in ("ready", "degraded")


@dataclass(frozen=True, slots=True)
class SignIn:
    """A successful sign-in: its `welcome`, and whether it created an account."""

    reply: Welcome
    created: bool


class Gateway(Protocol):
    """The server, as far as a transport needs it."""

    @property
    def draining(self) -> bool:
        """Whether the server is stopping: it refuses new connections."""
        ...

    async def wait_draining(self) -> None:
        """Wait until the server is stopping. Then a transport on a shared port stops accepting."""
        ...

    @property
    def routes(self) -> Sequence[HttpRoute]:
        """The HTTP routes of plugins."""
        ...

    @property
    def sign_in_pages(self) -> Sequence[SignInPage]:
        """The ways to sign in on the web page, in their order on it."""
        ...

    @property
    def documents(self) -> Mapping[str, bytes]:
        """The machine-readable descriptions of the protocol, as JSON, by the names of their files."""
        ...

    @property
    def address_limits(self) -> AddressLimits:
        """The limits of each client address in this process.

        A transport counts every socket that it accepts, and every request that it reads, before any further work.
        """
        ...

    async def serve(
        self, connection: Connection, *, bearer: str | None = None, connected_at: float | None = None
    ) -> None:
        """Serve a client from its first frame to its last, and close the connection. Raises only `trio.Cancelled`.

        `bearer` is the token of the transport's handshake, where it had one. `connected_at` is when the client
        connected (seconds of Trio's clock; None: now), from when its time to sign in counts. The gateway counts the
        connections of each address itself.
        """
        ...

    async def execute(self, command: Command, *, bearer: str | None, address: str, local: bool = False) -> Reply:
        """Execute a command of a client without a connection: any but those that need one (in rooms, and `ping`).

        `address` and `local` are as in `Connection`. Raises `CommandError`.
        """
        ...

    async def sign_in(
        self, credential: Mapping[str, Any], *, bearer: str | None, address: str, local: bool = False
    ) -> SignIn:
        """Exchange a credential for a token. Raises `CommandError`.

        `bearer` is used by providers that accept a credential from a user who is signed in. `address` and `local` are
        as in `Connection`.
        """
        ...

    async def identify(self, bearer: str | None) -> User | None:
        """Return the user of a bearer token; None without a token. Raises `CommandError` for an invalid token."""
        ...

    def admits_origin(self, origin: str) -> bool:
        """Return whether a page of `origin` may connect."""
        ...

    def admits_host(self, host: str, local_address: str) -> bool:
        """Return whether a request with this Host header, which came to `local_address`, is meant for this server.

        A transport over HTTP refuses others with 421: they may come from a web page that uses DNS rebinding.
        """
        ...

    async def readiness(self) -> Readiness:
        """Return the state of all external services, at most 2 s old. Takes 1.5 s at most, and may be called often."""
        ...

    def metrics(self) -> str:
        """Return the metrics of this process as Prometheus text (format 0.0.4)."""
        ...

    async def scrape(self) -> str:
        """Return the metrics of all workers in the same format, within 2 s. One that does not answer is left out."""
        ...


class Transport(Protocol):
    """A transport of frames between clients and the server. `binds` are the configured addresses, as `host:port`
    or `unix:path`.

    An optional attribute `reserved_paths` lists the HTTP paths that the transport serves itself, which no route of a
    plugin may have. A path that ends in `*` stands for all paths with this beginning.

    Another one, `certificate_expires`, is when the certificate of the transport expires, in seconds since 1970.
    """

    @property
    def binds(self) -> Sequence[str]:
        """The addresses to listen on."""
        ...

    async def serve(
        self, gateway: Gateway, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen, and pass every client to `gateway.serve`, until cancelled.

        Calls `task_status.started` with its URLs within 10 s. An error of a client never ends it. When it returns or
        raises before the server stops, the server stops with exit code 1. With `Setup.shared_port`, it listens until
        the gateway is draining, and returns after its last client. Raises `ConfigurationError` where it cannot listen.
        """
        ...
