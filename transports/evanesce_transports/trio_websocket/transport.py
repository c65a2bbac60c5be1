"""The transport: reads each client's request, lets the client in, and gives its connection to the server."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import cast

import trio
from trio_websocket import wrap_server_stream

from evanesce.errors import CommandError, ErrorCode
from evanesce.interfaces import Gateway, Setup
from evanesce.outbox import Outbox
from evanesce_transports.admission import PATH, admit, bearer_of
from evanesce_transports.answers import refusal
from evanesce_transports.framing import WEBSOCKET
from evanesce_transports.guarded import converse
from evanesce_transports.handshake import asks_for_websocket, shake
from evanesce_transports.listening import Arrival, Listener
from evanesce_transports.request import Incoming, Refused, read_head
from evanesce_transports.trio_websocket.connection import LibraryConnection
from evanesce_transports.trio_websocket.settings import Settings
from evanesce_transports.trio_websocket.wire import Wire

log = logging.getLogger(__name__)

ACCEPT_SECONDS = 5.0
"""How long the library may take with a handshake that was read and checked; it has nobody to wait for."""

_HEADERS = [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]


@dataclass(frozen=True, slots=True)
class _Guest:
    """A client that may come in. `request` is its handshake as the library is given it, `rest` what came behind it."""

    address: str
    bearer: str | None
    subprotocol: str | None
    request: bytes
    rest: bytes


class TrioWebSocketTransport:
    """WebSocket: an `evanesce.interfaces.Transport`. Raises `ConfigurationError` for wrong settings."""

    def __init__(self, setup: Setup) -> None:
        settings = setup.settings if isinstance(setup.settings, Settings) else Settings()
        self._listener = Listener(setup, settings)
        self._frame_bytes = setup.frame_bytes
        self._outbox_bytes = setup.outbox_bytes

    @property
    def binds(self) -> Sequence[str]:
        """Where it is going to listen."""
        return self._listener.binds

    async def serve(
        self, gateway: Gateway, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen, and serve every client, until cancelled."""
        await self._listener.run(gateway, "ws", functools.partial(self._serve_client, gateway), task_status)

    async def _serve_client(self, gateway: Gateway, arrival: Arrival) -> bytes:
        """Let a client in, and give its connection to the server; give the answer to one that may not come in."""
        try:
            guest = await self._receive(arrival, gateway)
        except Refused as refused:
            return refusal(refused, _HEADERS)
        if guest is None:
            return b""
        async with trio.open_nursery() as nursery:
            connection = await self._accept(arrival, guest, nursery)
            token = guest.bearer
            del guest  # not kept for as long as the conversation lasts
            await converse(gateway, connection, token)
            nursery.cancel_scope.cancel()
        return b""

    async def _receive(self, arrival: Arrival, gateway: Gateway) -> _Guest | None:
        """Read a client's handshake, and let it in; None where it left or took too long. Raises `Refused`."""
        request = await read_head(arrival.stream, bytearray())
        if request is None:
            return None
        if request.head.target.partition(b"?")[0] != PATH.encode():
            raise Refused(404, CommandError(ErrorCode.UNKNOWN_TYPE, "There is nothing at this address."))
        if not asks_for_websocket(request):
            raise Refused(426, "This server speaks WebSocket, and nothing else, at this address.")
        _, asked = shake(request)
        origins = [value.decode("ascii") for value in request.values(b"origin")]
        subprotocol = admit(gateway, origins=origins, offered=asked.subprotocols)
        return _Guest(
            address=self._listener.client_of(arrival, request).address,
            bearer=bearer_of(request),
            subprotocol=subprotocol,
            request=_written(request, subprotocol),
            rest=request.rest,
        )

    async def _accept(self, arrival: Arrival, guest: _Guest, nursery: trio.Nursery) -> LibraryConnection:
        """Let the library shake hands, and start its reader."""
        outbox = Outbox(nursery, arrival.socket, WEBSOCKET, limit=self._outbox_bytes, stream=arrival.tls)
        wire = Wire(arrival.stream, outbox, guest.request, guest.rest, self._frame_bytes)
        with trio.fail_after(ACCEPT_SECONDS):
            proposal = await wrap_server_stream(
                cast(trio.Nursery, _ReaderNursery(nursery)),  # it asks for no more than this one can
                wire,
                max_message_size=self._frame_bytes,  # in characters: never less than what `wire` lets through
            )
            library = await proposal.accept(subprotocol=guest.subprotocol)
        wire.open()
        return LibraryConnection(arrival, outbox, library, wire, address=guest.address)


class _ReaderNursery:
    """What the library starts its reader in: a fault of it ends what comes from this client, and nothing else."""

    __slots__ = ("_nursery",)

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def start_soon(self, reader: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(self._read, reader)

    async def _read(self, reader: Callable[[], Awaitable[None]]) -> None:
        try:
            await reader()
        except Exception:  # the border around a library; the session finds that nothing more comes
            log.exception("trio-websocket failed")


def _written(request: Incoming, subprotocol: str | None) -> bytes:
    """Write a handshake anew: no more than the library needs, because it keeps it as long as the connection lasts."""
    lines = [
        b"GET %s HTTP/1.1" % PATH.encode(),
        b"host: x",
        b"connection: upgrade",
        b"upgrade: websocket",
        b"sec-websocket-version: 13",
        b"sec-websocket-key: " + request.values(b"sec-websocket-key")[0],
    ]
    if subprotocol is not None:
        lines.append(b"sec-websocket-protocol: " + subprotocol.encode())
    return b"\r\n".join([*lines, b"", b""])
