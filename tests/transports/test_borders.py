"""Lawful HTTP of browsers and proxies: bytes above 0x7F, forms of the target, HTTP/1.0; the same on both transports."""

from __future__ import annotations

import json

import pytest
import trio

from evanesce.protocol.commands import UpdateProfile
from tests.patience import PATIENCE
from tests.transports.serving import (
    ORIGIN,
    QUART,
    TRANSPORTS,
    FakeGateway,
    Listening,
    listening,
    upgrade_request,
)

pytestmark = pytest.mark.parametrize("transport", TRANSPORTS)

UTF_8, LATIN_1, C1, OTHER = "São".encode(), "São".encode("latin-1"), b"\x80\x85\x9b", b"\xa0\xfe\xff"
ABOVE_ASCII = [UTF_8, LATIN_1, C1, OTHER]
CONTROLS = [b"\0", b"\x07", b"\x1b[31m", b"\x7f", b"a\x0bb"]

READ = [
    b"Authorization",
    b"Connection",
    b"Content-Length",
    b"Expect",
    b"Forwarded",
    b"Host",
    b"Origin",
    b"Sec-WebSocket-Extensions",
    b"Sec-WebSocket-Key",
    b"Sec-WebSocket-Protocol",
    b"Sec-WebSocket-Version",
    b"Transfer-Encoding",
    b"Upgrade",
    b"X-Forwarded-For",
    b"X-Real-IP",
]
NOT_READ = [
    b"Accept",
    b"Accept-Encoding",
    b"Accept-Language",
    b"Baggage",
    b"Content-Type",
    b"Cookie",
    b"If-None-Match",
    b"Range",
    b"Referer",
    b"User-Agent",
    b"Via",
    b"X-Forwarded-Host",
    b"X-Name",
]


def plain(transport: str) -> tuple[bytes, int]:
    """Return a request for no WebSocket, and the status that it gets."""
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    return (request, 200) if transport == QUART else (request, 404)


def with_header(request: bytes, name: bytes, value: bytes) -> bytes:
    """Put a header into a request, in place of one of that name."""
    line, *headers = request.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [header for header in headers if header.partition(b":")[0].lower() != name.lower()]
    return b"\r\n".join([line, *kept, name + b": " + value]) + b"\r\n\r\n"


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer
    return int(answer[9:12])


async def begin(server: Listening, request: bytes) -> bytes:
    """Send a request; give the beginning of the answer, which has its status."""
    async with await server.connect() as stream:
        await stream.send_all(request)
        with trio.fail_after(PATIENCE):
            return bytes(await stream.receive_some(65_536))


@pytest.mark.parametrize("name", NOT_READ)
async def test_bytes_above_ascii_are_taken_where_nothing_reads_them(server: Listening, name: bytes) -> None:
    request, served = plain(server.transport)
    for value in ABOVE_ASCII:
        value = b"city=" + value + b"; theme=dark"
        assert status(await begin(server, with_header(upgrade_request(), name, value))) == 101, value
        assert status(await begin(server, with_header(request, name, value))) == served, value
    for value in CONTROLS:
        assert status(await begin(server, with_header(upgrade_request(), name, value))) == 400, value
        assert status(await begin(server, with_header(request, name, value))) == 400, value


@pytest.mark.parametrize("name", READ)
async def test_bytes_above_ascii_are_refused_where_they_are_read(server: Listening, name: bytes) -> None:
    request, _ = plain(server.transport)
    for value in [*ABOVE_ASCII, *CONTROLS]:
        for whole in (value, b"x, " + value, value + b" x"):
            for sent in (upgrade_request(), request):
                answer = await begin(server, with_header(sent, name, whole))
                assert status(answer) in (400, 501), whole  # 501: a Transfer-Encoding that nobody knows
    await server.check_alive()


async def test_a_refusal_names_the_header_and_not_its_value(server: Listening) -> None:
    answer = await server.exchange(with_header(upgrade_request(), b"Authorization", b"Bearer \xffsecret"))
    assert b"secret" not in answer
    assert "authorization" in json.loads(answer.partition(b"\r\n\r\n")[2])["message"]


# Forms of the target


@pytest.mark.parametrize("target", ["http://x/ws", "HTTPS://x:8000/ws", "http://[::1]:80/ws?a=b", "http://x./ws"])
async def test_an_absolute_target_leads_to_its_path(server: Listening, gateway: FakeGateway, target: str) -> None:
    request = upgrade_request(target).replace(b"host: x", b"host: elsewhere")
    assert status(await begin(server, request)) == 101
    authority = target.partition("://")[2].partition("/")[0]
    assert [host for host, _ in gateway.hosts] == [authority]
    other = upgrade_request(target.replace("/ws", "/other")).replace(b"host: x", b"host: elsewhere")
    assert status(await begin(server, other)) == 404
    request, served = plain(server.transport)
    absolute = target.replace("/ws", "/healthz").encode()
    assert status(await begin(server, request.replace(b"/healthz", absolute))) == served


async def test_the_authority_of_the_target_counts_and_not_the_host(server: Listening, gateway: FakeGateway) -> None:
    gateway.known_hosts = {"here"}
    for target, host, expected in [
        ("http://here/ws", "here", 101),
        ("http://here/ws", "evil.example", 101),
        ("http://evil.example/ws", "here", 421),
        ("http://evil.example/ws", "evil.example", 421),
    ]:
        assert status(await begin(server, upgrade_request(target, host=host))) == expected, (target, host)


async def test_the_server_as_a_whole_is_asked_for_its_methods(server: Listening, gateway: FakeGateway) -> None:
    for target in (b"*", b"http://x", b"https://x:8000"):
        answer = await server.exchange(b"OPTIONS %s HTTP/1.1\r\nHost: x\r\n\r\n" % target)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert (status(answer), body) == (204, b""), target
        assert b"\r\nallow: " in head
        assert b"content-length" not in head
    gateway.known_hosts = set()
    assert status(await server.exchange(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")) == 421


# HTTP/1.0


async def test_a_websocket_through_a_proxy_of_http_1_0_says_what_to_configure(server: Listening) -> None:
    """nginx as it comes: HTTP/1.0, `Connection: close`, no `Upgrade`; and half configured."""
    whole = upgrade_request()
    for request in (
        whole.replace(b"HTTP/1.1", b"HTTP/1.0"),
        with_header(whole.replace(b"HTTP/1.1", b"HTTP/1.0"), b"Connection", b"close").replace(
            b"upgrade: websocket\r\n", b""
        ),
        whole.replace(b"upgrade: websocket\r\n", b""),
        with_header(whole, b"Connection", b"close"),
        with_header(whole, b"Connection", b"close").replace(b"upgrade: websocket\r\n", b""),
    ):
        answer = await server.exchange(request)
        assert status(answer) in (400, 426), request
        message = json.loads(answer.partition(b"\r\n\r\n")[2])["message"]
        assert "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;" in message
        assert ("HTTP/1.0" in message) == (b"HTTP/1.0" in request)
    plain = await server.exchange(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(plain) == 426
    assert b"proxy" not in plain
    assert b"\r\nupgrade: websocket\r\n" in plain


async def test_http_1_0_is_served_where_it_is_no_websocket(server: Listening, gateway: FakeGateway) -> None:
    gateway.known_hosts = {"x"}
    request, served = plain(server.transport)
    request = request.replace(b"HTTP/1.1", b"HTTP/1.0")
    without_host = request.replace(b"Host: x\r\n", b"")
    keeping = request.replace(b"Host", b"Connection: keep-alive\r\nHost")
    for lawful in (request, without_host, keeping):
        answer = await server.exchange(lawful)
        assert status(answer) == served, lawful
        head = answer.partition(b"\r\n\r\n")[0].lower()
        assert b"\r\nconnection: close" in head
        assert b"\r\ntransfer-encoding" not in head
    assert status(await server.exchange(request.replace(b"Host: x", b"Host: evil.example"))) == 421
    assert status(await server.exchange(request.replace(b"Host: x", b"Host: x\r\nHost: x"))) == 400
    assert status(await server.exchange(request.replace(b"Host: x", b"Host:"))) == 400


async def test_the_api_over_http_1_0(gateway: FakeGateway, transport: str) -> None:
    body = b'{"displayName": "Ada"}'
    head = b"PATCH /api/v1/me HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with listening(gateway, transport) as server:
        answer = await server.exchange(head + body)
        if transport == QUART:
            assert status(answer) == 200, answer  # and no 100 before it
            [(command, _, _)] = gateway.executed
            assert isinstance(command, UpdateProfile)
        else:
            assert status(answer) == 404


async def test_an_upgrade_to_something_else_is_ignored(server: Listening) -> None:
    request, served = plain(server.transport)
    for name, value in [
        (b"Upgrade", b"h2c"),
        (b"Upgrade", b"TLS/1.0, h2c"),
        (b"Upgrade", b""),
        (b"HTTP2-Settings", b"AAMAAABkAAQCAAAAAAIAAAAA"),
    ]:
        whole = with_header(with_header(request, name, value), b"Connection", b"Upgrade, HTTP2-Settings")
        assert status(await begin(server, whole)) == served, (name, value)


async def test_a_browser_with_a_neighbours_cookie(server: Listening) -> None:
    headers = {"cookie": "city=S\xc3\xa3o; caf\xe9=\x85", "origin": ORIGIN, "sec_websocket_protocol": "evanesce.v1"}
    async with await server.raw() as stream:
        await stream.send_all(upgrade_request(**headers))
        with trio.fail_after(PATIENCE):
            assert bytes(await stream.receive_some(65_536)).startswith(b"HTTP/1.1 101 ")
