"""Every close code of docs/reference/protocol.md, where a session sends it, and what `goodbye` says.

Codes about broken frames are the transports' to send: tests/transports/test_websocket.py.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from evanesce.config.model import LimitsTable, ServerTable
from evanesce.delivery.frame import Frame
from evanesce.errors import CommandError, ErrorCode
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.server import NameAuthenticator, TestServer, memory_server
from tests.core.protocol.test_protocol_page import rows, section
from tests.core.sessions.test_strangers import LocalAuthenticator
from tests.transports.test_websocket import REASONS

SECRET = "a secret for tests, of 32 characters".replace(" ", "-")
ADA = {"provider": "name", "name": "Ada"}

CODES = {
    int(code): row[2].startswith("yes")
    for row in rows(section("Close codes"))[1:]
    for code in re.findall(r"\d{4}", row[0])
}
"""Whether a client may come back by itself after a code, as the page has it."""

Scenario = Callable[[TestServer], Awaitable[MemoryConnection]]


class RefusingAuthenticator(NameAuthenticator):
    """Knows everybody, and lets nobody in."""

    async def authenticate(self, *arguments: object) -> Any:
        raise CommandError(ErrorCode.FORBIDDEN, "Your account is locked.")


async def going_away(server: TestServer) -> MemoryConnection:
    connection = await server.sign_in("Ada")
    await server.gateway.drain()
    return connection


async def restarting(server: TestServer) -> MemoryConnection:
    connection = await server.sign_in("Ada")
    await server.gateway.drain(restarting=True)
    return connection


async def a_fault(server: TestServer) -> MemoryConnection:
    connection = await server.sign_in("Ada")

    def fail() -> None:
        raise ZeroDivisionError

    connection.ping = fail  # type: ignore[method-assign]  # a transport's fault
    return connection


async def bad_frames(server: TestServer) -> MemoryConnection:
    connection = await server.sign_in("Ada")
    for _ in range(20):
        connection.send("x")
    return connection


async def a_worthless_token(server: TestServer) -> MemoryConnection:
    connection = server.connect()
    connection.say("hello", token="worthless")
    return connection


async def a_worthless_bearer(server: TestServer) -> MemoryConnection:
    return server.connect(bearer="worthless")


async def signing_out(server: TestServer) -> MemoryConnection:
    connection = await server.sign_in("Ada")
    connection.say("sign_out")
    return connection


async def signing_out_elsewhere(server: TestServer) -> MemoryConnection:
    first = server.connect()
    token = (await first.ask("hello", credential=ADA))["token"]
    second = server.connect()
    await second.ask("hello", token=token)
    await first.ask("sign_out")
    return second


async def an_erased_account(server: TestServer) -> MemoryConnection:
    connection = await server.sign_in("Ada")
    connection.say("forget_me")
    return connection


async def a_token_that_runs_out(server: TestServer) -> MemoryConnection:
    return await server.sign_in("Ada")


async def a_forbidden_hello(server: TestServer) -> MemoryConnection:
    connection = server.connect(local=False)
    error = await connection.ask("hello", credential=ADA)
    assert error["code"] == "forbidden"
    return connection


async def no_hello(server: TestServer) -> MemoryConnection:
    return server.connect()


async def no_pong(server: TestServer) -> MemoryConnection:
    connection = await server.sign_in("Ada")
    connection.answers_pings = False
    return connection


async def a_reader_that_takes_nothing(server: TestServer) -> MemoryConnection:
    connection = server.connect(outbox_bytes=10)
    connection.stalled = True
    write = connection.write

    def and_then_takes_all(frame: Frame) -> bool:
        taken = write(frame)
        connection.stalled = False
        return taken

    connection.write = and_then_takes_all  # type: ignore[method-assign]  # or the goodbye could not be seen
    connection.say("hello", credential=ADA)
    return connection


async def far_too_fast(server: TestServer) -> MemoryConnection:
    connection = await server.sign_in("Ada")
    for _ in range(900):
        connection.say("send", roomId="00000000-0000-4000-8000-000000000000", content="x")
    return connection


async def too_many_devices(server: TestServer) -> MemoryConnection:
    for _ in range(2):
        await server.sign_in("Ada", address="192.0.2.1")
    connection = server.connect(address="192.0.2.2")
    connection.say("hello", credential=ADA)
    return connection


async def too_many_of_an_address(server: TestServer) -> MemoryConnection:
    for name in ("Ada", "Bob", "Cleo"):
        await server.sign_in(name, address="192.0.2.1")
    return server.connect(address="192.0.2.1")


def usual() -> AbstractAsyncContextManager[TestServer]:
    limits = LimitsTable(connections_per_user=2, connections_per_address=3, heartbeat_seconds=10)
    return memory_server(limits=limits, server=ServerTable(secret=SECRET, token_hours=0.01))


def for_this_machine() -> AbstractAsyncContextManager[TestServer]:
    return memory_server(authenticators={"name": LocalAuthenticator()})


def refusing() -> AbstractAsyncContextManager[TestServer]:
    return memory_server(authenticators={"name": RefusingAuthenticator()})


CASES: list[tuple[int, Scenario, Callable[[], AbstractAsyncContextManager[TestServer]]]] = [
    (1001, going_away, usual),
    (1012, restarting, usual),
    (1011, a_fault, usual),
    (4400, bad_frames, usual),
    (4401, a_worthless_token, usual),
    (4401, a_worthless_bearer, usual),
    (4401, signing_out, usual),
    (4401, signing_out_elsewhere, usual),
    (4401, an_erased_account, usual),
    (4401, a_token_that_runs_out, usual),
    (4403, a_forbidden_hello, for_this_machine),
    (4403, a_forbidden_hello, refusing),
    (4408, no_hello, usual),
    (4408, no_pong, usual),
    (4413, a_reader_that_takes_nothing, usual),
    (4429, far_too_fast, usual),
    (4429, too_many_devices, usual),
    (4429, too_many_of_an_address, usual),
]

STAYS_AWAY = {too_many_devices}
"""Where a code lets a client come back, but not by itself for this reason: only the person can change it."""


def test_every_code_of_the_page_is_sent_somewhere() -> None:
    assert {code for code, _, _ in CASES} | set(REASONS) | {1000} == set(CODES)


@pytest.mark.parametrize(
    ("code", "scenario", "kind"),
    CASES,
    ids=[f"{code} {scenario.__name__} {kind.__name__}" for code, scenario, kind in CASES],
)
async def test_a_code_and_its_goodbye(
    autojump_clock: MockClock,
    code: int,
    scenario: Scenario,
    kind: Callable[[], AbstractAsyncContextManager[TestServer]],
) -> None:
    async with kind() as server:
        connection = await scenario(server)
        with trio.fail_after(600):
            goodbye = await connection.until("goodbye")
            closed, reason = await connection.end()
    reconnect = CODES[code] and scenario not in STAYS_AWAY
    assert (goodbye["code"], closed) == (code, code)
    assert goodbye["reason"] == reason != ""
    assert goodbye["reconnect"] is reconnect
    assert ("reconnectAfter" in goodbye) == reconnect


async def test_who_leaves_is_closed_with_1000_and_no_goodbye(autojump_clock: MockClock) -> None:
    async with usual() as server:
        connection = await server.sign_in("Ada")
        connection.leave()
        assert (await connection.end())[0] == 1000
        assert "goodbye" not in [event["type"] for event in connection.waiting()]


@pytest.mark.parametrize("command", ["hello", "close_room", "challenge"])
async def test_what_else_is_forbidden_ends_nothing(autojump_clock: MockClock, command: str) -> None:
    async with memory_server(authenticators={"name": NameAuthenticator(), "local": LocalAuthenticator()}) as server:
        connection, other = await server.sign_in("Ada", local=False), await server.sign_in("Bob")
        fields: dict[str, Any] = {
            "hello": {"credential": {"provider": "name", "name": "Bob"}},
            "close_room": {"roomId": await server.open_room(other)},
            "challenge": {"provider": "local"},
        }[command]
        assert (await connection.ask(command, **fields))["code"] == "forbidden"
        assert (await connection.ask("ping"))["type"] == "pong"
