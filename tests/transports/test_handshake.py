"""The WebSocket handshake: who is let in, and the requests that end other servers (C1, C2)."""

from __future__ import annotations

import json

import pytest
import trio

from tests.patience import PATIENCE
from tests.transports.serving import (
    ORIGIN,
    TRANSPORTS,
    FakeGateway,
    Listening,
    listening,
    masked,
    read_all,
    upgrade_request,
)

pytestmark = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 101),
        ({"origin": ORIGIN}, 101),
        ({"origin": f"{ORIGIN}.evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_websocket_protocol": "evanesce.v1"}, 101),
        ({"sec_websocket_protocol": "other, evanesce.v1"}, 101),
        ({"sec_websocket_protocol": "evanesce.v2, other"}, 400),
        ({"sec_websocket_protocol": ", evanesce.v1 ,,"}, 101),
        ({"sec_websocket_protocol": "other\r\nsec-websocket-protocol: evanesce.v1"}, 101),
        ({"sec_websocket_protocol": "EVANESCE.V1"}, 400),
        ({"sec_websocket_version": "8"}, 426),
        ({"sec_websocket_version": None}, 400),
        ({"sec_websocket_version": "8\r\nsec-websocket-version: 13"}, 400),
        ({"sec_websocket_version": "13\r\nsec-websocket-version: 13"}, 400),
        ({"sec_websocket_key": "AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=="}, 400),
        ({"sec_websocket_key": None}, 400),
        ({"sec_websocket_key": "c2hvcnQ="}, 400),
        ({"sec_websocket_key": "not base64 at all"}, 400),
        ({"connection": "keep-alive"}, 400),
        ({"connection": "keep-alive, Upgrade"}, 101),
        ({"connection": "keep-alive\r\nconnection: upgrade"}, 101),
        ({"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2_settings": "AA"}, 426),
        ({"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c, websocket", "http2_settings": "AA"}, 101),
        ({"upgrade": "WebSocket"}, 101),
        ({"upgrade": "websocket2"}, 426),
        ({"upgrade": "h2c"}, 426),
        ({"upgrade": None}, 426),
        ({"upgrade": ""}, 426),
        ({"upgrade": "h2c, websocket"}, 101),
        ({"upgrade": "WEBSOCKET ,h2c"}, 101),
        ({"upgrade": "h2c\r\nupgrade: websocket"}, 101),
        ({"origin": f"{ORIGIN}\r\norigin: https://evil.example"}, 403),
        ({"content_length": "5"}, 400),
        ({"host": None}, 400),
        ({"host": "a..b"}, 400),
        ({"host": "xn--a"}, 400),
        ({"sec_websocket_extensions": "permessage-deflate; client_max_window_bits"}, 101),
        # C1: wsproto reads these as ASCII and raises UnicodeDecodeError
        ({"sec_websocket_protocol": "\xff"}, 400),
        ({"connection": "Upgrade, \xff"}, 400),
        ({"sec_websocket_extensions": "\xff"}, 400),
        ({"host": "\xff"}, 400),
    ],
)
async def test_handshakes(server: Listening, headers: dict[str, str | None], status: int) -> None:
    async with await server.raw() as stream:
        await stream.send_all(upgrade_request(**headers))
        answer = bytes(await stream.receive_some(65_536))
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer
        assert b"\r\nsec-websocket-extensions:" not in answer.lower()
        assert (b"sec-websocket-protocol: evanesce.v1" in answer.lower()) == (
            status == 101 and "sec_websocket_protocol" in headers
        )
        if status == 426:
            assert b"sec-websocket-version: 13" in answer.lower()
        if status != 101:
            assert b'"code"' in answer
            assert await read_all(stream) == b""
    await server.check_alive()


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        (None, b"The request needs one Sec-WebSocket-Version header."),
        ("13\r\nsec-websocket-version: 13", b"The request needs one Sec-WebSocket-Version header."),
        ("8", b"Sec-WebSocket-Version has to be 13."),
    ],
)
async def test_a_refusal_says_what_is_wrong_with_the_version(
    server: Listening, version: str | None, problem: bytes
) -> None:
    assert problem in await server.exchange(upgrade_request(sec_websocket_version=version))


async def test_only_the_endpoint_and_only_by_get(server: Listening) -> None:
    assert b" 404 " in await server.exchange(upgrade_request("/other"))
    assert b" 400 " in await server.exchange(upgrade_request().replace(b"GET", b"POST"))
    plain = await server.exchange(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b" 426 " in plain


@pytest.mark.parametrize("offered", ["", " ", ",", " , ,"])
async def test_an_empty_list_of_subprotocols_is_none(server: Listening, offered: str) -> None:
    async with await server.raw() as stream:
        await stream.send_all(upgrade_request(sec_websocket_protocol=offered))
        answer = bytes(await stream.receive_some(65_536))
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"sec-websocket-protocol" not in answer.lower()


async def test_a_refused_handshake_names_the_field_and_is_as_any_answer(server: Listening) -> None:
    head, _, body = (await server.exchange(upgrade_request(sec_websocket_protocol="other"))).partition(b"\r\n\r\n")
    assert json.loads(body) == {
        "code": "bad_request",
        "message": "This server supports only evanesce.v1.",
        "field": "Sec-WebSocket-Protocol",
        "retry": False,
    }
    assert b"x-content-type-options: nosniff" in head


async def test_bytes_right_behind_the_handshake(server: Listening) -> None:
    """C2: hypercorn #225."""
    async with await server.upgraded(masked(1, b"one") + masked(1, b"two") + masked(8)) as stream:
        assert await read_all(stream) == b"\x81\x03one\x81\x03two\x88\x00"
    await server.check_alive()


async def test_the_bearer_token_reaches_the_server(server: Listening, gateway: FakeGateway) -> None:
    headers = [(b"authorization", b"Bearer abc.def")]
    async with server.websocket(extra_headers=headers):
        pass
    async with server.websocket(extra_headers=[(b"authorization", b"Basic abc")]):
        pass
    assert gateway.bearers == ["abc.def", None]


async def test_a_draining_server_lets_nobody_in(server: Listening, gateway: FakeGateway) -> None:
    gateway.draining = True
    answer = await server.exchange(upgrade_request())
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in answer.lower()
    assert gateway.connections == []


async def test_a_rejected_client_that_stays_is_let_go(server: Listening) -> None:
    async with await server.raw() as stream:
        await stream.send_all(upgrade_request(origin="https://evil.example"))
        with trio.fail_after(PATIENCE):
            assert b" 403 " in await read_all(stream)


@pytest.mark.parametrize(
    ("trusted", "forwarded", "address"),
    [
        ((), "203.0.113.9", "127.0.0.1"),
        (("127.0.0.0/8",), "203.0.113.9", "203.0.113.9"),
        (("127.0.0.1", "10.0.0.0/8"), "1.1.1.1, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
    ],
)
async def test_the_address_behind_proxies(
    gateway: FakeGateway, transport: str, trusted: tuple[str, ...], forwarded: str, address: str
) -> None:
    async with listening(gateway, transport, trusted_proxies=trusted) as server:
        headers = [(b"x-forwarded-for", forwarded.encode())]
        async with server.websocket(extra_headers=headers):
            pass
    assert [connection.address for connection in gateway.connections] == [address]
