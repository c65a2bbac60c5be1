"""The transport: reads the handshake of each client, accepts the client, and passes its connection to the server."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import cast

import trio
from trio_websocket import wrap_server_stream

from evanesce.delivery.outbox import Outbox
from evanesce.interfaces import Gateway, Setup
from evanesce.listening import Client, ClientStream, serve_connection
from evanesce_transports.admission import (
    PATH,
    admit_upgrade,
    asks_for_websocket,
    bearer_of,
    upgrade_required,
)
from evanesce_transports.limits import Share
from evanesce_transports.listener import HttpListener
from evanesce_transports.request import FREE_BYTES, Refused, Request, read_head
from evanesce_transports.response import encode_refusal, encode_server_options, parse_partial
from evanesce_transports.settings import HttpListenSettings
from evanesce_transports.trio_websocket.connection import LibraryConnection, LibraryStream
from evanesce_transports.websocket import WEBSOCKET

log = logging.getLogger(__name__)

ACCEPT_SECONDS = 5.0
"""How long the library may take for a handshake that was read and checked. It does not wait for the client."""

RECEIVE_BYTES = 2048
"""How much the library reads at once: it processes all frames in it, up to 340, before other clients get a turn."""

_HEADERS = [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]


class Settings(HttpListenSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[plugins.trio_websocket]`: the transport with WebSocket alone."""

    bind: str = "127.0.0.1:8001"


@dataclass(frozen=True, slots=True)
class AcceptedClient:
    """A client whose handshake is valid.

    `request` is the handshake in the form that the library gets, `rest` the bytes that came after the handshake.
    """

    client: Client
    bearer: str | None
    subprotocol: str | None
    request: bytes
    rest: bytes


class TrioWebSocketTransport:
    """WebSocket: an `evanesce.interfaces.Transport`. Raises `ConfigurationError` for wrong settings."""

    def __init__(self, setup: Setup) -> None:
        settings = setup.settings if isinstance(setup.settings, Settings) else Settings()
        self._listener = HttpListener(setup, settings)
        self._frame_bytes = setup.frame_bytes
        self._outbox_bytes = setup.outbox_bytes

    @property
    def binds(self) -> Sequence[str]:
        """The addresses to listen on."""
        return self._listener.binds

    @property
    def certificate_expires(self) -> float:
        """When the certificate expires, in seconds since 1970; infinite without one."""
        return self._listener.certificate_expires

    async def serve(
        self, gateway: Gateway, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen, and serve every client, until cancelled."""
        handler = ClientHandler(self._listener, gateway, frame_bytes=self._frame_bytes, outbox_bytes=self._outbox_bytes)
        await self._listener.run(gateway, "ws", handler.serve, task_status)


class ClientHandler:
    """Serves the clients that `listener` accepts, by `gateway`."""

    def __init__(self, listener: HttpListener, gateway: Gateway, *, frame_bytes: int, outbox_bytes: int) -> None:
        self._listener = listener
        self._gateway = gateway
        self._frame_bytes = frame_bytes
        self._outbox_bytes = outbox_bytes

    async def serve(self, client_stream: ClientStream) -> bytes:
        """Accept a client and serve its connection to the end; return the response to one that is not accepted."""
        head = bytearray(client_stream.receive_waiting(FREE_BYTES))
        share = self._listener.share()
        try:
            accepted = await self._read_handshake(client_stream, head, share)
        except Refused as refused:
            return encode_refusal(refused, _HEADERS, parse_partial(head))
        finally:
            share.release()
        if isinstance(accepted, bytes):
            return accepted
        del head  # otherwise kept for the whole life of the connection
        async with trio.open_nursery() as nursery:
            outbox = Outbox(
                nursery, client_stream.socket, WEBSOCKET, limit=self._outbox_bytes, stream=client_stream.tls
            )
            open_connection = functools.partial(
                _open_connection, client_stream, accepted, outbox, nursery, self._frame_bytes
            )
            connection = await self._listener.slots.run(
                open_connection, deadline=self._listener.deadline(client_stream)
            )
            token = accepted.bearer
            del accepted, open_connection  # otherwise kept for the whole life of the connection
            if connection is not None:
                await serve_connection(self._gateway, connection, token)
            nursery.cancel_scope.cancel()
        return b""

    async def _read_handshake(
        self, client_stream: ClientStream, head: bytearray, share: Share
    ) -> AcceptedClient | bytes:
        """Read a client's handshake into `head`, and check it; return the response to any other valid request.

        The response is empty where the client left or took too long. Raises `Refused`.
        """
        deadline = self._listener.deadline(client_stream)
        request = await read_head(client_stream.stream, head, share.reserve, deadline=deadline)
        if request is None:
            return b""
        client = self._listener.admit(self._gateway, client_stream, request)
        if request.path == b"*":
            return encode_server_options("GET, OPTIONS")
        if request.path == PATH.encode() and not asks_for_websocket(request):
            raise upgrade_required(request)
        subprotocol = admit_upgrade(self._gateway, request)
        return AcceptedClient(
            client=client,
            bearer=bearer_of(request),
            subprotocol=subprotocol,
            request=_encode_handshake(request, subprotocol),
            rest=request.rest,
        )


async def _open_connection(
    client_stream: ClientStream, accepted: AcceptedClient, outbox: Outbox, nursery: trio.Nursery, frame_bytes: int
) -> LibraryConnection:
    """Do the handshake by the library, and start its reader."""
    stream = LibraryStream(client_stream.stream, outbox, accepted.request, accepted.rest, frame_bytes)
    with trio.fail_after(ACCEPT_SECONDS):
        proposal = await wrap_server_stream(
            cast(trio.Nursery, _ReaderNursery(nursery)),  # the library uses only `start_soon`
            stream,
            receive_buffer_size=RECEIVE_BYTES,
            max_message_size=frame_bytes,  # in characters: never less than what `stream` accepts
        )
        library = await proposal.accept(subprotocol=accepted.subprotocol)
    stream.open()
    return LibraryConnection(client_stream, outbox, library, stream, client=accepted.client)


class _ReaderNursery:
    """The nursery for the library's reader. An error of the reader ends the input of this client, and nothing else."""

    __slots__ = ("_nursery",)

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def start_soon(self, reader: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(self._read, reader)

    async def _read(self, reader: Callable[[], Awaitable[None]]) -> None:
        try:
            await reader()
        except Exception:  # an error of the library; the session notices the end of the input
            log.exception("trio-websocket failed")


def _encode_handshake(request: Request, subprotocol: str | None) -> bytes:
    """Return a handshake with only what the library needs, because it keeps it as long as the connection exists."""
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
