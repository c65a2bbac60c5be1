"""WebSocket connections: how messages are framed and written, and how a connection closes.

Reading is different for each library, and is the part of subclasses.
"""

from __future__ import annotations

import abc

import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping

from evanesce.delivery.frame import Frame, Outgoing
from evanesce.errors import INTERNAL_REASON, CloseCode
from evanesce.listening import StreamConnection
from evanesce.protocol import events

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


class WebSocketConnection(StreamConnection):
    """One client over WebSocket, after the handshake. A subclass reads from the client."""

    __slots__ = ()

    @property
    def framing(self) -> WebSocketFraming:
        """The framing, which is the same for every WebSocket connection."""
        return WEBSOCKET

    def ping(self) -> None:
        """Send a ping, unless the connection closes already."""
        if not (self.closing or self.ended):
            self.outbox.write_raw(_PING)

    async def close(self, code: int, reason: str, goodbye: Frame | None = None) -> None:
        """Send what waits, `goodbye` and a close frame with `code`, and close the socket after 2 s at most.

        The client has 1 s to answer the close frame. `goodbye` is sent even where the outbox is full. The method cannot
        be cancelled, therefore its time is limited. It may be called again, also by other tasks.
        """
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            self._send_close(code, reason, goodbye)
            await self.outbox.drained()
            with trio.move_on_after(ANSWER_SECONDS):
                await self._wait_for_end()
        self.release()

    def send_going_away(self) -> None:
        """Send, without waiting, a close frame that says that the server stops, unless a close frame was sent."""
        self._send_close(CloseCode.GOING_AWAY, "")

    @abc.abstractmethod
    async def _wait_for_end(self) -> None:
        """Discard input until the client sends a close frame or leaves."""

    def _send_close(self, code: int, reason: str, goodbye: Frame | None = None) -> None:
        if not self.closing:
            self.closing = True
            closing = bytes(Connection(ConnectionType.SERVER).send(CloseConnection(code=code, reason=reason)))
            # The outbox discards it where the client's close frame was answered before.
            self.outbox.finish(closing if goodbye is None else goodbye.wire(WEBSOCKET) + closing)

    async def _fail(self, code: CloseCode) -> None:
        """Close with `code` because the input is unusable, and discard further input while the code is being sent."""
        reason = _REASONS[code]
        goodbye = events.Goodbye(code=code.value, reason=reason, reconnect=code.reconnect)
        self._send_close(code, reason, Frame([Outgoing(goodbye)]))
        with trio.move_on_after(CLOSE_SECONDS):
            await self.outbox.drained()
            await self.client_stream.linger()
        self.ended = True
