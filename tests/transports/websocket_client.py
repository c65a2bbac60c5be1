"""A client for the contract of transports."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from evanesce.testing.contracts import TransportClient


class WebSocketClient:
    """A client of an independent library, which reads one message ahead."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self.close_code: int | None = None
        self._connection = connection

    async def send(self, frame: str) -> None:
        try:
            await self._connection.send_message(frame)
        except ConnectionClosed as closed:
            raise trio.BrokenResourceError from closed

    async def receive(self) -> str | None:
        try:
            message = await self._connection.get_message()
        except ConnectionClosed as closed:
            self.close_code = None if closed.reason is None else closed.reason.code
            return None
        assert isinstance(message, str)
        return message


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[TransportClient]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    stream = await trio.open_tcp_stream(parts.hostname, parts.port or 0)
    async with stream, trio.open_nursery() as nursery:
        client = await wrap_client_stream(
            nursery, stream, "localhost", "/ws", max_message_size=2**24, message_queue_size=1
        )
        yield WebSocketClient(client)
        nursery.cancel_scope.cancel()
