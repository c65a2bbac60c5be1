"""Real sockets while an identity provider hangs: pings are answered, and a socket goes when its client goes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio

from evanesce.config.model import LimitsTable, ServerTable
from evanesce.interfaces import Answered, Caller
from evanesce.model import Identity
from evanesce.testing.server import NameAuthenticator, memory_server
from tests.patience import PATIENCE, Stopwatch
from tests.transports.serving import QUART, TRANSPORTS, FakeGateway, Listening, close_code, listening, masked, read_all

HELLO = masked(1, json.dumps({"type": "hello", "credential": {"provider": "name", "name": "Ada"}}).encode())
PING, PONG = masked(9, b"there?"), b"\x8a\x06there?"

NAMED = ServerTable(secret="a-secret-for-tests-of-more-than-32-characters", public_url="http://x")
"""A server of the name that requests give as their Host here."""


class HangingAuthenticator(NameAuthenticator):
    """Hangs; `asked` is set by the first call, `cancelled` when one was cancelled."""

    timeout = 60.0

    def __init__(self) -> None:
        self.asked = trio.Event()
        self.cancelled = trio.Event()

    async def authenticate(self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None) -> Identity:
        self.asked.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()
        raise AssertionError("unreachable")


@asynccontextmanager
async def hanging(transport: str, hello_seconds: float = 10) -> AsyncIterator[tuple[Listening, HangingAuthenticator]]:
    authenticator = HangingAuthenticator()
    limits = LimitsTable(hello_seconds=hello_seconds)
    async with (
        memory_server(authenticators={"name": authenticator}, limits=limits, server=NAMED) as server,
        listening(cast(FakeGateway, server.gateway), transport) as listener,
    ):
        yield listener, authenticator


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_pings_are_answered_meanwhile(transport: str) -> None:
    async with hanging(transport) as (listener, authenticator):
        stream = await listener.upgraded(HELLO)
        with trio.fail_after(PATIENCE):
            await authenticator.asked.wait()
            for _ in range(3):
                await stream.send_all(PING)
                data = b""
                while len(data) < len(PONG):
                    data += await stream.receive_some()
                assert data == PONG
        await stream.aclose()


@pytest.mark.parametrize("abrupt", [False, True])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_work_ends_when_the_client_goes(transport: str, abrupt: bool) -> None:
    async with hanging(transport) as (listener, authenticator):
        stream = await listener.upgraded(HELLO)
        with trio.fail_after(PATIENCE):
            await authenticator.asked.wait()
            if not abrupt:
                await stream.send_all(masked(8, b"\x03\xe8"))
                assert close_code(await read_all(stream)) == 1000
            await stream.aclose()
            await authenticator.cancelled.wait()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_that_says_nothing_more_is_closed_in_time(transport: str) -> None:
    async with hanging(transport, hello_seconds=1) as (listener, authenticator):
        stream = await listener.upgraded(HELLO)
        stopwatch = Stopwatch()
        async with stream:
            data = await read_all(stream)
        assert close_code(data) == 4408
        assert stopwatch.seconds() < 1 + 2 + 1, "with the closing handshake, for which it does not wait longer"
        assert authenticator.cancelled.is_set()


async def test_a_request_is_answered_in_the_providers_time() -> None:
    authenticator = HangingAuthenticator()
    authenticator.timeout = 0.5
    async with (
        memory_server(authenticators={"name": authenticator}, server=NAMED) as server,
        listening(cast(FakeGateway, server.gateway), QUART) as listener,
    ):
        body = b'{"provider": "name", "name": "Ada"}'
        head = b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        with trio.fail_after(PATIENCE):
            answer = await listener.exchange(head + body)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "auth_unavailable"
        assert authenticator.cancelled.is_set()
