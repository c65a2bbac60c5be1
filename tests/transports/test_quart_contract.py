"""What the transport leans on in Hypercorn, Quart-Trio and wsproto: when one of these changes, look at the code."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from quart import websocket
from quart_trio import QuartTrio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage
from wsproto.handshake import H11Handshake

from evanesce_transports.admission import check_handshake, encode_acceptance
from evanesce_transports.quart.app import Application, build
from evanesce_transports.quart.asgi import HandshakeOnly
from evanesce_transports.request import Head
from evanesce_transports.request import Request as HandshakeRequest
from evanesce_transports.websocket import WEBSOCKET
from tests.patience import PATIENCE
from tests.transports.serving import FakeGateway


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


@pytest.mark.parametrize("accept", [True, False])
@pytest.mark.parametrize("own_class", [True, False])
async def test_quart_trio_speaks_asgi_as_it_is_answered(accept: bool, own_class: bool) -> None:
    """Before it accepts, a response goes by the extension; then a close comes last; `state` is the same object.

    Without the tasks of its own class it says the same.
    """
    app = QuartTrio(__name__)
    if own_class:
        app.asgi_websocket_class = HandshakeOnly  # pyright: ignore[reportAttributeAccessIssue] (as in `app.py`)

    @app.websocket("/ws")
    async def talk() -> Any:
        assert websocket.requested_subprotocols == ["evanesce.v1"]
        if not accept:
            return "no", 403
        await websocket.accept(subprotocol="evanesce.v1")
        websocket.scope["state"]["seen"] = True
        return None

    state: dict[str, Any] = {}
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/ws",
        "raw_path": b"/ws",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"x")],
        "client": ("127.0.0.1", 0),
        "server": None,
        "subprotocols": ["evanesce.v1"],
        "state": state,
        "extensions": {"websocket.http.response": {}},
    }
    with trio.fail_after(PATIENCE):
        await app(scope, trio.sleep_forever, send)
    kinds = [message["type"] for message in sent]
    if accept:
        assert kinds == ["websocket.accept", "websocket.close"]
        assert sent[0]["subprotocol"] == "evanesce.v1"
        assert state == {"seen": True}
    else:
        assert kinds[0] == "websocket.http.response.start"
        assert set(kinds[1:]) == {"websocket.http.response.body"}
        assert sent[0]["status"] == 403
        assert b"".join(message["body"] for message in sent[1:]) == b"no"


@pytest.mark.parametrize("path", ["/ws", "/ws/", "//ws", "/w", "/healthz"])
@pytest.mark.parametrize("origin", ["https://chat.example", "https://evil.example"])
@pytest.mark.parametrize("offered", [[], ["evanesce.v1"], ["other"]])
async def test_the_route_answers_alike_with_a_context_and_without(path: str, origin: str, offered: list[str]) -> None:
    app = build(FakeGateway(), {}, metrics_public=False)
    sent: dict[bool, list[Any]] = {True: [], False: []}
    scope: Any = {
        "type": "websocket",
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"x"), (b"origin", origin.encode())],
        "client": ("127.0.0.1", 0),
        "subprotocols": offered,
        "extensions": {"websocket.http.response": {}},
    }
    for with_context, answers in sent.items():

        async def send(message: Any, answers: list[Any] = answers) -> None:
            answers.append(message)

        with pytest.MonkeyPatch.context() as patch:
            if with_context:
                patch.setattr(Application, "handle_websocket", QuartTrio.handle_websocket)
            await app(scope, trio.sleep_forever, send)
    assert sent[True] == sent[False]
    accepted = path in ("/ws", "//ws") and origin == "https://chat.example" and offered != ["other"]
    assert sent[False][0]["type"] == ("websocket.accept" if accepted else "websocket.http.response.start")


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
