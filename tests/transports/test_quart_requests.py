"""HTTP requests beyond their heads: bodies, what Hypercorn is given, refusals that pages can read, time limits."""

from __future__ import annotations

import json

import pytest
import trio

from evanesce.interfaces import HttpRequest, HttpResponse, HttpRoute
from tests.patience import PATIENCE
from tests.transports.serving import ORIGIN, FakeGateway, Listening, listening, read_all, upgrade_request


async def never(request: HttpRequest) -> HttpResponse:
    await trio.sleep_forever()
    raise AssertionError("unreachable")


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer
    return int(answer[9:12])


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\tb\r\n\r\n", 200),
        (b"GET //[ HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n", 200),
        (
            b"POST /api/v1/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (b"POST /api/v1/rooms HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST /api/v1/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST /api/v1/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na", 400),
        (b"POST /api/v1/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n", 413),
        (b"POST /api/v1/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999999999\r\n\r\n", 413),
        (b"GET /healthz HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nHost: xn--\r\n\r\n", 200),
        (b"GET /a%0d%0aFAKE HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /a%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /healthz?a=%ff HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"FROB /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    ],
)
async def test_strictness(server: Listening, request_: bytes, expected: int) -> None:
    answer = await server.exchange(request_)
    assert status(answer) == expected
    if expected >= 400:
        body = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert body.keys() == {"code", "message", "retry"}
        assert b"Traceback" not in answer
    assert b"hypercorn" not in answer.lower()
    await server.check_alive()


def bad(start: bytes, *lines: bytes, end: bytes = b"\r\n\r\n") -> bytes:
    return b"\r\n".join([start + b" HTTP/1.1", b"Host: x", b"oRiGiN: %s" % ORIGIN.encode(), *lines]) + end


@pytest.mark.parametrize(
    ("request_", "expected", "code"),
    [
        (bad(b"GET /api/v1/me", b"X: \x7f"), 400, "bad_frame"),
        (bad(b"POST /api/v1/rooms", b"Transfer-Encoding: chunked"), 411, "bad_frame"),
        (bad(b"POST /api/v1/rooms", b"Content-Length: 65537"), 413, "bad_frame"),
        (bad(b"POST /api/v1/rooms", b"Content-Length: 9"), 408, "bad_frame"),
        (bad(b"GET /api/v1/rooms?x=y", b"X: " + b"x" * 20_000), 431, "bad_frame"),
        (bad(b"GET /api/v1/me", b"Connection: Upgrade", b"Upgrade: websocket"), 404, "unknown_type"),
        (upgrade_request("/api/v1/me", origin=ORIGIN), 404, "unknown_type"),
        (bad(b"GET /api/v1/slow"), 503, "internal"),
        (bad(b"GET /api/v1/nothing"), 404, "unknown_type"),
        (bad(b"PUT /api/v1/me"), 405, "unknown_type"),
    ],
)
async def test_every_refusal_can_be_read_by_the_pages_that_may(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, request_: bytes, expected: int, code: str
) -> None:
    if expected == 408:
        monkeypatch.setattr("evanesce_transports.request.BODY_SECONDS", 0.1)
    if expected == 503:
        monkeypatch.setattr("evanesce_transports.quart.transport.REQUEST_SECONDS", 0.1)
    gateway.routes = [HttpRoute("GET", "/api/v1/slow", never)]
    async with listening(gateway) as server:
        answer = await server.exchange(request_)
        stranger = await server.exchange(request_.replace(ORIGIN.encode(), b"https://evil.example"))
    assert status(answer) == status(stranger) == expected
    head, _, body = answer.partition(b"\r\n\r\n")
    assert json.loads(body)["code"] == code
    for line in (
        f"access-control-allow-origin: {ORIGIN}",
        "access-control-expose-headers: Retry-After",
        "vary: Origin",
        "cache-control: no-store",
        "content-security-policy: default-src 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
    ):
        assert head.count(f"\r\n{line}".encode()) == 1, line
    assert b"access-control-" not in stranger.lower()


async def test_only_the_api_is_for_other_pages(server: Listening) -> None:
    answer = await server.exchange(bad(b"GET /healthz", b"X: \x7f"))
    assert status(answer) == 400
    assert b"nosniff" in answer
    assert b"access-control-" not in answer


async def test_a_head_in_single_bytes(server: Listening) -> None:
    async with await server.raw() as stream:
        for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n":
            await stream.send_all(bytes([byte]))
        assert status(await read_all(stream)) == 200


async def test_one_request_to_a_connection(server: Listening) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"
    answer = await server.exchange(request * 3)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert b"connection: close" in answer.lower()


async def test_a_body_that_never_ends_is_ended(server: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evanesce_transports.request.BODY_SECONDS", 0.1)
    with trio.fail_after(PATIENCE):
        request = b"POST /api/v1/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"
        assert status(await server.exchange(request)) == 408


async def test_a_body_that_is_cut_short(server: Listening, gateway: FakeGateway) -> None:
    async with await server.raw() as stream:
        await stream.send_all(b"PATCH /api/v1/me HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{}")
        await stream.send_eof()
        assert status(await read_all(stream)) == 400
    assert gateway.executed == []


async def test_continue(server: Listening) -> None:
    async with await server.raw() as stream:
        await stream.send_all(
            b"POST /api/v1/rooms HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        assert await stream.receive_some(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        await stream.send_all(b"{}")
        assert status(await read_all(stream)) == 201


async def test_a_client_that_half_closes_gets_its_answer(server: Listening) -> None:
    async with await server.raw() as stream:
        await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await stream.send_eof()
        assert status(await read_all(stream)) == 200


async def test_a_request_that_takes_too_long(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evanesce_transports.quart.transport.REQUEST_SECONDS", 0.1)
    gateway.routes = [HttpRoute("GET", "/slow", never)]
    async with listening(gateway) as server:
        assert status(await server.exchange(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")) == 503
        monkeypatch.undo()
        await server.check_alive()
