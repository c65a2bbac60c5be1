"""The guarded WebSocket connection: RFC 6455 by wsproto, every size, wait and fault bounded here."""

from __future__ import annotations

import itertools

import trio
from wsproto.connection import Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from evanesce.errors import CloseCode
from evanesce.frame import Frame, Outgoing
from evanesce.outbox import Outbox
from evanesce.protocol import events
from evanesce_transports.framing import WEBSOCKET, WebSocketFraming
from evanesce_transports.quart.linger import linger

CLOSE_SECONDS = 2.0
"""How long the closing handshake may take, what waits to be sent included."""

_READ_BYTES = 16 * 1024
_EVENTS_AT_ONCE = 64  # pings, empty fragments: a flood of them must not keep the others waiting

_VIOLATIONS = {
    CloseCode.PROTOCOL_VIOLATION: "This is not RFC 6455.",
    CloseCode.NOT_UTF8: "Text is UTF-8.",
    CloseCode.TOO_LARGE: "The message is too large.",
}


class GuardedConnection:
    """One client over WebSocket, after the handshake: an `evanesce.interfaces.Connection`.

    `stream` is the socket's own or the TLS above it, `protocol` wsproto's side of it, and `message_bytes` the largest
    message that is taken. Whoever made it calls `release` in the end, whatever happens.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        socket: trio.socket.SocketType,
        protocol: Connection,
        outbox: Outbox,
        *,
        address: str,
        message_bytes: int,
    ) -> None:
        self._stream = stream
        self._socket = socket
        self._protocol = protocol
        self._outbox = outbox
        self._address = address
        self._message_bytes = message_bytes
        self._message = bytearray()  # what has come of a message
        self._reading = trio.Lock()  # `receive` and `close` may be at work in two tasks
        self._closing = False  # our close frame is on its way: no message counts any more
        self._ended = False  # nothing more will come
        self._heard_at = trio.current_time()

    @property
    def address(self) -> str:
        """Where the client is."""
        return self._address

    @property
    def framing(self) -> WebSocketFraming:
        """How frames look: the same for every WebSocket connection."""
        return WEBSOCKET

    @property
    def heard_at(self) -> float:
        """When any bytes last came from the client."""
        return self._heard_at

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
        if self._protocol.state is ConnectionState.OPEN and not self._closing:
            self._outbox.write_raw(self._protocol.send(Ping()))

    async def receive(self) -> str | bytes | None:
        """Wait for the next message; None when the client closed, left, or broke RFC 6455 or the size."""
        async with self._reading:  # a checkpoint in any case: one busy client does not keep the others waiting
            return await self._next_message()

    async def close(self, code: int, reason: str) -> None:
        """Close with `code`, after what waits as far as the client takes it, within 2 s; then let go of the socket.

        Not to be interrupted, and therefore bounded. May be called again, by other tasks too.
        """
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            self._say_close(code, reason)
            await self._outbox.drained()
            async with self._reading:
                await self._wait_for_end()
        self.release()

    def release(self) -> None:
        """Let go of the socket at once."""
        self._ended = True
        if self._outbox.waiting_bytes:
            self._outbox.abort()
        else:
            self._outbox.discard()
            self._socket.close()

    def go_away(self) -> None:
        """Say, without waiting, that the server goes away; for a connection that nobody closed in time."""
        self._say_close(CloseCode.GOING_AWAY, "")

    def _say_close(self, code: int, reason: str) -> None:
        if self._closing:
            return
        self._closing = True
        if self._protocol.state is ConnectionState.OPEN:
            self._outbox.finish(self._protocol.send(CloseConnection(code=code, reason=reason)))

    async def _next_message(self) -> str | bytes | None:
        for count in itertools.count(1):
            if count % _EVENTS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            if self._closing or self._ended:
                return None
            event = next(self._protocol.events(), None)
            if event is None:
                await self._feed()
            elif isinstance(event, TextMessage | BytesMessage):
                self._message += event.data.encode() if isinstance(event, TextMessage) else event.data
                if len(self._message) > self._message_bytes:
                    await self._fail(CloseCode.TOO_LARGE)
                elif event.message_finished:
                    message, self._message = self._message, bytearray()
                    return message.decode() if isinstance(event, TextMessage) else bytes(message)
            elif isinstance(event, Ping):
                self._outbox.write_raw(self._protocol.send(event.response()))  # where there is room: a flood ends here
            elif isinstance(event, CloseConnection):
                if self._protocol.state is ConnectionState.REMOTE_CLOSING:
                    self._outbox.finish(self._protocol.send(event.response()))
                    self._ended = True
                else:  # wsproto's word for what it could not parse
                    await self._fail(CloseCode(event.code))
        raise AssertionError("unreachable: count() does not end")

    async def _fail(self, code: CloseCode) -> None:
        """Close with `code` for a violation, and throw away what else comes, for as long as the code may need."""
        self._message = bytearray()
        reason = _VIOLATIONS[code]
        goodbye = events.Goodbye(code=code.value, reason=reason, reconnect=code.reconnect)
        self._outbox.write(Frame([Outgoing(goodbye)]))  # where there is room: the close frame says it too
        self._say_close(code, reason)
        with trio.move_on_after(CLOSE_SECONDS):
            await self._outbox.drained()
            await linger(self._stream, self._socket)
        self._ended = True

    async def _wait_for_end(self) -> None:
        """Throw away what comes, up to the client's close frame or its leaving."""
        while not self._ended:
            event = next(self._protocol.events(), None)
            if event is None:
                await self._feed()
            elif isinstance(event, CloseConnection):
                self._ended = True
            else:
                await trio.lowlevel.checkpoint()

    async def _feed(self) -> None:
        try:
            data = await self._stream.receive_some(_READ_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if data:
            self._heard_at = trio.current_time()
            self._protocol.receive_data(bytes(data))
        else:
            self._ended = True
