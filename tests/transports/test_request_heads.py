"""What is not plain HTTP/1.1 is refused before any library sees it, in time, and nobody else notices."""

from __future__ import annotations

import json

import pytest
import trio

from tests.patience import PATIENCE
from tests.transports.serving import TRANSPORTS, FakeGateway, Listening, listening, read_all, upgrade_request

pytestmark = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /ws HTTP/1.1\nHost: x\n\n", 400),
        (b"GET /ws HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nX: \0\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nX: \x1b[31m\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nX: \x7f\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nX\xc3\xa9: y\r\n\r\n", 400),
        (b"GET /w\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nX: a\r\n folded\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\r\nHost: a..b\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET  /ws HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET ftp://x/ws HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http:/ws HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http:///ws HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://a@x/ws HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://a..b/ws HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://x\\y/ws HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://x/ws#a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://x/ws HTTP/1.1\r\n\r\n", 400),
        (b"GET http://x/ws HTTP/1.1\r\nHost: x/y\r\n\r\n", 400),
        (b"GET http://x/ws HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
        (b"GET ws HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT /ws HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # TLS where there is none
        (upgrade_request(transfer_encoding="chunked", content_length="4"), 400),
        (upgrade_request(transfer_encoding="chunked"), 411),
        (upgrade_request().replace(b"HTTP/1.1", b"HTTP/1.0"), 426),
        (upgrade_request().replace(b"HTTP/1.1", b"HTTP/1.2"), 505),
        (upgrade_request().replace(b"HTTP/1.1", b"HTTP/2.0"), 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (upgrade_request(x="x" * 20_000), 431),
        (b"GET /" + b"x" * 20_000, 431),
        (upgrade_request(**{f"x{number}": "" for number in range(96)}), 431),
    ],
)
async def test_strictness(server: Listening, request_: bytes, status: int) -> None:
    answer = await server.exchange(request_)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    head, _, body = answer.partition(b"\r\n\r\n")
    assert json.loads(body).keys() == {"code", "message", "retry"}
    for line in (b"connection: close", b"cache-control: no-store", b"x-content-type-options: nosniff"):
        assert line in head.lower()
    assert b"Traceback" not in answer
    await server.check_alive()


async def test_a_hundred_headers_are_taken(server: Listening) -> None:
    async with await server.raw() as stream:
        await stream.send_all(upgrade_request(**{f"x{number}": "" for number in range(95)}))
        assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 101 ")


async def test_a_head_in_single_bytes(server: Listening) -> None:
    async with await server.raw() as stream:
        for byte in upgrade_request():
            await stream.send_all(bytes([byte]))
        assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("start", [b"", b"GET /ws HTT", upgrade_request()[:-2]])
async def test_a_head_that_never_ends_is_ended(
    server: Listening, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr("evanesce.listening.listener.HEAD_SECONDS", 0.1)
    with trio.fail_after(PATIENCE):
        assert await server.exchange(start) == b""


async def test_partial_refused_and_dropped_clients_leave_no_task_behind(gateway: FakeGateway, transport: str) -> None:
    async with listening(gateway, transport) as server:
        await server.check_alive()
        before = trio.lowlevel.current_statistics().tasks_living
        streams = [await server.raw() for _ in range(60)]
        for stream in streams[::3]:
            await stream.send_all(b"GET / HTTP/2.0\r\n\r\n")
        for stream in streams[1::3]:
            await stream.send_all(upgrade_request())
            assert await stream.receive_some(1000)
        for stream in streams:
            await stream.aclose()
        with trio.fail_after(PATIENCE):
            while trio.lowlevel.current_statistics().tasks_living > before:
                await trio.testing.wait_all_tasks_blocked(0.01)


async def test_who_reads_no_refusal_is_let_go(
    gateway: FakeGateway, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evanesce.listening.stream.LINGER_SECONDS", 0.1)
    async with listening(gateway, transport) as server, await server.raw() as stream:
        await stream.send_all(b"GET / HTTP/2.0\r\n\r\n")
        with trio.fail_after(PATIENCE):
            assert b" 505 " in await read_all(stream)
