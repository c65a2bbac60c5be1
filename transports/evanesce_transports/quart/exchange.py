"""One HTTP request through Hypercorn: it was read whole before, and its response is kept whole until it is made.

So Hypercorn never reads from nor waits for the network: one request to a connection, no time limit of its own needed.
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

from evanesce_transports.request import Incoming

log = logging.getLogger(__name__)

# Of the connection and not of the request (RFC 9110, section 7.6.1), or what Hypercorn would leave HTTP/1.1 for.
_OF_THE_CONNECTION = frozenset({b"connection", b"keep-alive", b"upgrade", b"http2-settings", b"te", b"expect"})


class _Exchange:
    """What Hypercorn takes for the client's stream: gives it the request, keeps its response."""

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


async def exchange(
    application: ASGIFramework, request: Incoming, body: bytes, socket: trio.socket.SocketType, state: dict[str, Any]
) -> bytes:
    """Give the application's response to `request`, as bytes for the wire; `state` becomes `scope["state"]`."""
    stream: Any = _Exchange(socket, _written(request, body))  # not of the class that Hypercorn names, but of its shape
    await TCPServer(ASGIWrapper(application), _config(), WorkerContext(None), state, stream).run()
    return bytes(stream.response)


@functools.cache
def _config() -> Config:
    config = Config()
    config.errorlog = log
    config.include_server_header = False
    return config


def _written(request: Incoming, body: bytes) -> bytes:
    """Write a request anew, so that Hypercorn reads what was checked and no second one."""
    headers = [(name, value) for name, value in request.head.headers if name not in _OF_THE_CONNECTION]
    head = h11.Request(
        method=request.head.method, target=request.head.target, headers=[*headers, (b"connection", b"close")]
    )
    client = h11.Connection(h11.CLIENT)
    parts = [client.send(head), client.send(h11.Data(data=body)), client.send(h11.EndOfMessage())]
    return b"".join(part for part in parts if part)
