"""The guarded WebSocket connection that wsproto reads: every size and wait is bounded here."""

from __future__ import annotations

import itertools

import trio
from wsproto.connection import Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from evanesce.errors import CloseCode
from evanesce.outbox import Outbox
from evanesce_transports.guarded import GuardedConnection
from evanesce_transports.listening import Arrival

_READ_BYTES = 16 * 1024
_EVENTS_AT_ONCE = 64  # pings, empty fragments: a flood of them must not keep the others waiting


class WsprotoConnection(GuardedConnection):
    """A connection of which `protocol` is wsproto's side, and `message_bytes` the largest message that is taken."""

    __slots__ = ("_heard_at", "_message", "_message_bytes", "_protocol", "_reading")

    def __init__(
        self, arrival: Arrival, outbox: Outbox, protocol: Connection, *, address: str, message_bytes: int
    ) -> None:
        super().__init__(arrival, outbox, address=address)
        self._protocol = protocol
        self._message_bytes = message_bytes
        self._message = bytearray()  # what has come of a message
        self._reading = trio.Lock()  # `receive` and `close` may be at work in two tasks
        self._heard_at = trio.current_time()

    @property
    def heard_at(self) -> float:
        """When any bytes last came from the client."""
        return self._heard_at

    async def receive(self) -> str | bytes | None:
        """Wait for the next message; None when the client closed, left, or broke RFC 6455 or the size."""
        async with self._reading:  # a checkpoint in any case: one busy client does not keep the others waiting
            return await self._next_message()

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
                    await self._break_off(CloseCode.TOO_LARGE)
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
                    await self._break_off(CloseCode(event.code))
        raise AssertionError("unreachable: count() does not end")

    async def _break_off(self, code: CloseCode) -> None:
        self._message = bytearray()
        await self._fail(code)

    async def _wait_for_end(self) -> None:
        """Throw away what comes, up to the client's close frame or its leaving."""
        async with self._reading:
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
            data = await self._arrival.stream.receive_some(_READ_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if data:
            self._heard_at = trio.current_time()
            self._protocol.receive_data(bytes(data))
        else:
            self._ended = True
