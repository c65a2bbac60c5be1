"""A gateway for tests of a transport alone: it records the connections, and does with each what the test says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import trio

from evanesce.addresses import parse_networks
from evanesce.addresslimits import AddressLimits
from evanesce.errors import CommandError, ErrorCode
from evanesce.interfaces import Connection, HttpRoute, Readiness, SignIn, SignInPage
from evanesce.model import User
from evanesce.protocol.commands import Command
from evanesce.protocol.events import Reply
from evanesce.testing.frames import frame_of


class ScriptedGateway:
    """Implements `evanesce.interfaces.Gateway`. `handle` is awaited for each connection, which is closed afterwards.

    Without another `handle` it sends back each text that it receives. `connections` are all that it was given; `ended`
    is set when the first of them has been closed. `watch` raises what a `handle` raises.
    """

    def __init__(self) -> None:
        self.draining = False
        self.going = trio.Event()
        self.routes: Sequence[HttpRoute] = ()
        self.sign_in_pages: Sequence[SignInPage] = ()
        self.documents: Mapping[str, bytes] = {}
        self.connections: list[Connection] = []
        self.handle: Callable[[Connection], Awaitable[None]] = self.echo
        self.ended = trio.Event()
        self._failed = trio.Event()
        self._failure: Exception | None = None
        exempt = parse_networks(("127.0.0.0/8", "::1"), "limits.exempt_addresses")
        self.address_limits = AddressLimits(connections=100, handshakes=20.0, exempt=exempt, clock=trio.current_time)

    async def wait_draining(self) -> None:
        """Wait until the test sets `going`."""
        await self.going.wait()

    async def serve(
        self, connection: Connection, *, bearer: str | None = None, connected_at: float | None = None
    ) -> None:
        """Await `handle` for a connection, and close it."""
        self.connections.append(connection)
        try:
            await self.handle(connection)
            await connection.close(1000, "")
        except Exception as error:  # as from a real server, a transport gets no exception
            self._failure = self._failure or error
            self._failed.set()
        finally:
            self.ended.set()

    async def watch(self) -> None:
        """Wait until a `handle` raises, and raise the same."""
        await self._failed.wait()
        if self._failure is not None:
            raise self._failure

    async def echo(self, connection: Connection) -> None:
        """Send back each frame that is received, until the client is gone or reads too slowly."""
        while (frame := await connection.receive()) is not None:
            payload = frame if isinstance(frame, bytes) else frame.encode()
            if not connection.write(frame_of(payload)):
                await connection.close(4413, "This client reads too slowly.")

    async def execute(self, command: Command, *, bearer: str | None, address: str, local: bool = False) -> Reply:
        """Refuse every command."""
        raise CommandError(ErrorCode.FORBIDDEN, "This gateway executes no commands.")

    async def sign_in(
        self, credential: Mapping[str, Any], *, bearer: str | None, address: str, local: bool = False
    ) -> SignIn:
        """Refuse every credential."""
        raise CommandError(ErrorCode.FORBIDDEN, "Nobody signs in at this gateway.")

    async def identify(self, bearer: str | None) -> User | None:
        """Return None: nobody has signed in."""
        return None

    def admits_origin(self, origin: str) -> bool:
        """Return True."""
        return True

    def admits_host(self, host: str, local_address: str) -> bool:
        """Return True."""
        return True

    async def readiness(self) -> Readiness:
        """Return that all is up."""
        return Readiness("ready", {})

    def metrics(self) -> str:
        """Return no metrics."""
        return ""

    async def scrape(self) -> str:
        """Return no metrics."""
        return self.metrics()
