"""The server of a transcript: it accepts, refuses, breaks and stalls connections as it is told, on loopback."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast
from urllib.parse import parse_qs, urlsplit

import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, wrap_server_stream

from evanesce.conformance.arrivals import MOST, Arrivals, Frame, News

SUBPROTOCOL = "evanesce.v1"
HANDSHAKE_SECONDS = 10
CLOSING_SECONDS = 5
PONG_SECONDS = 10
_RESET = struct.pack("ii", 1, 0)  # struct linger: on, for 0 s


class GatedStream(trio.abc.Stream):
    """A TCP stream that passes nothing on while its gate is closed."""

    def __init__(self, stream: trio.SocketStream) -> None:
        """Open the gate."""
        self.closed = trio.Event()
        self._stream = stream
        self._open = trio.Event()
        self._open.set()

    async def stall(self, seconds: float) -> None:
        """Close the gate for so many seconds."""
        self._open = trio.Event()
        await trio.sleep(seconds)
        self._open.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what came, when the gate is open."""
        data = await self._stream.receive_some(max_bytes)
        await self._open.wait()
        return bytes(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data` when the gate is open."""
        await self._open.wait()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for the gate, and for the stream."""
        await self._open.wait()
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream."""
        self.closed.set()
        self._open.set()
        await self._stream.aclose()

    def reset(self) -> None:
        """Reset the connection: the client gets RST, not FIN. Nothing if this side is closed: the client ended it."""
        self._open.set()
        if self._stream.socket.fileno() < 0:
            return
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._stream.socket.close()


class Connection:
    """One WebSocket connection of the client, whose handshake is accepted."""

    def __init__(self, stream: GatedStream, websocket: WebSocketConnection, room: str | None) -> None:
        """`room` is the one in the address."""
        self.stream = stream
        self.room = room
        self.accepted_at = trio.current_time()
        self.close_code: int | None = None
        """The code with which the client closed it; None while it is open."""
        self._websocket = websocket

    async def read(self, receive: Callable[[Connection, Frame], Awaitable[None]], news: News) -> None:
        """Call `receive` with each frame of the client, until the connection is closed."""
        try:
            while True:
                await receive(self, decoded(await self._websocket.get_message()))
        except ConnectionClosed as closed:
            self.close_code = 1006 if closed.reason is None else closed.reason.code
            news.tell()

    async def send(self, frame: list[dict[str, object]], size: int = 0) -> None:
        """Send one frame. An unknown field of its first object fills it up to `size` bytes.

        Nothing happens if the client has closed the connection: the next step will notice.
        """
        if size:
            short = size - len(msgspec.json.encode([frame[0] | {"filling": ""}, *frame[1:]]))
            frame = [frame[0] | {"filling": "x" * short}, *frame[1:]]
        text = msgspec.json.encode(frame).decode()
        with suppress(ConnectionClosed):
            await self._websocket.send_message(text)

    async def ping(self) -> bool:
        """Send a ping of the WebSocket protocol, and return whether the pong comes."""
        with trio.move_on_after(PONG_SECONDS), suppress(ConnectionClosed):
            await self._websocket.ping()
            return True
        return False

    async def close(self, code: int, reason: str) -> None:
        """Close the WebSocket, and wait for the answer of the client, but not for long."""
        with trio.move_on_after(CLOSING_SECONDS):
            await self._websocket.aclose(code, reason or None)


def decoded(message: str | bytes) -> Frame:
    """Return the JSON object in a message or a line, or its text if it is none."""
    text = message if isinstance(message, str) else message.decode("utf-8", "replace")
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except msgspec.DecodeError:
        return text


class ScriptedServer:
    """Accepts TCP connections, which wait until a step of the transcript takes them."""

    def __init__(self, listener: trio.SocketListener, news: News) -> None:
        """Accept from `listener`."""
        self.waiting: Arrivals[trio.SocketStream] = Arrivals(news)
        self._listener = listener
        self._accepted: list[trio.SocketStream] = []

    @property
    def url(self) -> str:
        """The base URL that the driver gets."""
        host, port = cast("tuple[str, int]", self._listener.socket.getsockname())
        return f"http://{host}:{port}"

    async def run(self) -> None:
        """Accept connections until cancelled, and close all of them then."""
        try:
            while len(self._accepted) < MOST:
                stream = await self._listener.accept()
                self._accepted.append(stream)
                self.waiting.put(stream)
        finally:
            for stream in self._accepted:
                stream.socket.close()

    async def refuse(self, stream: trio.SocketStream, nursery: trio.Nursery, how: str | int) -> None:
        """Reset a connection, or answer its handshake with the HTTP status `how`."""
        gated = GatedStream(stream)
        if isinstance(how, int):
            request = await _handshake(gated, nursery)
            if request is not None:
                await request.reject(how)
            await gated.aclose()
        else:
            gated.reset()

    async def accept(self, stream: trio.SocketStream, nursery: trio.Nursery) -> Connection | None:
        """Accept the handshake on a connection; None if it is no WebSocket's for `/ws`."""
        gated = GatedStream(stream)
        request = await _handshake(gated, nursery)
        if request is None:
            return None
        address = urlsplit(request.path)
        if address.path != "/ws":
            await request.reject(404)
            await gated.aclose()
            return None
        offered = SUBPROTOCOL if SUBPROTOCOL in request.proposed_subprotocols else None
        websocket = await request.accept(subprotocol=offered)
        return Connection(gated, websocket, parse_qs(address.query).get("roomId", [None])[0])


async def _handshake(stream: GatedStream, nursery: trio.Nursery) -> WebSocketRequest | None:
    """Wait for the request of a WebSocket; None, with the stream closed, if something else came, or nothing."""
    request = None
    with trio.move_on_after(HANDSHAKE_SECONDS):
        async with trio.open_nursery() as waiting:
            waiting.start_soon(
                _cancel_when_closed, stream, waiting.cancel_scope
            )  # by trio-websocket, which answers 400
            request = await wrap_server_stream(nursery, stream)
            waiting.cancel_scope.cancel()
    if request is None:
        await stream.aclose()
    return request


async def _cancel_when_closed(stream: GatedStream, scope: trio.CancelScope) -> None:
    await stream.closed.wait()
    scope.cancel()
