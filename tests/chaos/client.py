"""A WebSocket client from a chosen address of this machine, which sends any bytes, also invalid ones."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from tests.benchmarks.load.wire import text, upgrade

REFERENCE_ADDRESS, ATTACK_ADDRESS = "127.0.0.2", "127.0.0.3"
"""The addresses of the reference clients and of the attackers. The limits of an address apply to each separately."""

_CLOSE = 0x8
_READ_BYTES = 65_536


class ConnectionEnded(Exception):
    """The server closed or refused the connection. `code` is that of its close frame, or 0."""

    def __init__(self, code: int = 0, reply: object = "") -> None:
        super().__init__(f"close code {code} {reply}")
        self.code = code


async def dial(port: int, source: str, receive_buffer: int | None = None) -> trio.SocketStream:
    """Connect to the server on this machine from the address `source`. Raises `ConnectionEnded`.

    With `receive_buffer`, the kernel buffers no more than about that many unread bytes.
    """
    sock = trio.socket.socket()
    try:
        if receive_buffer is not None:
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_buffer)
        await sock.bind((source, 0))
        await sock.connect(("127.0.0.1", port))
    except OSError:
        sock.close()
        raise ConnectionEnded from None
    return trio.SocketStream(sock)


class Client:
    """A WebSocket connection. Every method raises `ConnectionEnded` after its end."""

    def __init__(self, stream: trio.SocketStream, received: bytes) -> None:
        self.stream = stream
        self._received = bytearray(received)
        self._sending = trio.Lock()  # one task may answer what it reads while another one sends commands

    async def send(self, **command: Any) -> None:
        """Send one command."""
        await self.send_raw(text(json.dumps(command)))

    async def send_raw(self, data: bytes) -> None:
        """Send bytes without framing."""
        try:
            async with self._sending:
                await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ConnectionEnded from None

    async def receive(self) -> list[dict[str, Any]]:
        """Wait for the next frame, and return its events; none if it is not a text frame."""
        while (frame := self._next()) is None:
            try:
                data = await self.stream.receive_some(_READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise ConnectionEnded from None
            if not data:
                raise ConnectionEnded
            self._received += data
        opcode, payload = frame
        if opcode == _CLOSE:
            raise ConnectionEnded(int.from_bytes(payload[:2], "big"))
        events: list[dict[str, Any]] = json.loads(payload) if opcode == 1 else []
        return events

    async def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command, and return its reply. Events before the reply are discarded."""
        await self.send(ref="asked", **command)
        while True:
            for event in await self.receive():
                if event.get("ref") == "asked":
                    return event

    def _next(self) -> tuple[int, bytes] | None:
        """Remove the next whole frame from the received bytes. The server does not fragment messages."""
        data = self._received
        if len(data) < 2:
            return None
        size, start = data[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(data) < start:
                return None
            size = int.from_bytes(data[2:start], "big")
        if len(data) < start + size:
            return None
        opcode, payload = data[0] & 0x0F, bytes(data[start : start + size])
        del data[: start + size]
        return opcode, payload


@asynccontextmanager
async def connected(port: int, source: str) -> AsyncIterator[Client]:
    """Connect without signing in. Raises `ConnectionEnded` if the server refuses."""
    stream = await dial(port, source)
    async with stream:
        head = b""
        try:
            await stream.send_all(upgrade(port, "/ws"))
            while b"\r\n\r\n" not in head:
                data = await stream.receive_some(_READ_BYTES)
                if not data:
                    raise ConnectionEnded
                head += data
        except trio.BrokenResourceError:
            raise ConnectionEnded from None
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionEnded
        yield Client(stream, head.partition(b"\r\n\r\n")[2])


@asynccontextmanager
async def signed_in(port: int, source: str, name: str) -> AsyncIterator[Client]:
    """Connect, and sign in as a guest."""
    async with connected(port, source) as client:
        reply = await client.ask(type="hello", credential={"provider": "guest", "displayName": name})
        if reply["type"] != "welcome":
            raise ConnectionEnded(reply=reply)
        yield client
