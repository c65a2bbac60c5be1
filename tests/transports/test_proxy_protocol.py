"""The PROXY protocol: its headers, valid and hostile, and transports that require one."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
import trustme

from evanesce.errors import ConfigurationError
from evanesce.listening.proxy_header import BLOCK_BYTES, receive_proxy_header
from tests.patience import PATIENCE
from tests.transports.serving import (
    TRANSPORTS,
    FakeGateway,
    Listening,
    address_limits,
    build,
    listening,
    read_all,
    upgrade_request,
)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
TCP4, TCP6, UNIX = 0x11, 0x21, 0x31
LONGEST = ":".join(["ffff"] * 8)

on_each = pytest.mark.parametrize("transport", TRANSPORTS)


def v1(source: str) -> bytes:
    family = f"TCP{ipaddress.ip_address(source).version}"
    target = "192.0.2.1" if family == "TCP4" else "2001:db8::1"
    return f"PROXY {family} {source} {target} 40000 443\r\n".encode()


def v2(source: str, *, command: int = PROXY, fields: bytes = b"") -> bytes:
    address = ipaddress.ip_address(source)
    target = ipaddress.ip_address("192.0.2.1" if address.version == 4 else "2001:db8::1")
    kind = TCP4 if address.version == 4 else TCP6
    return block(kind, address.packed + target.packed + b"\x9c\x40\x01\xbb" + fields, command=command)


def block(kind: int, content: bytes = b"", *, command: int = PROXY, length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    return SIGNATURE + bytes([command, kind]) + size.to_bytes(2, "big") + content


VALID: Sequence[tuple[bytes, str | None]] = [
    (v1("203.0.113.9"), "203.0.113.9"),
    (v1("2001:db8::9"), "2001:db8::9"),
    (f"PROXY TCP6 {LONGEST} {LONGEST} 65535 65535\r\n".encode(), LONGEST),
    (b"PROXY UNKNOWN\r\n", "unknown"),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "unknown"),
    (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", "unknown"),
    (v2("203.0.113.9"), "203.0.113.9"),
    (v2("2001:db8::9"), "2001:db8::9"),
    (v2("203.0.113.9", fields=b"\x01\x00\x02h2\x20\xff\xff"), "203.0.113.9"),  # the second one has an invalid length
    (v2("203.0.113.9", fields=bytes(BLOCK_BYTES - 12)), "203.0.113.9"),
    (v2("203.0.113.9", command=LOCAL), None),
    (block(0, command=LOCAL), None),
    (block(0xFF, b"anything", command=LOCAL), None),
    (block(0), "unknown"),
    (block(0, b"anything"), "unknown"),
    (block(UNIX, bytes(216)), "unknown"),
    (block(0x12, bytes(12)), "0.0.0.0"),
]

INVALID = [
    b"",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    b"PROXY \r\n" + bytes(20),
    b"PROXY TCP4\r\nGET / HTTP/1.1\r\n\r\n",
    b"proxy TCP4 203.0.113.9 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 1 2\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 1 2 3\r\n",
    b"PROXY TCP4  203.0.113.9 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 1\r\n",
    b"PROXY TCP4 203.0.113.09 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
    b"PROXY TCP4 203.0.113.9 nonsense 1 2\r\n",
    b"PROXY TCP6 fe80::1%eth0 fe80::2%eth0 1 2\r\n",
    b"PROXY TCP6 203.0.113.9 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 +1 2\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 1_0 2\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 65536 2\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 1 000002\r\n",
    "PROXY TCP4 203.0.113.9 192.0.2.1 ² 2\r\n".encode(),
    b"PROXY UDP4 203.0.113.9 192.0.2.1 1 2\r\n",
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    b"PROXY UNKNOWN " + b"x" * 100_000,
    b"PROXY TCP4 203.0.113.9 192",
    SIGNATURE,
    SIGNATURE[:-1] + b"!" + bytes(100),
    SIGNATURE + b"\x21\x11\x00",
    v2("203.0.113.9")[:-1],
    block(TCP4, bytes(11)),
    block(TCP6, bytes(12)),
    block(UNIX, bytes(215)),
    block(0x41, bytes(300)),
    block(0x13, bytes(12)),
    block(TCP4, bytes(12), command=0x22),
    block(TCP4, bytes(12), command=0x11),
    block(TCP4, bytes(12), length=13),
    block(TCP4, bytes(BLOCK_BYTES + 1)),
    block(TCP4, bytes(12), length=0xFFFF),
    block(0, command=LOCAL, length=BLOCK_BYTES + 1),
]


async def receive(data: bytes, *, parts: int) -> tuple[str | ValueError | None, bytes]:
    """Return what the header says or why it is none, and what follows, of data that comes in parts of this size."""
    theirs, ours = trio.socket.socketpair()
    stream = trio.SocketStream(theirs)
    with theirs, ours:
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                try:
                    for start in range(0, len(data), parts):
                        await stream.send_all(data[start : start + parts])
                        await trio.testing.wait_all_tasks_blocked()
                    await stream.send_eof()
                except trio.BrokenResourceError:
                    pass  # it was refused before all was sent

            nursery.start_soon(send)
            with trio.fail_after(PATIENCE):
                named: str | ValueError | None
                try:
                    named = await receive_proxy_header(ours)
                    rest = await read_all(trio.SocketStream(ours))
                except ValueError as error:
                    named, rest = error, b""
            nursery.cancel_scope.cancel()
    return named, rest


@pytest.mark.parametrize("parts", [1, 10_000])
@pytest.mark.parametrize(("header", "expected"), VALID)
async def test_valid_headers(header: bytes, expected: str | None, parts: int) -> None:
    behind = b"PROXY TCP4 \r\n\x16\x03 what follows is for others"
    if parts == 1 and len(header) > 200:
        parts = 100
    assert await receive(header + behind, parts=parts) == (expected, behind)


@pytest.mark.parametrize("parts", [1, 10_000])
@pytest.mark.parametrize("data", INVALID)
async def test_hostile_ones(data: bytes, parts: int) -> None:
    refusal, _ = await receive(data, parts=parts if len(data) < 200 else 50_000)
    assert isinstance(refusal, ValueError)
    assert str(refusal) in {"no PROXY header", "an invalid PROXY header", "a PROXY header without its end"}


@asynccontextmanager
async def handshake(server: Listening, header: bytes, **headers: str) -> AsyncIterator[int]:
    """Shake hands, and return the status of the response; the connection lasts as long as the context."""
    async with await server.raw() as stream:
        await stream.send_all(header + upgrade_request(**headers))
        with trio.fail_after(PATIENCE):
            status = int((await stream.receive_some(12)).split()[1])
        yield status


@on_each
@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:chat.sock"])
@pytest.mark.parametrize(
    ("header", "headers", "expected"),
    [
        (v1("203.0.113.9"), {}, ("203.0.113.9", False)),
        (v2("2001:db8::9"), {}, ("2001:db8::9", False)),
        (v2("203.0.113.9"), {"x_forwarded_for": "198.51.100.1"}, ("203.0.113.9", False)),
        (v1("203.0.113.9"), {"forwarded": "for=127.0.0.1"}, ("203.0.113.9", False)),
        (v2("10.0.0.1"), {"x_forwarded_for": "198.51.100.1"}, ("198.51.100.1", False)),  # a proxy before the proxy
        (v2("127.0.0.1"), {}, ("127.0.0.1", True)),
        (b"PROXY UNKNOWN\r\n", {"x_forwarded_for": "127.0.0.1"}, ("unknown", False)),
        (block(0), {"x_forwarded_for": "127.0.0.1"}, ("unknown", False)),
    ],
)
async def test_whose_connection_it_is(
    gateway: FakeGateway,
    transport: str,
    tmp_path: Path,
    bind: str,
    header: bytes,
    headers: dict[str, str],
    expected: tuple[str, bool],
) -> None:
    trusted = ("unix:", "127.0.0.1", "10.0.0.0/8")
    async with (
        listening(gateway, transport, tmp_path, bind=bind, proxy_protocol=True, trusted_proxies=trusted) as server,
        handshake(server, header, **headers) as status,
    ):
        assert status == 101
    [connection] = gateway.connections
    assert (connection.address, connection.local) == expected


@on_each
async def test_the_proxy_itself(gateway: FakeGateway, transport: str) -> None:
    gateway.address_limits = address_limits(connections=1, exempt=())
    async with listening(gateway, transport, proxy_protocol=True, trusted_proxies=("127.0.0.1",)) as server:
        for _ in range(3):
            async with handshake(server, block(0, command=LOCAL)) as status:
                assert status == 101
    assert {(connection.address, connection.local) for connection in gateway.connections} == {("127.0.0.1", True)}


@on_each
async def test_each_client_has_its_own_limits(gateway: FakeGateway, transport: str) -> None:
    gateway.address_limits = address_limits(connections=1, exempt=())
    async with (
        listening(gateway, transport, proxy_protocol=True, trusted_proxies=("127.0.0.1",)) as server,
        AsyncExitStack() as stack,
    ):
        for header in (v1("203.0.113.9"), v2("2001:db8::9"), b"PROXY UNKNOWN\r\n"):
            assert await stack.enter_async_context(handshake(server, header)) == 101
        for header in (v2("203.0.113.9"), v1("2001:db8::8"), block(0)):
            assert await stack.enter_async_context(handshake(server, header, x_forwarded_for="198.51.100.1")) == 429


@on_each
async def test_connections_without_a_header_or_from_elsewhere_are_refused(
    gateway: FakeGateway, transport: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(gateway, transport, proxy_protocol=True, trusted_proxies=("127.0.0.1",)) as server:
        for data in (upgrade_request(), b"PROXY TCP4 x\r\n" + upgrade_request()):
            async with await server.raw() as stream:
                await stream.send_all(data)
                assert await read_all(stream) == b""
        monkeypatch.setattr("evanesce.listening.listener.HEAD_SECONDS", 0.2)
        async with await server.raw() as stream:
            await stream.send_all(b"PROXY TCP4 ")
            assert await read_all(stream) == b""
        monkeypatch.undo()
        async with handshake(server, v1("203.0.113.9")) as status:
            assert status == 101
    assert "a connection from 127.0.0.1 is refused: no PROXY header" in caplog.text
    async with listening(gateway, transport, proxy_protocol=True, trusted_proxies=("10.0.0.1", "unix:")) as server:
        with suppress(ConnectionResetError):  # the reset may come before the client knows that it is connected
            async with await server.raw() as stream:
                assert await read_all(stream) == b""
    assert f"a connection from 127.0.0.1 is refused: plugins.{transport}.trusted_proxies lacks it" in caplog.text
    assert len(gateway.connections) == 1


@on_each
async def test_tls_follows_it(gateway: FakeGateway, transport: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    settings = {"certfile": "server.pem", "proxy_protocol": True, "trusted_proxies": ("127.0.0.1",)}
    async with listening(gateway, transport, tmp_path, tls=context, **settings) as server:
        for header in (v1("203.0.113.9"), v2("203.0.113.9")):
            raw = await server.raw()
            await raw.send_all(header)
            async with trio.SSLStream(raw, context, server_hostname="127.0.0.1", https_compatible=True) as stream:
                await stream.send_all(upgrade_request())
                with trio.fail_after(PATIENCE):
                    assert (await stream.receive_some(12)).endswith(b" 101")
    assert [connection.address for connection in gateway.connections] == ["203.0.113.9"] * 2


@on_each
def test_it_needs_a_trusted_proxy(transport: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        build(transport, proxy_protocol=True)
    assert wrong.value.path == f"plugins.{transport}.proxy_protocol"
