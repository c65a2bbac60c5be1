"""What is not of the protocol gets the error or close code that the protocol names; everyone else goes on unharmed."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from evanesce.client.connection import Fields
from tests.e2e.clients import ChatClient
from tests.e2e.running import TRANSPORTS, Server
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow

NESTED = '{"type": "ping", "x": ' + "[" * 40 + "]" * 40 + "}"


@pytest.fixture(scope="module", params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def line(server: Server) -> AsyncGenerator[WebSocketConnection]:
    """A bare connection, on which anything can be said."""
    # The stream is ours: trio-websocket does not close it where the server has closed the connection.
    with trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream, trio.open_nursery() as nursery:
            socket = await wrap_client_stream(nursery, stream, f"127.0.0.1:{server.port}", "/ws")
            yield socket
            await socket.aclose()


async def answer(socket: WebSocketConnection) -> Fields:
    events = json.loads(await socket.get_message())
    assert len(events) == 1
    event: Fields = events[0]
    return event


async def close_code(socket: WebSocketConnection) -> int:
    """Read on until the server has closed the connection."""
    with pytest.raises(ConnectionClosed) as closed:
        await read_on(socket)
    assert closed.value.reason is not None
    code: int = closed.value.reason.code
    return code


async def read_on(socket: WebSocketConnection) -> None:
    while True:
        await socket.get_message()


async def signed_in(socket: WebSocketConnection) -> None:
    hello = {"type": "hello", "credential": {"provider": "guest", "displayName": "Mallory"}}
    await socket.send_message(json.dumps(hello))
    assert (await answer(socket))["type"] == "welcome"


@pytest.fixture
async def bystander(shared_server: Server, nursery: trio.Nursery) -> AsyncGenerator[ChatClient]:
    """Somebody in a room, who must not notice anything."""
    client = await ChatClient.open(shared_server, nursery, "Bystander")
    room_id = (await client.ask("create_room"))["roomId"]
    await client.join(room_id)
    yield client
    await client.say(room_id, "still here")
    await client.wait_for_event("message", content="still here")
    await client.close()


@pytest.mark.parametrize(
    ("frame", "code", "field"),
    [
        pytest.param("", "bad_frame", None, id="empty"),
        pytest.param("hello", "bad_frame", None, id="no JSON"),
        pytest.param('{"type": "ping"', "bad_frame", None, id="half a frame"),
        pytest.param('{"type": "ping"} {"type": "ping"}', "bad_frame", None, id="two objects"),
        pytest.param('[{"type": "ping"}]', "bad_frame", None, id="an array"),
        pytest.param("null", "bad_frame", None, id="null"),
        pytest.param('"ping"', "bad_frame", None, id="text"),
        pytest.param("{'type': 'ping'}", "bad_frame", None, id="single quotes"),
        pytest.param('{"type": "ping", "x": NaN}', "bad_frame", None, id="NaN"),
        pytest.param(NESTED, "bad_frame", None, id="deep nesting"),
        pytest.param('{"type": "ping", "x": "\\ud800"}', "bad_frame", None, id="half a character"),
        pytest.param("{}", "bad_request", "type", id="no type"),
        pytest.param('{"type": 7}', "bad_request", "type", id="type is a number"),
        pytest.param('{"type": null}', "bad_request", "type", id="type is null"),
        pytest.param('{"type": "nonsense"}', "unknown_type", None, id="unknown type"),
        pytest.param('{"type": "PING"}', "unknown_type", None, id="type in capitals"),
        pytest.param('{"type": "ping", "ref": ""}', "bad_request", "ref", id="empty ref"),
        pytest.param('{"type": "ping", "ref": "' + "x" * 65 + '"}', "bad_request", "ref", id="long ref"),
        pytest.param('{"type": "ping", "ref": 9007199254740993}', "bad_request", "ref", id="ref of 54 bits"),
        pytest.param('{"type": "ping", "ref": 1e400}', "bad_request", "ref", id="huge ref"),
        pytest.param('{"type": "ping", "ref": ' + "9" * 5000 + "}", "bad_request", "ref", id="ref of 5,000 digits"),
        pytest.param('{"type": "ping", "ref": 1.5}', "bad_request", "ref", id="ref with a fraction"),
        pytest.param('{"type": "ping", "ref": true}', "bad_request", "ref", id="ref is true"),
        pytest.param('{"type": "join"}', "bad_request", "roomId", id="missing room"),
        pytest.param('{"type": "join", "roomId": null}', "bad_request", "roomId", id="room is null"),
        pytest.param('{"type": "join", "roomId": "no UUID"}', "bad_request", "roomId", id="room is no UUID"),
        pytest.param(
            '{"type": "join", "roomId": "00000000-0000-4000-8000-00000000000A"}',
            "bad_request",
            "roomId",
            id="UUID in capitals",
        ),
        pytest.param(
            '{"type": "join", "roomId": "00000000-0000-4000-8000-000000000000", "since": 7}',
            "bad_request",
            "since",
            id="cursor is a number",
        ),
        pytest.param(
            '{"type": "send", "roomId": "00000000-0000-4000-8000-000000000000"}',
            "bad_request",
            "content",
            id="no content",
        ),
        pytest.param(
            '{"type": "send", "roomId": "00000000-0000-4000-8000-000000000000", "content": ["x"]}',
            "bad_request",
            "content",
            id="content is an array",
        ),
        pytest.param(
            '{"type": "update_profile", "displayName": 7}', "bad_request", "displayName", id="name is a number"
        ),
        pytest.param('{"type": "rooms", "after": {}}', "bad_request", "after", id="page is an object"),
    ],
)
async def test_errors_that_leave_the_connection(
    shared_server: Server, bystander: ChatClient, frame: str, code: str, field: str | None
) -> None:
    async with line(shared_server) as socket:
        await signed_in(socket)
        await socket.send_message(frame)
        error = await answer(socket)
        assert (error["type"], error["code"], error.get("field")) == ("error", code, field)
        assert error["retry"] is False
        assert error["message"]
        await socket.send_message('{"type": "ping", "ref": 1}')
        assert (await answer(socket))["type"] == "pong"


async def test_an_error_carries_its_ref(shared_server: Server) -> None:
    async with line(shared_server) as socket:
        for ref in ("x" * 64, 0, -(2**53) + 1, 2**53 - 1, "ünï"):
            await socket.send_message(json.dumps({"type": "nonsense", "ref": ref}))
            assert (await answer(socket))["ref"] == ref


async def test_unknown_fields_are_ignored(shared_server: Server) -> None:
    async with line(shared_server) as socket:
        await socket.send_message('{"type": "ping", "huge": 1e400, "digits": ' + "9" * 5000 + ', "nothing": null}')
        assert (await answer(socket))["type"] == "pong"


async def test_binary(shared_server: Server, bystander: ChatClient) -> None:
    async with line(shared_server) as socket:
        await socket.send_message(b'{"type": "ping"}')
        assert (await answer(socket))["code"] == "bad_frame"
        await socket.send_message('{"type": "ping"}')
        assert (await answer(socket))["type"] == "pong"


async def test_before_hello(shared_server: Server, bystander: ChatClient) -> None:
    async with line(shared_server) as socket:
        await socket.send_message('{"type": "create_room", "ref": 1}')
        error = await answer(socket)
        assert (error["code"], error["ref"]) == ("unauthenticated", 1)
        await signed_in(socket)


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "x" * 4096, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."])
async def test_a_worthless_token(shared_server: Server, bystander: ChatClient, token: str) -> None:
    async with line(shared_server) as socket:
        await socket.send_message(json.dumps({"type": "hello", "token": token}))
        assert (await answer(socket))["code"] == "invalid_token"
        assert await close_code(socket) == 4401


async def test_bad_frames_without_end(shared_server: Server, bystander: ChatClient) -> None:
    async with line(shared_server) as socket:
        await signed_in(socket)
        for _ in range(19):
            await socket.send_message("nonsense")
            assert (await answer(socket))["code"] == "bad_frame"
        await socket.send_message('{"type": "ping"}')
        assert (await answer(socket))["type"] == "pong"
        for _ in range(20):
            await socket.send_message("nonsense")
        kinds = []
        with pytest.raises(ConnectionClosed) as closed:
            await collect(socket, kinds)
        assert closed.value.reason is not None
        assert closed.value.reason.code == 4400
        assert kinds[-1] == "goodbye"


async def collect(socket: WebSocketConnection, kinds: list[str]) -> None:
    while True:
        kinds.extend(event["type"] for event in json.loads(await socket.get_message()))


async def test_too_large(shared_server: Server, bystander: ChatClient) -> None:
    async with line(shared_server) as socket:
        await signed_in(socket)
        await socket.send_message(json.dumps({"type": "ping", "x": "x" * 65_000}))
        assert (await answer(socket))["type"] == "pong"
        await socket.send_message(json.dumps({"type": "ping", "x": "x" * 66_000}))
        assert await close_code(socket) == 1009


async def test_too_large_in_bytes_not_characters(shared_server: Server, bystander: ChatClient) -> None:
    async with line(shared_server) as socket:
        await socket.send_message(json.dumps({"type": "ping", "x": "é" * 40_000}, ensure_ascii=False))
        assert await close_code(socket) == 1009


def client_frame(opcode: int, payload: bytes, *, first: int = 0x80) -> bytes:
    """A masked frame (RFC 6455, section 5.2), with a mask of zeros."""
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else struct.pack("!BH", 0x80 | 126, len(payload))
    return bytes([first | opcode]) + length + bytes(4) + payload


@asynccontextmanager
async def raw_line(server: Server) -> AsyncGenerator[trio.SocketStream]:
    """A connection behind its handshake, on which any bytes can be sent."""
    with trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(handshake(server))
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += await stream.receive_some(1)
            assert head.startswith(b"HTTP/1.1 101 ")
            yield stream


def handshake(server: Server, *lines: bytes) -> bytes:
    return b"\r\n".join(
        [
            b"GET /ws HTTP/1.1",
            b"Host: 127.0.0.1:%d" % server.port,
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            *lines,
            b"",
            b"",
        ]
    )


async def raw_close_code(stream: trio.SocketStream) -> int:
    data = b""
    while chunk := await stream.receive_some(65_536):
        data += chunk
    place = data.rindex(b"\x88")
    code: int = struct.unpack("!H", data[place + 2 : place + 4])[0]
    return code


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        pytest.param(client_frame(1, b"\xff\xfe"), 1007, id="invalid UTF-8"),
        pytest.param(client_frame(1, b"\xed\xa0\x80"), 1007, id="a surrogate in UTF-8"),
        pytest.param(client_frame(1, b"\xc3"), 1007, id="half a character at the end"),
        pytest.param(b"\x81\x02{}", 1002, id="no mask"),
        pytest.param(client_frame(3, b""), 1002, id="reserved opcode"),
        pytest.param(client_frame(1, b"{}", first=0xC0), 1002, id="reserved bit"),
        pytest.param(client_frame(9, b"x" * 126), 1002, id="long ping"),
        pytest.param(client_frame(9, b"x", first=0), 1002, id="a ping in pieces"),
        pytest.param(client_frame(0, b"x"), 1002, id="a continuation of nothing"),
        pytest.param(b"\xff" * 64, 1002, id="noise"),
    ],
)
async def test_broken_websocket(shared_server: Server, bystander: ChatClient, wire: bytes, code: int) -> None:
    async with raw_line(shared_server) as stream:
        await stream.send_all(wire)
        assert await raw_close_code(stream) == code


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b"Sec-WebSocket-Protocol: \xff"], id="C1, in the subprotocol"),
        pytest.param([b"Connection: Upgrade, \xff"], id="C1, in the connection"),
        pytest.param([b"Sec-WebSocket-Protocol: nonsense"], id="only other subprotocols"),
        pytest.param([b"Origin: http://evil.example"], id="another origin"),
    ],
)
async def test_refused_handshakes(shared_server: Server, bystander: ChatClient, lines: list[bytes]) -> None:
    with trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream("127.0.0.1", shared_server.port) as stream:
            await stream.send_all(handshake(shared_server, *lines))
            answered = await stream.receive_some(4096)
    assert answered.startswith(b"HTTP/1.1 403 " if b"evil" in lines[0] else b"HTTP/1.1 400 ")


async def test_bytes_right_behind_the_handshake(shared_server: Server, bystander: ChatClient) -> None:
    """C2: they are the first of the conversation."""
    with trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream("127.0.0.1", shared_server.port) as stream:
            await stream.send_all(handshake(shared_server) + client_frame(1, b'{"type": "ping"}'))
            data = b""
            while b"pong" not in data:
                chunk = await stream.receive_some(4096)
                assert chunk
                data += chunk
    assert data.startswith(b"HTTP/1.1 101 ")


async def test_junk_and_a_half_close(shared_server: Server, bystander: ChatClient) -> None:
    """C3: again and again."""
    for _ in range(8):
        async with raw_line(shared_server) as stream:
            await stream.send_all(b"\xff" * 64)
            await stream.send_eof()
            assert await raw_close_code(stream) == 1002


async def test_an_oversize_message_and_a_ping_in_one_chunk(shared_server: Server, bystander: ChatClient) -> None:
    """C4."""
    huge = bytes([0x81, 0x80 | 127]) + struct.pack("!Q", 70_000) + bytes(4) + b"x" * 70_000
    async with raw_line(shared_server) as stream:
        await stream.send_all(huge + client_frame(9, b"ping"))
        assert await raw_close_code(stream) == 1009


async def test_a_ping_during_the_close(shared_server: Server, bystander: ChatClient) -> None:
    """C4, the other way."""
    async with raw_line(shared_server) as stream:
        await stream.send_all(client_frame(8, struct.pack("!H", 1000)) + client_frame(9, b"ping"))
        assert await raw_close_code(stream) == 1000


async def test_leaving_while_much_is_being_sent(shared_server: Server, bystander: ChatClient) -> None:
    """C6."""
    for _ in range(8):
        async with raw_line(shared_server) as stream:
            await stream.send_all(client_frame(1, b'{"type": "ping"}') * 500)
            await trio.aclose_forcefully(stream)


async def test_a_plugin_that_raises(serve: Callable[..., Server], transport: str, plugin_path: dict[str, str]) -> None:
    """C5: what a handler raises is the error of its part, and ends nothing."""
    server = serve(f'plugins.enabled=["guest", "sqlite", "{transport}", "walker"]', environment=plugin_path)
    async with line(server) as socket:
        for _ in range(3):
            await socket.send_message('{"type": "challenge", "provider": "walker"}')
            error = await answer(socket)
            assert (error["code"], error["retry"]) == ("auth_unavailable", True)
            assert "KeyError" not in error["message"]


async def test_silence(serve: Callable[..., Server]) -> None:
    async with line(serve("limits.hello_seconds=0.3")) as socket:
        assert await close_code(socket) == 4408
    server = serve("limits.heartbeat_seconds=0.8")
    async with raw_line(server) as stream:
        hello = b'{"type": "hello", "credential": {"provider": "guest", "displayName": "Statue"}}'
        await stream.send_all(client_frame(1, hello))
        assert await raw_close_code(stream) == 4408, "no answer to pings"
    async with line(server) as socket:
        await signed_in(socket)
        with trio.move_on_after(4) as waiting:
            await socket.get_message()
        assert waiting.cancelled_caught, "who answers pings may be silent for ever"


async def test_the_wrong_path(shared_server: Server) -> None:
    with trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream("127.0.0.1", shared_server.port) as stream:
            await stream.send_all(handshake(shared_server).replace(b"GET /ws", b"GET /other"))
            assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 404 ")
