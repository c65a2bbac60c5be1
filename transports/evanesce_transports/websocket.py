"""WebSocket connections: how messages are framed and written, and how a connection closes.

Reading is different for each library, and is the part of subclasses.
"""

from __future__ import annotations

import abc
import logging

import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping

from evanesce.delivery.frame import Frame, Outgoing
from evanesce.delivery.outbox import Outbox
from evanesce.errors import INTERNAL_REASON, CloseCode
from evanesce.interfaces import Gateway
from evanesce.protocol import events
from evanesce_transports.client import Client, ClientStream

log = logging.getLogger(__name__)

_TEXT = 0x81  # final, no extension, text
_LARGEST_SHORT = 125
_LARGEST_16_BITS = 0xFFFF

CLOSE_SECONDS = 2.0
"""How long the closing handshake may take, including the data that waits to be sent."""

ANSWER_SECONDS = 1.0
"""How much of that time a client may take to answer the close frame."""

_PING = bytes(Connection(ConnectionType.SERVER).send(Ping()))

_REASONS = {
    CloseCode.PROTOCOL_VIOLATION: "This is not valid WebSocket data (RFC 6455).",
    CloseCode.NOT_UTF8: "Text has to be UTF-8.",
    CloseCode.TOO_LARGE: "The message is too large.",
    CloseCode.INTERNAL: INTERNAL_REASON,
}


class WebSocketFraming:
    """Makes one unfragmented text message (RFC 6455, section 5.2), without a mask and without compression.

    So its bytes are the same for every client. A message may be uncompressed even where permessage-deflate was
    negotiated (RFC 7692, section 6). wsproto makes the same bytes, but took a tenth of the server's time in small
    rooms.
    """

    def frame(self, payload: bytes) -> bytes:
        """Return the frame with `payload`, UTF-8 text."""
        size = len(payload)
        if size <= _LARGEST_SHORT:
            return bytes((_TEXT, size)) + payload
        if size <= _LARGEST_16_BITS:
            return b"\x81\x7e" + size.to_bytes(2, "big") + payload
        return b"\x81\x7f" + size.to_bytes(8, "big") + payload


WEBSOCKET = WebSocketFraming()
"""The framing of all WebSocket connections: one object, so that a message is framed once for all of them."""


class WebSocketConnection(abc.ABC):
    """One client over WebSocket, after the handshake: an `evanesce.interfaces.Connection`.

    A subclass reads from the client. The creator passes it to `serve_connection`, or calls `release` in the end.
    """

    __slots__ = ("_client", "_client_stream", "_closing", "_ended", "_outbox")

    def __init__(self, client_stream: ClientStream, outbox: Outbox, *, client: Client) -> None:
        self._client_stream = client_stream
        self._outbox = outbox
        self._client = client
        self._closing = False  # our close frame was sent: messages are ignored
        self._ended = False  # the client will send nothing more

    @property
    def address(self) -> str:
        """The address of the client."""
        return self._client.address

    @property
    def local(self) -> bool:
        """Whether the client is on this machine."""
        return self._client.local

    @property
    def connected_at(self) -> float:
        """When the client connected, in seconds of Trio's clock."""
        return self._client_stream.connected_at

    @property
    def framing(self) -> WebSocketFraming:
        """The framing, which is the same for every WebSocket connection."""
        return WEBSOCKET

    @property
    @abc.abstractmethod
    def heard_at(self) -> float:
        """When the client last sent any bytes, in seconds of Trio's clock."""

    @property
    def outbox(self) -> Outbox:
        """Where all data goes out."""
        return self._outbox

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait to be sent."""
        return self._outbox.waiting_bytes

    @property
    def unacknowledged_bytes(self) -> int:
        """How many bytes the kernel has taken that the client has not acknowledged."""
        return self._outbox.unacknowledged_bytes

    @property
    def skipped(self) -> int:
        """How many messages expired before they could be sent."""
        return self._outbox.skipped

    def write(self, frame: Frame) -> bool:
        """Send `frame`, and return True; False where the outbox is full."""
        return self._outbox.write(frame)

    def ping(self) -> None:
        """Send a ping, unless the connection closes already."""
        if not (self._closing or self._ended):
            self._outbox.write_raw(_PING)

    @abc.abstractmethod
    async def receive(self) -> str | bytes | None:
        """Wait for the next message; None when the client closed or left, or its data is invalid or too large."""

    async def close(self, code: int, reason: str, goodbye: Frame | None = None) -> None:
        """Send what waits, `goodbye` and a close frame with `code`, and close the socket after 2 s at most.

        The client has 1 s to answer the close frame. `goodbye` is sent even where the outbox is full. The method cannot
        be cancelled, therefore its time is limited. It may be called again, also by other tasks.
        """
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            self._send_close(code, reason, goodbye)
            await self._outbox.drained()
            with trio.move_on_after(ANSWER_SECONDS):
                await self._wait_for_end()
        self.release()

    def release(self) -> None:
        """Close the socket at once."""
        self._ended = True
        if self._outbox.waiting_bytes:
            self._outbox.abort()
        else:
            self._outbox.discard()
            self._client_stream.socket.close()

    def send_going_away(self) -> None:
        """Send, without waiting, a close frame that says that the server stops, unless a close frame was sent."""
        self._send_close(CloseCode.GOING_AWAY, "")

    @abc.abstractmethod
    async def _wait_for_end(self) -> None:
        """Discard input until the client sends a close frame or leaves."""

    def _send_close(self, code: int, reason: str, goodbye: Frame | None = None) -> None:
        if not self._closing:
            self._closing = True
            closing = bytes(Connection(ConnectionType.SERVER).send(CloseConnection(code=code, reason=reason)))
            # The outbox discards it where the client's close frame was answered before.
            self._outbox.finish(closing if goodbye is None else goodbye.wire(WEBSOCKET) + closing)

    async def _fail(self, code: CloseCode) -> None:
        """Close with `code` because the input is unusable, and discard further input while the code is being sent."""
        reason = _REASONS[code]
        goodbye = events.Goodbye(code=code.value, reason=reason, reconnect=code.reconnect)
        self._send_close(code, reason, Frame([Outgoing(goodbye)]))
        with trio.move_on_after(CLOSE_SECONDS):
            await self._outbox.drained()
            await self._client_stream.linger()
        self._ended = True


async def serve_connection(gateway: Gateway, connection: WebSocketConnection, bearer: str | None) -> None:
    """Pass a connection to the server, and close its socket in the end, even after an error."""
    try:
        await gateway.serve(connection, bearer=bearer, connected_at=connection.connected_at)
    except Exception:  # an error of one connection must not end others
        log.exception("serving a connection failed")
        await connection.close(CloseCode.INTERNAL, "")
    finally:
        connection.send_going_away()
        connection.release()
