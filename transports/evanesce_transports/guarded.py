"""The guarded WebSocket connection: what is written and how it ends, the same for every library that reads it."""

from __future__ import annotations

import abc
import logging

import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping

from evanesce.errors import CloseCode
from evanesce.frame import Frame, Outgoing
from evanesce.interfaces import Gateway
from evanesce.outbox import Outbox
from evanesce.protocol import events
from evanesce_transports.framing import WEBSOCKET, WebSocketFraming
from evanesce_transports.linger import linger
from evanesce_transports.listening import Arrival

log = logging.getLogger(__name__)

CLOSE_SECONDS = 2.0
"""How long the closing handshake may take, what waits to be sent included."""

_PING = bytes(Connection(ConnectionType.SERVER).send(Ping()))

_REASONS = {
    CloseCode.PROTOCOL_VIOLATION: "This is not RFC 6455.",
    CloseCode.NOT_UTF8: "Text is UTF-8.",
    CloseCode.TOO_LARGE: "The message is too large.",
    CloseCode.FAULT: "A fault in the server ended this connection. Come back in a moment.",
}


class GuardedConnection(abc.ABC):
    """One client over WebSocket, after the handshake: an `evanesce.interfaces.Connection`.

    How it is read is a subclass's. Whoever made it calls `converse`, or `release` in the end, whatever happens.
    """

    __slots__ = ("_address", "_arrival", "_closing", "_ended", "_outbox")

    def __init__(self, arrival: Arrival, outbox: Outbox, *, address: str) -> None:
        self._arrival = arrival
        self._outbox = outbox
        self._address = address
        self._closing = False  # our close frame is on its way: no message counts any more
        self._ended = False  # nothing more will come

    @property
    def address(self) -> str:
        """Where the client is."""
        return self._address

    @property
    def framing(self) -> WebSocketFraming:
        """How frames look: the same for every WebSocket connection."""
        return WEBSOCKET

    @property
    @abc.abstractmethod
    def heard_at(self) -> float:
        """When any bytes last came from the client."""

    @property
    def waiting_bytes(self) -> int:
        """How much waits to be sent."""
        return self._outbox.waiting_bytes

    @property
    def skipped(self) -> int:
        """How many messages expired before the network took them."""
        return self._outbox.skipped

    def write(self, frame: Frame) -> bool:
        """Send `frame`; False where the outbox is full."""
        return self._outbox.write(frame)

    def ping(self) -> None:
        """Send a ping, where nothing closes yet."""
        if not (self._closing or self._ended):
            self._outbox.write_raw(_PING)

    @abc.abstractmethod
    async def receive(self) -> str | bytes | None:
        """Wait for the next message; None when the client closed, left, or broke RFC 6455 or the size."""

    async def close(self, code: int, reason: str, goodbye: Frame | None = None) -> None:
        """Close with `code`, after what waits as far as the client takes it, within 2 s; then let go of the socket.

        The last that it is told is `goodbye`, even where the outbox is full. Not to be interrupted, and therefore
        bounded. May be called again, by other tasks too.
        """
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            self._say_close(code, reason, goodbye)
            await self._outbox.drained()
            await self._wait_for_end()
        self.release()

    def release(self) -> None:
        """Let go of the socket at once."""
        self._ended = True
        if self._outbox.waiting_bytes:
            self._outbox.abort()
        else:
            self._outbox.discard()
            self._arrival.socket.close()

    def go_away(self) -> None:
        """Say, without waiting, that the server goes away; for a connection that nobody closed in time."""
        self._say_close(CloseCode.GOING_AWAY, "")

    @abc.abstractmethod
    async def _wait_for_end(self) -> None:
        """Throw away what comes, up to the client's close frame or its leaving."""

    def _say_close(self, code: int, reason: str, goodbye: Frame | None = None) -> None:
        if not self._closing:
            self._closing = True
            closing = bytes(Connection(ConnectionType.SERVER).send(CloseConnection(code=code, reason=reason)))
            # It disappears where the client's own close frame was answered.
            self._outbox.finish(closing if goodbye is None else goodbye.wire(WEBSOCKET) + closing)

    async def _fail(self, code: CloseCode) -> None:
        """Close with `code` what cannot be read on, and throw away what else comes while the code may be on its way."""
        reason = _REASONS[code]
        goodbye = events.Goodbye(code=code.value, reason=reason, reconnect=code.reconnect)
        self._say_close(code, reason, Frame([Outgoing(goodbye)]))
        with trio.move_on_after(CLOSE_SECONDS):
            await self._outbox.drained()
            await linger(self._arrival.stream, self._arrival.socket)
        self._ended = True


async def converse(gateway: Gateway, connection: GuardedConnection, bearer: str | None) -> None:
    """Give a connection to the server, and let go of it in the end, whatever happened."""
    try:
        await gateway.serve(connection, bearer=bearer)
    except Exception:  # the border of one connection: its fault ends it alone
        log.exception("a conversation failed")
        await connection.close(CloseCode.FAULT, "")
    finally:
        connection.go_away()
        connection.release()
