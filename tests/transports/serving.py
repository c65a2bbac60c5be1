"""Real transports on ports of the system's, in front of a gateway that records and obeys; and ways to reach them."""

from __future__ import annotations

import json
import math
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from trio_websocket import WebSocketConnection, wrap_client_stream

from evanesce.addresses import parse_networks
from evanesce.addresslimits import AddressLimits
from evanesce.delivery.frame import Frame, Outgoing
from evanesce.errors import CommandError, ErrorCode
from evanesce.interfaces import Connection, Handover, HttpRoute, Readiness, Setup, SignIn, SignInPage, Transport
from evanesce.model import Timestamp, User
from evanesce.protocol.commands import Command
from evanesce.protocol.events import Limits, Ok, Reply, Welcome
from evanesce_transports import quart, trio_websocket
from tests.patience import PATIENCE

QUART, TRIO_WEBSOCKET = "quart", "trio_websocket"
TRANSPORTS = [QUART, TRIO_WEBSOCKET]
SCHEMES = {QUART: "http", TRIO_WEBSOCKET: "ws"}

FRAME_BYTES = 65_536
OUTBOX_BYTES = 1_048_576
NOW = Timestamp("2026-11-22T05:42:00.123Z")
ORIGIN = "https://chat.example"


class FakeGateway:
    """Echoes what comes in, each message as one frame with the JSON array of it, until told otherwise."""

    def __init__(self) -> None:
        self.draining = False
        self.going = trio.Event()
        self.routes: Sequence[HttpRoute] = []
        self.sign_in_pages: Sequence[SignInPage] = []
        self.documents: Mapping[str, bytes] = {}
        self.connections: list[Connection] = []
        self.bearers: list[str | None] = []
        self.received: list[str | bytes | None] = []
        self.executed: list[tuple[Command, str | None, str]] = []
        self.replies: dict[type[Command], Reply] = {}
        self.failure: Exception | None = None
        self.created = True
        self.status = Readiness("ready", {"redis": "up"})
        self.handle: Callable[[Connection], Awaitable[None]] = self.echo
        self.ended = trio.Event()
        self.hosts: list[tuple[str, str]] = []
        self.known_hosts: set[str] | None = None
        """Which Host headers are admitted; None: all."""
        self.local: list[bool] = []
        self.connected_at: list[float | None] = []
        self.address_limits = address_limits()

    def forget(self) -> None:
        """Drop what was recorded, so that the memory of this process is not that of the records."""
        recorded = (self.connections, self.connected_at, self.bearers, self.received, self.executed, self.hosts)
        for records in (*recorded, self.local):
            records.clear()

    async def wait_draining(self) -> None:
        await self.going.wait()

    async def serve(
        self, connection: Connection, *, bearer: str | None = None, connected_at: float | None = None
    ) -> None:
        self.connections.append(connection)
        self.connected_at.append(connected_at)
        self.bearers.append(bearer)
        try:
            await self.handle(connection)
            await connection.close(1000, "")
        finally:
            self.ended.set()

    async def echo(self, connection: Connection) -> None:
        while (message := await connection.receive()) is not None:
            self.received.append(message)
            text = message if isinstance(message, str) else message.hex()
            assert connection.write(frame_of(text.encode()))
        self.received.append(None)

    async def execute(self, command: Command, *, bearer: str | None, address: str, local: bool = False) -> Reply:
        self.local.append(local)
        self.executed.append((command, bearer, address))
        if self.failure is not None:
            raise self.failure
        return self.replies.get(type(command), Ok())

    async def sign_in(
        self, credential: Mapping[str, Any], *, bearer: str | None, address: str, local: bool = False
    ) -> SignIn:
        self.local.append(local)
        self.credential = credential
        if self.failure is not None:
            raise self.failure
        limits = Limits(
            content_bytes=1,
            frame_bytes=1,
            history=1,
            rooms_per_connection=1,
            shortest_ttl=1,
            longest_ttl=1,
            messages_per_second=1,
            burst=1,
        )
        welcome = Welcome(
            user_id="u",
            display_name="Ada",
            server_time=NOW,
            token="T",
            token_expires_at=NOW,
            message_ttl=60,
            heartbeat=25,
            limits=limits,
        )
        return SignIn(welcome, self.created)

    async def identify(self, bearer: str | None) -> User | None:
        if bearer == "worthless":
            raise CommandError(ErrorCode.INVALID_TOKEN, "Sign in again.")
        if bearer is None:
            return None
        return User(user_id="u", world_id="guest:u", display_name="Ada", created_at=NOW, last_active=NOW)

    def admits_origin(self, origin: str) -> bool:
        return origin == ORIGIN

    def admits_host(self, host: str, local_address: str) -> bool:
        self.hosts.append((host, local_address))
        return self.known_hosts is None or host in self.known_hosts

    async def readiness(self) -> Readiness:
        return self.status

    def metrics(self) -> str:
        return "evanesce_connections 0\n"

    async def scrape(self) -> str:
        return self.metrics()


def address_limits(
    *,
    connections: int = 100,
    handshakes: float = 20.0,
    exempt: Sequence[str] = ("127.0.0.0/8", "::1"),
    clock: Callable[[], float] = trio.current_time,
) -> AddressLimits:
    """Make the limits of addresses, by default as a server has them."""
    networks = parse_networks(exempt, "limits.exempt_addresses")
    return AddressLimits(connections=connections, handshakes=handshakes, exempt=networks, clock=clock)


def frame_of(payload: bytes, expires_at: float = math.inf) -> Frame:
    """Make a frame of any text, as the core makes them of events."""
    frame = Frame([Outgoing(Ok())], payload)
    frame.expires_at = expires_at
    return frame


class Listening:
    """A transport that listens, and ways to reach it."""

    def __init__(self, transport: str, url: str, tls: ssl.SSLContext | None, folder: Path = Path()) -> None:
        self.transport = transport
        self.url = url
        self.tls = tls
        self.socket = folder / url.removeprefix("unix:") if url.startswith("unix:") else None
        if self.socket is None:
            host, _, port = url.partition("://")[2].rpartition(":")
            self.host = host.strip("[]")
            self.port = int(port)
        else:
            self.host, self.port = "127.0.0.1", 0

    async def raw(self, receive_buffer: int | None = None) -> trio.SocketStream:
        """Connect; with `receive_buffer`, as a client whose kernel takes no more than about that many bytes."""
        if self.socket is not None:
            return await trio.open_unix_socket(self.socket)
        sock = trio.socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await sock.connect((self.host, self.port))
        except OSError:
            sock.close()
            raise
        return trio.SocketStream(sock)

    async def connect(self) -> trio.abc.Stream:
        """Connect as a client that trusts the server's certificate, where there is one."""
        stream = await self.raw()
        return (
            stream
            if self.tls is None
            else trio.SSLStream(stream, self.tls, server_hostname=self.host, https_compatible=True)
        )

    async def exchange(self, request: bytes) -> bytes:
        """Send `request` and read up to the end."""
        async with await self.connect() as stream:
            await stream.send_all(request)
            return await read_all(stream)

    @asynccontextmanager
    async def websocket(self, **options: Any) -> AsyncIterator[WebSocketConnection]:
        """Connect with an independent client, which does not close the stream itself where the server ends it."""
        async with await self.connect() as stream, trio.open_nursery() as nursery:
            client = await wrap_client_stream(nursery, stream, "localhost", "/ws", max_message_size=2**24, **options)
            async with client:
                yield client

    async def upgraded(self, behind: bytes = b"", **options: Any) -> trio.SocketStream:
        """Shake hands by hand, with bytes right behind the handshake; give the stream after the answer's head."""
        stream = await self.raw(**options)
        await stream.send_all(upgrade_request() + behind)
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        return stream

    async def check_alive(self) -> None:
        """See that another client is served as if nothing had been."""
        with trio.fail_after(PATIENCE):
            async with self.websocket() as connection:
                await connection.send_message("still here")
                assert await connection.get_message() == "still here"
            status = b" 200 " if self.transport == QUART else b" 404 "
            assert status in await self.exchange(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")


def upgrade_request(path: str = "/ws", **headers: str | None) -> bytes:
    """Write a WebSocket handshake; a keyword `sec_websocket_key=None` leaves that header out."""
    lines = {
        "host": "x",
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"GET {path} HTTP/1.1\r\n{text}\r\n".encode("latin-1")


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    """Write a client's frame, masked with zeros."""
    if len(payload) < 126:
        length = bytes([0x80 | len(payload)])
    elif len(payload) < 65_536:
        length = b"\xfe" + len(payload).to_bytes(2, "big")
    else:
        length = b"\xff" + len(payload).to_bytes(8, "big")
    return bytes([(0x80 if fin else 0) | rsv << 4 | opcode]) + length + b"\0\0\0\0" + payload


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Read up to the end, a reset included."""
    data = b""
    with trio.fail_after(PATIENCE):
        try:
            while chunk := await stream.receive_some(65_536):
                data += chunk
        except trio.BrokenResourceError:
            pass
    return data


def close_code(data: bytes) -> int:
    """Return the code of the close frame at the end of what a server sent."""
    for length in range(2, 126):
        start = len(data) - length - 2
        if start >= 0 and data[start : start + 2] == bytes([0x88, length]):
            return int.from_bytes(data[start + 2 : start + 4], "big")
    raise AssertionError(f"no close frame at the end of {data[-20:]!r}")


def goodbyes(data: bytes) -> list[Any]:
    """Return the `goodbye` events right before the close frame, at the end of what a server sent."""
    frame, _, _ = data.rpartition(b"\x88")
    start = frame.rfind(b'[{"type":"goodbye"')
    return [] if start < 0 else list(json.loads(frame[start:]))


def build(
    transport: str,
    folder: Path = Path(),
    *,
    outbox_bytes: int = OUTBOX_BYTES,
    shared_port: bool = False,
    handover: Handover | None = None,
    sockets: Mapping[str, int] | None = None,
    **settings: Any,
) -> Transport:
    """Make a transport, by default on a port of the system's."""
    setup = setup_of(
        transport,
        folder,
        outbox_bytes=outbox_bytes,
        shared_port=shared_port,
        handover=handover,
        sockets=sockets,
        **settings,
    )
    return module_of(transport).evanesce_transport(setup)


def module_of(transport: str) -> Any:
    """Return the plugin's module."""
    return {QUART: quart, TRIO_WEBSOCKET: trio_websocket}[transport]


def setup_of(
    transport: str,
    folder: Path = Path(),
    *,
    outbox_bytes: int = OUTBOX_BYTES,
    shared_port: bool = False,
    handover: Handover | None = None,
    sockets: Mapping[str, int] | None = None,
    **settings: Any,
) -> Setup:
    """Make what a transport is built from."""
    return Setup(
        name=transport,
        settings=module_of(transport).evanesce_settings()(**{"bind": "127.0.0.1:0"} | settings),
        folder=folder,
        public_url="http://127.0.0.1:8000",
        origins=(),
        frame_bytes=FRAME_BYTES,
        outbox_bytes=outbox_bytes,
        shared_port=shared_port,
        handover=handover,
        sockets=sockets or {},
    )


@asynccontextmanager
async def listening(
    gateway: FakeGateway,
    transport: str = QUART,
    folder: Path = Path(),
    *,
    outbox_bytes: int = OUTBOX_BYTES,
    tls: ssl.SSLContext | None = None,
    shared_port: bool = False,
    **settings: Any,
) -> AsyncIterator[Listening]:
    """Serve `gateway` on a transport."""
    built = build(transport, folder, outbox_bytes=outbox_bytes, shared_port=shared_port, **settings)
    async with trio.open_nursery() as nursery:
        urls = await nursery.start(built.serve, gateway)
        yield Listening(transport, urls[0], tls, folder)
        nursery.cancel_scope.cancel()
