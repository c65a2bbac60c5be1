"""HTTP requests passed to the application by ASGI, through Hypercorn.

It does not read from the network or wait for it: it gets a request that was read completely, and its response is kept
until it is complete. So each connection has one request, and Hypercorn needs no timeout.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework

from evanesce.listening import Client
from evanesce_transports.request import Request

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
