"""A client while an identity provider works for it, or does not. Time is virtual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from evanesce.interfaces import Answered, Caller, Challenge
from evanesce.model import Identity
from evanesce.sessions.read_ahead import FRAMES
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.server import NameAuthenticator, memory_server

CREDENTIAL = {"provider": "name", "name": "Ada"}


class HangingAuthenticator(NameAuthenticator):
    """Hangs in every call until `go`; `cancelled` counts the calls that ended before that."""

    def __init__(self) -> None:
        self.go = trio.Event()
        self.cancelled = 0

    async def _hang(self) -> None:
        try:
            await self.go.wait()
        except trio.Cancelled:
            self.cancelled += 1
            raise

    async def challenge(self, request: Mapping[str, Any], caller: Caller) -> Challenge:
        await self._hang()
        return await super().challenge(request, caller)

    async def authenticate(self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None) -> Identity:
        await self._hang()
        return await super().authenticate(credential, caller, answered)


class PatientAuthenticator(HangingAuthenticator):
    timeout = 60.0


def ask(connection: MemoryConnection, what: str) -> None:
    if what == "hello":
        connection.say("hello", ref="asked", credential=CREDENTIAL)
    else:
        connection.say("challenge", ref="asked", provider="name")


@pytest.mark.parametrize("what", ["hello", "challenge"])
@pytest.mark.parametrize("seconds", [None, 0.5, 3])
async def test_a_provider_has_its_time_and_no_more(
    what: str, seconds: float | None, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    authenticator = HangingAuthenticator()
    if seconds is not None:
        authenticator.timeout = seconds  # type: ignore[attr-defined]  # what an authenticator may have beside its contract
    async with memory_server(authenticators={"name": authenticator}) as server:
        connection = server.connect()
        began = trio.current_time()
        ask(connection, what)
        refused = await connection.until("error", ref="asked")
        assert (refused["code"], refused["retry"]) == ("auth_unavailable", True)
        assert trio.current_time() - began == pytest.approx(seconds or 5, abs=0.11)
        assert authenticator.cancelled == 1
        assert f"took more than {seconds or 5:g} s" in caplog.text
        assert "plugin name: Authenticator." in caplog.text
        authenticator.go.set()
        ask(connection, what)
        assert (await connection.hear())["type"] in ("welcome", "challenge")


@pytest.mark.parametrize("what", ["hello", "challenge"])
async def test_a_stranger_is_closed_in_time_and_heard_until_then(what: str, autojump_clock: MockClock) -> None:
    authenticator = PatientAuthenticator()
    async with memory_server(authenticators={"name": authenticator}) as server:
        connection = server.connect()
        began = trio.current_time()
        ask(connection, what)
        for _ in range(4):
            await trio.sleep(2)
            assert (await connection.ask("ping"))["type"] == "pong"
        code, _ = await connection.end()
        assert code == 4408
        assert trio.current_time() - began == pytest.approx(10, abs=0.6)
        assert authenticator.cancelled == 1


@pytest.mark.parametrize("what", ["hello", "challenge"])
@pytest.mark.parametrize("sent_before", [0, FRAMES - 1])
async def test_nothing_goes_on_for_one_who_has_left(what: str, sent_before: int, autojump_clock: MockClock) -> None:
    authenticator = PatientAuthenticator()
    async with memory_server(authenticators={"name": authenticator}) as server:
        connection = server.connect()
        ask(connection, what)
        for _ in range(sent_before):
            connection.say("create_room")
        await trio.sleep(1)
        connection.leave()
        began = trio.current_time()
        assert (await connection.end())[0] == 1000
        assert trio.current_time() - began < 0.01
        assert authenticator.cancelled == 1


async def test_what_came_meanwhile_is_answered_afterwards_in_order(autojump_clock: MockClock) -> None:
    authenticator = HangingAuthenticator()
    async with memory_server(authenticators={"name": authenticator}) as server:
        connection = server.connect()
        ask(connection, "hello")
        for number in range(3 * FRAMES):
            connection.say("create_room", ref=f"room {number}")
        connection.say("ping", ref="last")
        await trio.sleep(1)
        assert connection.waiting() == []
        authenticator.go.set()
        refs = [(await connection.hear())["ref"] for _ in range(3 * FRAMES + 2)]
        assert refs == ["asked", *(f"room {number}" for number in range(3 * FRAMES)), "last"]


async def test_little_is_read_ahead(autojump_clock: MockClock) -> None:
    authenticator = PatientAuthenticator()
    async with memory_server(authenticators={"name": authenticator}) as server:
        many, large = server.connect(), server.connect()
        for connection, padding in ((many, ""), (large, "x" * 20_000)):
            ask(connection, "hello")
            for _ in range(100):
                connection.say("join", roomId="r", padding=padding)
        await trio.sleep(1)
        assert _unread(many) == 100 - FRAMES
        assert _unread(large) == 96, "four frames of 20 KB are more than one of the largest size"


def _unread(connection: MemoryConnection) -> int:
    return connection._from_client.statistics().current_buffer_used
