"""The guarded WebSocket connection that trio-websocket reads."""

from __future__ import annotations

import contextlib

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from evanesce.errors import CloseCode
from evanesce.outbox import Outbox
from evanesce_transports.guarded import GuardedConnection
from evanesce_transports.linger import linger
from evanesce_transports.listening import Arrival
from evanesce_transports.trio_websocket.wire import Wire

_FOUND = (CloseCode.PROTOCOL_VIOLATION, CloseCode.NOT_UTF8)


class LibraryConnection(GuardedConnection):
    """A connection of which `library` is trio-websocket's side, and `wire` what it reads from and writes to.

    The library is never told that the server closes: it would fail on a ping that comes after that
    (python-trio/trio-websocket#184). It reads on, and its answers disappear in the outbox.
    """

    __slots__ = ("_library", "_wire")

    def __init__(
        self, arrival: Arrival, outbox: Outbox, library: WebSocketConnection, wire: Wire, *, address: str
    ) -> None:
        super().__init__(arrival, outbox, address=address)
        self._library = library
        self._wire = wire

    @property
    def heard_at(self) -> float:
        """When any bytes last came from the client."""
        return self._wire.heard_at

    async def receive(self) -> str | bytes | None:
        """Wait for the next message; None when the client closed, left, or broke RFC 6455 or the size."""
        if self._closing or self._ended:
            await trio.lowlevel.checkpoint()
            return None
        try:
            message = await self._library.get_message()
        except ConnectionClosed as closed:
            await self._find_out(closed)
            return None
        return None if self._closing else message

    async def _find_out(self, closed: ConnectionClosed) -> None:
        """Find out why the library has ended, and say so to a client that may not know."""
        if self._closing or self._wire.answered:
            self._ended = True
        elif self._wire.too_large:
            await self._fail(CloseCode.TOO_LARGE)
        elif closed.reason is None:
            await self._fail(CloseCode.FAULT)  # the library's own
        elif closed.reason.code in _FOUND:
            # It found a violation, and would have hung up without a word (RFC 6455, section 7.1.7).
            await self._fail(CloseCode(closed.reason.code))
        self._ended = True

    async def _wait_for_end(self) -> None:
        """Throw away what comes, up to the client's close frame or its leaving."""
        with contextlib.suppress(ConnectionClosed):
            while not self._ended:
                await self._library.get_message()
        if not (self._ended or self._wire.answered):
            # The library reads no more, and the client may go on: as a reset would, unread input takes our code away.
            with contextlib.suppress(trio.BusyResourceError):  # `receive` is at it in another task
                await linger(self._arrival.stream, self._arrival.socket)
        self._ended = True
