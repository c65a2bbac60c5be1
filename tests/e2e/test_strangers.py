"""What connections cost on which nobody has signed in, measured from outside: the memory of a real server process."""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from evanesce.client.connection import Connection
from evanesce.client.errors import Disconnected, Refused
from evanesce.errors import CloseCode
from tests.e2e.clients import until
from tests.e2e.running import TRANSPORTS, Server

pytestmark = pytest.mark.slow

STRANGERS = 20
FLOOD_SECONDS = 2.0
MOST_EACH = 256 * 1024


@pytest.fixture(scope="module", params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def masked(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """Write a frame as a client does, with a mask of zeros."""
    head = bytes([opcode | (0x80 if final else 0)])
    if len(payload) <= 125:
        return head + bytes([0x80 | len(payload)]) + bytes(4) + payload
    return head + b"\xfe" + struct.pack(">H", len(payload)) + bytes(4) + payload


def text(**fields: object) -> bytes:
    return masked(1, json.dumps(fields).encode())


LISTS = [[] for _ in range(16_000)]
SHAPES: dict[str, bytes] = {
    "JSON pings": text(type="ping") * 500,
    "unknown commands": text(type="dance") * 500,
    "pings": masked(9, b"x" * 125) * 300,
    "a message that never ends": masked(1, b'{"' + b"x" * 60_000, final=False) + masked(0, b"", final=False) * 500,
    "half a frame": masked(1, b"x" * 65_000)[:64_000],
    "challenges that name much": text(type="challenge", provider="guest", much=LISTS) * 3,
    "credentials that name much": text(type="hello", credential={"provider": "worldid", "much": LISTS}) * 3,
}


def resident(server: Server) -> int:
    """Return the memory of the server's own process, in bytes."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) * 1024


def stranger(server: Server) -> socket.socket:
    """Open a WebSocket that is never read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.connect(("127.0.0.1", server.port))
    client.sendall(
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert client.recv(12) == b"HTTP/1.1 101"
    client.setblocking(False)
    return client


def flood(server: Server, shape: bytes, *, seconds: float) -> int:
    """Send `shape` again and again without signing in, and return the most memory that the server had meanwhile."""
    waiting = {stranger(server): shape for _ in range(STRANGERS)}
    most, end = 0, time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            _, writable, _ = select.select([], [*waiting], [], 0.05)
            for client in writable:
                try:
                    sent = client.send(waiting[client])
                    waiting[client] = waiting[client][sent:] or shape
                except (BrokenPipeError, ConnectionResetError):  # sent away, as it should be: another one comes
                    del waiting[client]
                    client.close()
                    waiting[stranger(server)] = shape
            most = max(most, resident(server))
    finally:
        for client in waiting:
            client.close()
    return most


@pytest.mark.parametrize("name", SHAPES)
def test_a_stranger_holds_little(serve: Callable[..., Server], name: str) -> None:
    server = serve()
    flood(server, text(type="ping"), seconds=0.5)  # what it needs to serve anybody at all
    before = resident(server)
    most = flood(server, SHAPES[name], seconds=FLOOD_SECONDS)
    each = (most - before) / STRANGERS
    print(f"{name}: {each / 1024:,.0f} KiB each")
    assert each <= MOST_EACH


async def test_a_stranger_that_asks_too_often_is_told_and_then_sent_away(
    serve: Callable[..., Server], nursery: trio.Nursery
) -> None:
    server = serve("limits.exempt_addresses=[]", "limits.handshakes_per_second=1000")
    client = await Connection.open(nursery, server.ws_url)
    served, refused = 0, list[Refused]()
    with trio.fail_after(60):
        while client.close_reason is None:
            try:
                served += (await client.request({"type": "ping"}))["type"] == "pong"
            except Refused as error:
                refused.append(error)
            except Disconnected:
                await until(lambda: client.close_reason is not None)
    assert served >= 10
    assert len(refused) >= 30
    assert {error.code for error in refused} == {"rate_limited"}
    assert all(error.retry_after is not None and 0 < error.retry_after <= 0.1 for error in refused)
    assert client.close_reason is not None
    assert client.close_reason.code == CloseCode.RATE_LIMITED
