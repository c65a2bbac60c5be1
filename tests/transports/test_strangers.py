"""What one address may begin on a transport, and under which host it may be asked: real sockets, both transports."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from tests.core.store.backends import eventually
from tests.patience import PATIENCE
from tests.transports.serving import (
    QUART,
    TRANSPORTS,
    FakeGateway,
    Listening,
    address_limits,
    listening,
    read_all,
    upgrade_request,
)


class Clock:
    """A clock that stands still, so that no request is allowed because the machine was slow."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


on_each = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """Write a certificate of 127.0.0.1 to `server.pem`; give a client's context that trusts it."""
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def ask(server: Listening, request: bytes = b"", *, source: str | None = None) -> tuple[int, dict[str, str], Any]:
    """Send a request, from the address `source`; give status (0: a reset), headers and body as JSON."""
    sock = trio.socket.socket()
    try:
        await sock.bind((source or "127.0.0.1", 0))
        await sock.connect((server.host, server.port))
    except ConnectionResetError:
        sock.close()
        return 0, {}, None
    stream: trio.abc.Stream = trio.SocketStream(sock)
    if server.tls is not None:
        stream = trio.SSLStream(stream, server.tls, server_hostname=server.host, https_compatible=True)
    async with stream:
        try:
            await stream.send_all(request or upgrade_request())
            data = b""
            with trio.fail_after(PATIENCE):
                while b"\r\n\r\n" not in data:
                    chunk = await stream.receive_some(4096)
                    if not chunk:
                        break
                    data += chunk
                head, _, body = data.partition(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 101"):
                    body += await read_all(stream)
        except trio.BrokenResourceError:
            return 0, {}, None
    if not head:
        return 0, {}, None
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    is_json = headers.get("content-type") == "application/json"
    return int(lines[0].split()[1]), headers, json.loads(body) if is_json else None


def head(path: str = "/healthz", method: str = "GET", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in ({"host": "x"} | headers).items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode()


# How many requests an address begins


@on_each
@pytest.mark.parametrize("secure", [False, True])
async def test_too_many_requests_are_answered_with_429(
    gateway: FakeGateway, transport: str, tls: ssl.SSLContext, tmp_path: Path, secure: bool
) -> None:
    clock = Clock()
    gateway.address_limits = address_limits(handshakes=2, exempt=(), clock=clock)
    certificate = {"tls": tls, "certfile": "server.pem"} if secure else {}
    async with listening(gateway, transport, tmp_path, **certificate) as server:
        for _ in range(4):
            assert (await ask(server))[0] == 101
        status, headers, body = await ask(server)
        assert status == 429
        assert body["code"] == "rate_limited"
        assert 0 < body["retryAfter"] <= 0.5
        assert headers["retry-after"] == "1"
        assert (await ask(server, source="127.0.0.9"))[0] == 101, "another address"
        if transport == QUART:
            assert (await ask(server, head()))[0] == 429
            assert (await ask(server, head("/api/v1/rooms", "POST", content_length="65536")))[0] == 429
        clock.now += body["retryAfter"]
        assert (await ask(server))[0] == 101
        await eventually(lambda: len(gateway.connections) == 6)


@on_each
async def test_a_flood_of_refused_clients_is_reset(gateway: FakeGateway, transport: str) -> None:
    gateway.address_limits = address_limits(handshakes=1, exempt=(), clock=Clock())
    async with listening(gateway, transport) as server:
        statuses = [(await ask(server))[0] for _ in range(100)]
        assert statuses[:2] == [101, 101]
        assert statuses.count(429) >= 20
        assert statuses.count(0) >= 40
        assert (await ask(server, source="127.0.0.9"))[0] == 101


@on_each
async def test_exempt_addresses_are_not_bound(gateway: FakeGateway, transport: str) -> None:
    gateway.address_limits = address_limits(handshakes=1, connections=1)
    async with listening(gateway, transport) as server, AsyncExitStack() as stack:
        for _ in range(5):
            stream = await server.upgraded()
            await stack.enter_async_context(stream)


# How many connections an address has


@on_each
@pytest.mark.parametrize("request_", [b"", b"GET", upgrade_request()], ids=["silent", "half a head", "websocket"])
async def test_an_address_has_so_many_connections(gateway: FakeGateway, transport: str, request_: bytes) -> None:
    gateway.address_limits = address_limits(connections=2, handshakes=1000, exempt=())
    async with listening(gateway, transport) as server:
        held = [await server.raw() for _ in range(2)]
        for stream in held:
            await stream.send_all(request_)
        status, headers, body = await ask(server)
        assert status == 429
        assert body["code"] == "rate_limited"
        assert headers["retry-after"] == "5"
        assert (await ask(server, source="127.0.0.9"))[0] == 101, "another address"
        await held[0].aclose()
        with trio.fail_after(PATIENCE):
            while (await ask(server))[0] != 101:  # noqa: ASYNC110  nothing tells that the server noticed
                await trio.sleep(0.05)
        await held[1].aclose()
        with trio.fail_after(PATIENCE):
            while gateway.address_limits._connections:  # noqa: ASYNC110  nothing tells that the server noticed
                await trio.sleep(0.01)


# Behind a proxy


@asynccontextmanager
async def behind_proxy(
    gateway: FakeGateway, transport: str, trusted: Sequence[str] = ("127.0.0.1",)
) -> AsyncIterator[Listening]:
    async with listening(gateway, transport, trusted_proxies=tuple(trusted)) as server:
        yield server


@on_each
async def test_a_trusted_proxy_is_not_bound_but_its_clients_are(gateway: FakeGateway, transport: str) -> None:
    gateway.address_limits = address_limits(connections=2, handshakes=5, exempt=(), clock=Clock())
    async with behind_proxy(gateway, transport) as server, AsyncExitStack() as stack:
        for number in range(20):
            status, _, _ = await ask(server, upgrade_request(x_forwarded_for=f"203.0.113.{number}"))
            assert status == 101
        for _ in range(20):
            assert (await ask(server))[0] == 101, "a proxy that names no client"
        for _ in range(2):
            stream = await stack.enter_async_context(await server.raw())
            await stream.send_all(upgrade_request(x_forwarded_for="2001:db8::1"))
            assert (await stream.receive_some(12)) == b"HTTP/1.1 101"
        status, _, body = await ask(server, upgrade_request(x_forwarded_for="2001:db8::2"))
        assert (status, body["code"]) == (429, "rate_limited")
        for _ in range(7):
            await ask(server, upgrade_request(x_forwarded_for="2001:db8::2"))
        status, headers, _ = await ask(server, upgrade_request(x_forwarded_for="2001:db8::3"))
        assert (status, headers["retry-after"]) == (429, "1"), "its rate"
        assert (await ask(server, upgrade_request(x_forwarded_for="2001:db8:0:1::1")))[0] == 101


@on_each
async def test_a_proxy_that_is_not_trusted_is_one_address(gateway: FakeGateway, transport: str) -> None:
    gateway.address_limits = address_limits(handshakes=1, exempt=(), clock=Clock())
    async with listening(gateway, transport) as server:
        statuses = [
            (await ask(server, upgrade_request(x_forwarded_for=f"203.0.113.{number}")))[0] for number in range(4)
        ]
    assert statuses == [101, 101, 429, 429]


# Hosts


@on_each
async def test_a_foreign_host_is_misdirected(gateway: FakeGateway, transport: str) -> None:
    gateway.known_hosts = {"chat.example"}
    async with listening(gateway, transport) as server:
        assert (await ask(server, upgrade_request(host="chat.example")))[0] == 101
        status, _, body = await ask(server, upgrade_request(host="evil.example"))
        assert (status, body["code"]) == (421, "forbidden")
        assert "server.public_url" in body["message"]
        assert "server.origins" in body["message"]
        assert "evil.example" not in body["message"]
    assert gateway.hosts == [("chat.example", "127.0.0.1"), ("evil.example", "127.0.0.1")]
    assert len(gateway.connections) == 1


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        ("/", "evil.example", 421),
        ("/metrics", "evil.example", 421),
        ("/api/v1/me", "evil.example", 421),
        ("/static/chat.js", "192.0.2.1", 421),
        ("/metrics", "192.0.2.1:8000", 421),
        ("/healthz", "evil.example", 421),
        ("/readyz", "evil.example:80", 421),
        ("/healthz", "192.0.2.1:8000", 200),
        ("/readyz?verbose=1", "[2001:db8::1]:8000", 200),
        ("/healthz", "localhost", 421),
        ("/healthz", "chat.example", 200),
    ],
)
async def test_hosts_over_http(gateway: FakeGateway, path: str, host: str, status: int) -> None:
    gateway.known_hosts = {"chat.example"}
    async with listening(gateway, QUART) as server:
        assert (await ask(server, head(path, host=host)))[0] == status


async def test_a_foreign_host_reaches_no_command(gateway: FakeGateway) -> None:
    gateway.known_hosts = set()
    async with listening(gateway, QUART) as server:
        body = b'{"provider": "guest", "displayName": "Eve"}'
        request = head("/api/v1/session", "POST", host="evil.example", content_length=str(len(body))) + body
        assert (await ask(server, request))[0] == 421
    assert gateway.local == []


# Who is on this machine


@pytest.mark.parametrize(
    ("headers", "local"),
    [
        ({}, True),
        ({"x_forwarded_for": "127.0.0.1"}, False),
        ({"forwarded": "for=127.0.0.1"}, False),
        ({"via": "1.1 proxy"}, False),
        ({"x_real_ip": "127.0.0.1"}, False),
    ],
)
async def test_locality_of_each_request(gateway: FakeGateway, headers: dict[str, str], local: bool) -> None:
    async with listening(gateway, QUART) as server:
        await ask(server, head("/api/v1/me", **headers))
        body = b'{"provider": "guest"}'
        await ask(server, head("/api/v1/session", "POST", content_length=str(len(body)), **headers) + body)
        assert gateway.local == [local, local]
        assert (await ask(server, head("/metrics", **headers)))[0] == (200 if local else 403)


@on_each
@pytest.mark.parametrize(("forwarded", "local"), [(None, True), ("127.0.0.1", False)])
async def test_locality_and_age_of_a_connection(
    gateway: FakeGateway, transport: str, forwarded: str | None, local: bool
) -> None:
    async with listening(gateway, transport) as server:
        before = trio.current_time()
        async with await server.raw() as stream:
            await trio.sleep(0.2)
            await stream.send_all(upgrade_request(x_forwarded_for=forwarded))
            await stream.receive_some(12)
            with trio.fail_after(PATIENCE):
                while not gateway.connections:  # noqa: ASYNC110  the answer may come before
                    await trio.sleep(0.01)
            [connection] = gateway.connections
            assert connection.local is local
            [connected_at] = gateway.connected_at
            assert connected_at is not None
            assert before <= connected_at < trio.current_time() - 0.15
