"""The task that serves one connection: it reads until the client leaves or is ended, and then closes the connection."""

from __future__ import annotations

import math

import trio

from evanesce.context import ServerContext
from evanesce.errors import CloseCode
from evanesce.interfaces import Connection
from evanesce.limits.budgets import Budget
from evanesce.plugins.faults import is_own_cancellation
from evanesce.protocol import commands
from evanesce.sessions.connection import ClientConnection
from evanesce.sessions.dispatch import Dispatcher
from evanesce.sessions.reader import FrameReader
from evanesce.sessions.session import Session

IDLE_SECONDS = 2.0
"""How long a connection that the server ends waits for the replies to the commands that it accepted."""

CROWDED_HELLO_SECONDS = 2.0
"""How long a client may take for its `hello` while very many clients have not signed in."""

GOING_AWAY = "The server is going away."
RESTARTING = "The server is restarting."


class SessionTask:
    """Runs one session, from the first frame of its connection to the last."""

    __slots__ = (
        "_bearer",
        "_dispatcher",
        "_hello_deadline",
        "_limits",
        "_metrics",
        "_pinged_at",
        "_reader",
        "_session",
        "_transport",
        "connection",
    )

    def __init__(
        self,
        connection: Connection,
        context: ServerContext,
        dispatcher: Dispatcher,
        budget: Budget,
        *,
        bearer: str | None = None,
        connected_at: float | None = None,
    ) -> None:
        limits = context.config.limits
        self.connection = ClientConnection(connection, limits.outbox_bytes, context.metrics)
        self._session = Session(self.connection, budget, context.metrics)
        self._reader = FrameReader(
            connection, self._session, dispatcher, context.metrics, frame_bytes=limits.frame_bytes
        )
        self._transport = connection
        self._dispatcher = dispatcher
        self._metrics = context.metrics
        self._limits = limits
        self._bearer = bearer
        began = trio.current_time() if connected_at is None else connected_at
        self._hello_deadline = began + limits.hello_seconds
        self._pinged_at = -math.inf

    async def run(self) -> None:
        """Serve the connection until the client leaves or is ended; then close it, whatever happened."""
        self._metrics.connections.inc()
        connection = self.connection
        try:
            with connection.scope:
                await self._read()
            if connection.scope.cancelled_caught and connection.ending is None:
                connection.end(CloseCode.SIGN_IN_AGAIN, "The token has expired. Sign in again.")
        except BaseException as error:  # a fault of one connection must not end others
            if is_own_cancellation(error):
                connection.end(CloseCode.GOING_AWAY, GOING_AWAY)
                raise
            connection.fail(error, overrides=True)
        finally:
            with trio.CancelScope(shield=True):
                await self._finish()

    async def _read(self) -> None:
        if self._bearer is not None:
            await self._reader.execute(commands.Hello(token=self._bearer), greet=False)
        reader = self._reader
        deliver_to = getattr(self._transport, "deliver_to", None)
        if deliver_to is not None:
            deliver_to(reader.take)
        try:
            while (frame := reader.ahead.take() if reader.ahead else await reader.receive()) is not None:
                await reader.read(frame)
                del frame  # a message must not stay in memory until the client sends the next one
                if self._session.principal is None:
                    self._check_hello(trio.current_time())
        finally:
            if deliver_to is not None:
                deliver_to(None)  # no cycle: names in it would stay in memory

    async def _finish(self) -> None:
        if self.connection.ending in (CloseCode.GOING_AWAY, CloseCode.RESTARTING):
            with trio.move_on_after(IDLE_SECONDS):
                await self._session.wait_idle()
        self.connection.stop_writing()
        self._dispatcher.end_session(self._session)
        await self.connection.close()

    @property
    def waits_for_hello(self) -> bool:
        """Whether the client has not signed in and has sent no command that is being executed."""
        return self._session.principal is None and self._reader.waiting

    def check(self, now: float, every: float, *, crowded: bool = False) -> None:
        """End the connection where a deadline has passed, and ping the client where it is time to.

        It is called every `every` seconds. While it is `crowded` by clients that do not sign in, each of them has only
        `CROWDED_HELLO_SECONDS` for its `hello`. A client whose command is being executed is not pinged: it was heard
        when the command came. But no client may take longer to sign in than `limits.hello_seconds`.
        """
        self.connection.check_progress(now)
        limits = self._limits
        if self._session.principal is None:
            self._check_hello(now + max(0.0, limits.hello_seconds - CROWDED_HELLO_SECONDS) if crowded else now)
        elif self._reader.waiting:
            next_ping = max(self._pinged_at, self._session.signed_in_at) + limits.heartbeat_seconds
            if now + every <= next_ping:  # rather early than late
                return
            if self._transport.heard_at < self._pinged_at:
                self.connection.end(CloseCode.TIMEOUT, "The client did not answer pings.")
            else:
                self._pinged_at = now
                self._transport.ping()

    def _check_hello(self, now: float) -> None:
        if self._session.principal is None and now >= self._hello_deadline:
            self.connection.end(CloseCode.TIMEOUT, "The client sent no hello in time.")
