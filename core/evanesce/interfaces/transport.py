"""How frames travel: what a transport is, its connections, and the server as it sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import trio

from evanesce.frame import Frame, Framing
from evanesce.interfaces.authentication import SignInPage
from evanesce.interfaces.http import HttpRoute
from evanesce.model import User
from evanesce.protocol.commands import Command
from evanesce.protocol.events import Reply, Welcome


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

    async def wait_draining(self) -> None:
        """Wait until the server is going away. A transport on a shared port stops accepting then."""
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

        Reports the URLs that it listens on as started. A client's fault never ends it. Where `Setup.shared_port` says
        that others listen there too, it listens until the gateway is draining, and ends with its last client.
        Raises `ConfigurationError` where it cannot listen.
        """
        ...
