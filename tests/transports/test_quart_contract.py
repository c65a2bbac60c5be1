"""What the transport leans on in Hypercorn and wsproto: when one of these changes, look at the code."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage
from wsproto.handshake import H11Handshake

from evanesce_transports.admission import check_handshake, encode_acceptance
from evanesce_transports.request import Head
from evanesce_transports.request import Request as HandshakeRequest
from evanesce_transports.websocket import WEBSOCKET
from tests.patience import PATIENCE


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_hypercorn_is_called_as_it_is_declared() -> None:
    assert parameters(TCPServer) == ["app", "config", "context", "state", "stream"]
    assert parameters(WorkerContext) == ["max_requests"]
    assert parameters(ASGIWrapper) == ["app"]
    assert inspect.iscoroutinefunction(TCPServer.run)
    config = Config()
    assert config.accesslog is None
    assert config.h11_max_incomplete_size == 16 * 1024


async def test_hypercorn_serves_one_request_and_ends() -> None:
    """It asks of the stream `receive_some`, `send_all`, `send_eof`, `aclose` and `socket`, and passes `state` on."""
    calls: list[str] = []

    class Stream:
        def __init__(self, socket: trio.socket.SocketType) -> None:
            self.socket = socket
            self.closed = trio.Event()
            self.response = b""

        async def receive_some(self, max_bytes: int) -> bytes:
            calls.append("receive_some")
            if calls.count("receive_some") == 1:
                return b"GET /a%20b?c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            await self.closed.wait()
            raise trio.ClosedResourceError

        async def send_all(self, data: bytes) -> None:
            self.response += data

        async def send_eof(self) -> None:
            calls.append("send_eof")

        async def aclose(self) -> None:
            calls.append("aclose")
            self.closed.set()

    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"hi"})

    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener, await trio.testing.open_stream_to_socket_listener(listener) as client:
        stream = Stream(client.socket)
        with trio.fail_after(PATIENCE):
            await TCPServer(ASGIWrapper(app), Config(), WorkerContext(None), {"mark": 1}, stream).run()
    assert (seen[0]["path"], seen[0]["query_string"], seen[0]["state"]["mark"]) == ("/a b", b"c", 1)
    assert stream.response.endswith(b"\r\n\r\nhi")
    assert b"connection: close" in stream.response.lower()
    assert set(calls) == {"receive_some", "send_eof", "aclose"}


@pytest.mark.parametrize("subprotocol", [None, "evanesce.v1"])
def test_a_handshake_is_accepted_as_wsproto_does(subprotocol: str | None) -> None:
    headers = [
        (b"host", b"x"),
        (b"connection", b"Upgrade"),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        (b"sec-websocket-protocol", b"other, evanesce.v1"),
    ]
    head = Head(b"GET", b"/ws", headers, b"1.1")
    handshake = H11Handshake(ConnectionType.SERVER)
    handshake.initiate_upgrade_connection(headers, b"/ws")
    assert isinstance(next(handshake.events()), Request)
    request = HandshakeRequest(head, b"")
    assert check_handshake(request) == ["other", "evanesce.v1"]
    answer = encode_acceptance(request, subprotocol)
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
    assert answer.lower() == handshake.send(AcceptConnection(subprotocol=subprotocol)).lower()


def test_wsproto_reads_after_the_handshake_and_frames_without_a_mask() -> None:
    connection = Connection(ConnectionType.SERVER)
    connection.receive_data(b"\x81\x81\0\0\0\0a\x81\x80\0\0\0\0\xff\xff")
    assert next(connection.events()) == TextMessage(data="a")
    assert next(connection.events()) == TextMessage(data="")
    # What cannot be parsed comes as a close while the state stays open; the client's own close changes it.
    violation = next(connection.events())
    assert isinstance(violation, CloseConnection)
    assert (violation.code, connection.state) == (1002, ConnectionState.OPEN)
    assert [WEBSOCKET.frame(b"x" * size)[:4] for size in (1, 126, 70_000)] == [
        b"\x81\x01x",
        b"\x81\x7e\0\x7e",
        b"\x81\x7f\0\0",
    ]
    assert isinstance(WEBSOCKET.frame("é".encode()), bytes)
