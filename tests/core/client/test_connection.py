"""The client and what is no server: it says so at once."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable

import pytest
import trio

from evanesce.client.connection import Connection
from evanesce.client.errors import Unreachable
from tests.patience import within

Server = Callable[[trio.SocketStream], Awaitable[None]]

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for 0 s, so that closing resets the connection."""


async def ends(stream: trio.SocketStream) -> None:
    await stream.aclose()


async def resets(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    await stream.aclose()


async def reads_and_ends(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await ends(stream)


async def reads_and_resets(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await resets(stream)


async def echoes(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def refuses(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


async def test_a_server_without_tls_is_told(nursery: trio.Nursery) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, refuses, [listener])
    port = listener.socket.getsockname()[1]
    with trio.fail_after(30), pytest.raises(Unreachable, match=r"does not speak TLS: .* http://$"):
        await Connection.open(nursery, f"wss://127.0.0.1:{port}/ws")


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (ends, "the connection is lost"),
        (resets, "the connection is lost"),
        (reads_and_ends, "the connection is lost"),
        (reads_and_resets, "the connection is lost"),
        (echoes, "does not speak WebSocket"),
        (refuses, "HTTP status 404"),
    ],
)
async def test_what_is_no_server_is_told_at_once(nursery: trio.Nursery, server: Server, said: str) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, server, [listener])
    port = listener.socket.getsockname()[1]
    with within(2), pytest.raises(Unreachable, match=said):
        await Connection.open(nursery, f"ws://127.0.0.1:{port}/ws")
