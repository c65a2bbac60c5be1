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
from evanesce_transports.quart.plain import PlainReader

_READ_BYTES = 16 * 1024
_EVENTS_AT_ONCE = 64  # pings, empty fragments: a flood of them must not keep the others waiting


# What came together is given together, so that it goes to the store as one group: with a turn of the scheduler between
# two messages the first goes alone, and has everybody told of it alone. Still one busy client must not keep the others
# waiting: this many take about a millisecond.
_MESSAGES_AT_ONCE = 32


class WsprotoConnection(GuardedConnection):
    """A connection of which `protocol` is wsproto's side, and `message_bytes` the largest message that is taken.

    `rest` is what came right behind the handshake.
    """

    __slots__ = (
        "_heard_at",
        "_in_turn",
        "_library_has",
        "_message",
        "_message_bytes",
        "_plain",
        "_protocol",
        "_reading",
    )

    def __init__(
        self,
        arrival: Arrival,
        outbox: Outbox,
        protocol: Connection,
        *,
        address: str,
        message_bytes: int,
        rest: bytes = b"",
    ) -> None:
        super().__init__(arrival, outbox, address=address)
        self._protocol = protocol
        self._message_bytes = message_bytes
        self._message = bytearray()  # what has come of a message that is not plain
        self._plain = PlainReader(message_bytes)
        self._plain.receive(rest)
        self._library_has = False  # wsproto was given something, and may have more to say of it
        self._in_turn = 0  # how many messages were given without a checkpoint
        self._reading = trio.Lock()  # `receive` and `close` may be at work in two tasks
        self._heard_at = trio.current_time()

    @property
    def heard_at(self) -> float:
        """When any bytes last came from the client."""
        return self._heard_at

    async def receive(self) -> str | bytes | None:
        """Wait for the next message; None when the client closed, left, or broke RFC 6455 or the size."""
        if not (self._library_has or self._closing or self._ended):
            message = self._plain.message()
            if message is not None:
                self._in_turn += 1
                if self._in_turn == _MESSAGES_AT_ONCE:
                    self._in_turn = 0
                    await trio.lowlevel.checkpoint()
                return message
        self._in_turn = 0
        async with self._reading:
            return await self._next_message()

    async def _next_message(self) -> str | bytes | None:
        for count in itertools.count(1):
            if count % _EVENTS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            if self._closing or self._ended:
                return None
            if not self._library_has:
                message = self._plain.message()
                if message is not None:
                    return message
                if not self._pass_on(self._plain.rest()):
                    await self._feed()
                    continue
            event = next(self._protocol.events(), None)
            if event is None:
                self._library_has = False
            elif isinstance(event, TextMessage | BytesMessage):
                self._message += event.data.encode() if isinstance(event, TextMessage) else event.data
                if len(self._message) > self._message_bytes:
                    await self._break_off(CloseCode.TOO_LARGE)
                elif event.message_finished:
                    whole, self._message = self._message, bytearray()
                    return whole.decode() if isinstance(event, TextMessage) else bytes(whole)
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
            self._pass_on(self._plain.give_up())
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
            if self._plain.over:
                self._pass_on(bytes(data))
            else:
                self._plain.receive(bytes(data))
        else:
            self._ended = True

    def _pass_on(self, data: bytes) -> bool:
        """Give wsproto what it has to read; False where that is nothing."""
        if data:
            self._protocol.receive_data(data)
            self._library_has = True
        return self._library_has
