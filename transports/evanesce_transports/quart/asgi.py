"""Requests passed to the application by ASGI: HTTP through Hypercorn, and the handshake of a WebSocket.

Neither of them reads from the network or waits for it. Hypercorn gets an HTTP request that was read completely, and its
response is kept until it is complete. So each connection has one request, and Hypercorn needs no timeout.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    ConnectionState,
    WebsocketScope,
)
from quart.asgi import ASGIWebsocketConnection

from evanesce.listening import Client
from evanesce_transports.admission import check_handshake, encode_acceptance
from evanesce_transports.request import Request
from evanesce_transports.response import encode_response

log = logging.getLogger(__name__)

CLIENT = "evanesce.client"
"""The key of the `Client` in `scope["state"]`."""

# Headers of the connection, not of the request (RFC 9110, section 7.6.1), or with which Hypercorn would leave HTTP/1.1.
_CONNECTION_HEADERS = frozenset({b"connection", b"keep-alive", b"upgrade", b"http2-settings", b"te", b"expect"})


class _HTTPStream:
    """Replaces the client's stream for Hypercorn: provides the request, and keeps the response."""

    def __init__(self, socket: trio.socket.SocketType, request: bytes) -> None:
        self.socket = socket
        self.response = bytearray()
        self._request = request
        self._closed = trio.Event()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._request:
            request, self._request = self._request, b""
            return request
        await self._closed.wait()
        raise trio.ClosedResourceError

    async def send_all(self, data: bytes) -> None:
        self.response += data

    async def send_eof(self) -> None:
        self._closed.set()

    async def aclose(self) -> None:
        self._closed.set()


async def request_http(
    application: ASGIFramework, request: Request, body: bytes, socket: trio.socket.SocketType, client: Client
) -> bytes:
    """Return the bytes of the application's response to `request`."""
    stream: Any = _HTTPStream(socket, _encode_request(request, body))  # has all that Hypercorn uses of its own class
    await TCPServer(ASGIWrapper(application), _config(), WorkerContext(None), {CLIENT: client}, stream).run()
    return bytes(stream.response)


@functools.cache
def _config() -> Config:
    config = Config()
    config.errorlog = log
    config.include_server_header = False
    return config


def _encode_request(request: Request, body: bytes) -> bytes:
    """Return the bytes of a request as HTTP/1.1, so that Hypercorn reads only what was checked, and one request."""
    headers = [(name, value) for name, value in request.head.headers if name not in _CONNECTION_HEADERS]
    if not request.values(b"host"):  # HTTP/1.0 does not need one
        headers.append((b"host", b""))
    head = h11.Request(
        method=request.head.method, target=request.head.target, headers=[*headers, (b"connection", b"close")]
    )
    client = h11.Connection(h11.CLIENT)
    parts = [client.send(head), client.send(h11.Data(data=body)), client.send(h11.EndOfMessage())]
    return b"".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A WebSocket connection that the application accepted.

    `response` has to be sent first. `rest` are the bytes that came after the handshake.
    """

    response: bytes
    rest: bytes


async def request_websocket(application: ASGIFramework, request: Request, client: Client) -> Accepted | bytes:
    """Return the accepted connection, or the response where the application rejects it. Raises `Refused`.

    The application's route only accepts or rejects. It returns before the first message, so that none of its objects
    (two tasks, a dozen others, three copies of the headers) live as long as the connection.
    """
    offered = check_handshake(request)
    websocket = ASGIWebSocket(request)
    try:
        await application(_websocket_scope(request, offered, client), websocket.receive, websocket.send)
    except* Exception:  # an error of one client must not affect others
        log.exception("the WebSocket route failed")
        websocket = ASGIWebSocket(request, status=500)
    return websocket.accepted or websocket.rejection()


class HandshakeOnly(ASGIWebsocketConnection):
    """Calls the application's WebSocket route in the task of the caller.

    Quart-Trio's own class starts two tasks for each connection, one of which puts messages into a channel. The route
    needs none of them: it ends before the first message. They were a tenth of what a connection cost.
    """

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Call the route, and pass its answer to `send`."""
        await self.handle_websocket(self._create_websocket_from_scope(send), send)


class ASGIWebSocket:
    """The server's side of ASGI's WebSocket protocol, as far as the handshake. `accepted` is its result.

    Without another response of the application, a rejection has `status`.
    """

    def __init__(self, request: Request, status: int = 403) -> None:
        self._request = request
        self._status = status
        self._headers: Iterable[tuple[bytes, bytes]] = ()
        self._body = b""
        self.accepted: Accepted | None = None

    async def receive(self) -> ASGIReceiveEvent:
        """Wait until cancelled: the application gets no messages."""
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    async def send(self, message: ASGISendEvent) -> None:
        """Take an event of the application. Raises `RuntimeError` for one that does not belong to a handshake."""
        if message["type"] == "websocket.accept":
            response = encode_acceptance(self._request, message["subprotocol"])
            self.accepted = Accepted(response, self._request.rest)
        elif message["type"] == "websocket.close":
            pass  # the route has returned: it is done after accepting, and before that it rejects
        elif message["type"] == "websocket.http.response.start":
            self._status, self._headers = message["status"], message["headers"]
        elif message["type"] == "websocket.http.response.body":
            self._body += message["body"]
        else:
            raise RuntimeError(f"a WebSocket application sent {message['type']}")

    def rejection(self) -> bytes:
        """Return the bytes of the response with which the application rejected the connection."""
        own = (b"content-length", b"connection")  # `encode_response` adds them
        return encode_response(
            self._status, [(name, value) for name, value in self._headers if name.lower() not in own], self._body
        )


def _websocket_scope(request: Request, offered: list[str], client: Client) -> WebsocketScope:
    path, _, query = request.head.target.partition(b"?")
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": list(request.head.headers),
        "client": (client.address, 0),
        "server": None,
        "subprotocols": offered,
        "state": ConnectionState({CLIENT: client}),
        "extensions": {"websocket.http.response": {}},
    }
