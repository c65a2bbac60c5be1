"""The gateway: the server as transports see it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import trio

from evanesce.errors import CloseCode, CommandError, ErrorCode, RateLimited, Unavailable
from evanesce.interfaces import Connection, HttpRoute, Readiness, SignIn, SignInPage
from evanesce.logs import folded
from evanesce.model import User
from evanesce.plugins import Parts
from evanesce.protocol import commands, events
from evanesce.sessions.operations import SignedIn
from evanesce.sessions.services import Services
from evanesce.sessions.session import FAULT, GOING_AWAY, RESTARTING, Session

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
"""How long a part may take to say how it is, before it counts as down."""

LOOKS_AT_ONCE = 100
"""At how many connections it is looked before others have their turn."""

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Gateway:
    """What a transport is given (`evanesce.interfaces.Gateway`)."""

    def __init__(self, services: Services, parts: Parts) -> None:
        self._services = services
        self._parts = parts
        self._sessions: set[Session] = set()
        self._ended = trio.Event()
        self._draining = trio.Event()
        self._leaving: tuple[CloseCode, str] | None = None
        self._origins = _admitted(services.config.server.public_url, services.config.server.origins)
        services.metrics.watch("sessions", "Connections that are open", lambda: len(self._sessions))
        services.metrics.watch("rooms", "Rooms that run on this server", lambda: services.hub.rooms)
        most = "The most requests that ever waited in a room's inbox"
        services.metrics.watch("inbox_largest", most, lambda: services.hub.largest_inbox)
        services.metrics.watch("tasks", "Tasks that run", lambda: trio.lowlevel.current_statistics().tasks_living)

    @property
    def draining(self) -> bool:
        """Whether the server is going away."""
        return self._leaving is not None

    async def wait_draining(self) -> None:
        """Wait until the server is going away."""
        await self._draining.wait()

    @property
    def routes(self) -> Sequence[HttpRoute]:
        """What plugins add to HTTP."""
        return self._parts.routes

    @property
    def sign_in_pages(self) -> Sequence[SignInPage]:
        """How the web page signs in."""
        return self._parts.sign_in_pages

    async def serve(self, connection: Connection, *, bearer: str | None = None) -> None:
        """Talk with a client from its first frame to its last."""
        session = Session(connection, self._services, bearer)
        if self._leaving is not None:
            session.end(*self._leaving)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
            if self.draining and not self._sessions:
                self._ended.set()

    async def watch(self) -> None:
        """See from time to time whether the clients are still there, until cancelled.

        One task for all of them: a timer and a scope for each would be a good part of what an idle connection costs.
        """
        limits = self._services.config.limits
        every = min(1.0, limits.hello_seconds / 20, limits.heartbeat_seconds / 50)
        while True:
            await trio.sleep(every)
            for number, session in enumerate(list(self._sessions), 1):
                self._look(session, every)
                if number % LOOKS_AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()

    def _look(self, session: Session, every: float) -> None:
        try:
            session.look(trio.current_time(), every)
        except Exception as error:  # the border around a connection, which is a plugin's
            logger.error("a connection failed: %s", folded(error))
            self._services.metrics.faults.labels("session").inc()
            session.end(CloseCode.FAULT, FAULT)

    async def drain(self, *, restarting: bool = False) -> None:
        """Send every client away, and wait until they have gone. The caller bounds the wait."""
        self._leaving = (CloseCode.RESTARTING, RESTARTING) if restarting else (CloseCode.GOING_AWAY, GOING_AWAY)
        self._draining.set()
        for session in list(self._sessions):
            session.end(*self._leaving)
        if self._sessions:
            await self._ended.wait()

    async def execute(self, command: commands.Command, *, bearer: str | None, address: str) -> events.Reply:
        """Do what a client without a connection asks."""
        operations = self._services.operations
        try:
            if isinstance(command, commands.Challenge):
                return await operations.challenge(command, await self._recognise(bearer), address)
            who = await self._recognise(bearer)
            if who is None:
                raise CommandError(ErrorCode.UNAUTHENTICATED, "Sign in first: this needs a bearer token.")
            if wait := self._services.commands_limit.take(who.user.user_id):
                raise RateLimited("Far too fast. Wait a moment.", wait)
            return await operations.execute(command, who)
        except CommandError as error:
            self._services.metrics.refused.labels(error.code.value).inc()
            raise
        except Exception as error:  # the border around a request: its fault is its own
            raise self._internal(command, error) from None

    async def sign_in(self, credential: Mapping[str, Any], *, bearer: str | None, address: str) -> SignIn:
        """Exchange a credential for a token."""
        operations = self._services.operations
        try:
            was = await self._recognise(bearer)
            who, token, created = await operations.sign_in(credential, was, address)
        except CommandError as error:
            self._services.metrics.refused.labels(error.code.value).inc()
            raise
        return SignIn(operations.welcome(who, token=token), created)

    async def identify(self, bearer: str | None) -> User | None:
        """Give who a bearer token is of."""
        who = await self._recognise(bearer)
        return None if who is None else who.user

    def admits_origin(self, origin: str) -> bool:
        """Whether a page of `origin` may connect: the server's own, or a configured one, to the letter."""
        return origin in self._origins

    async def readiness(self) -> Readiness:
        """Look at every outside part."""
        parts = {"redis": "up" if self._services.store.healthy else "down"}

        async def look(name: str, part: Any) -> None:
            parts[name] = "down"
            with trio.move_on_after(CHECK_SECONDS):
                try:
                    await part.check()
                except Unavailable:
                    return
                except Exception as error:  # the border around a plugin: a broken part is a part that is down
                    logger.error("the check of %s failed: %s", name, folded(error))
                    return
                parts[name] = "up"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look, "database", self._parts.repository)
            for provider, authenticator in self._parts.authenticators.items():
                nursery.start_soon(look, provider, authenticator)
        if self.draining:
            status = "draining"
        elif parts["redis"] == "down":
            status = "unavailable"
        else:
            status = "ready" if all(state == "up" for state in parts.values()) else "degraded"
        return Readiness(status, parts)

    def metrics(self) -> str:
        """Give the metrics as Prometheus text."""
        return self._services.metrics.text()

    async def _recognise(self, bearer: str | None) -> SignedIn | None:
        return None if bearer is None else await self._services.operations.recognise(bearer)

    def _internal(self, command: commands.Command, error: Exception) -> CommandError:
        logger.error("a %s failed: %s", type(command).__name__, folded(error))
        self._services.metrics.faults.labels("command").inc()
        return CommandError(ErrorCode.INTERNAL, "A fault in the server. Try again in a moment.")


def _admitted(public_url: str, configured: Sequence[str]) -> frozenset[str]:
    """Give the origins that may connect, as browsers write them (RFC 6454, 6.2): lower case, no default port.

    Where the server's own is this machine, it is so under each of its names.
    """
    own = _origin(public_url)
    scheme, _, host = own.partition("://")
    name, colon, port = host.rpartition(":") if host.rpartition(":")[2].isdigit() else (host, "", "")
    names = _LOOPBACK if name in _LOOPBACK else (name,)
    return frozenset([f"{scheme}://{one}{colon}{port}" for one in names] + [_origin(one) for one in configured])


def _origin(url: str) -> str:
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if parts.port in (None, default) else f":{parts.port}")
