"""A transport's connection that fails: it ends alone, whatever it raises. Time is virtual."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from evanesce.errors import CloseCode
from evanesce.metrics import Metrics
from evanesce.sessions.connection import ClientConnection
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.server import memory_server
from tests.core.plugins.faulty import RAISING, SECRET, Fault, OddError, hangs, written

ERRORS = [ValueError, SystemExit, KeyboardInterrupt, OddError, GeneratorExit]


def broken(connection: MemoryConnection, method: str, error: type[BaseException]) -> None:
    def fails(*arguments: object) -> Any:
        raise error(SECRET)

    setattr(connection, method, fails)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("method", ["write", "ping"])
async def test_what_does_not_wait(
    method: str, error: type[BaseException], autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with memory_server() as server:
        ana, ben, eve = [await server.sign_in(name) for name in ("ana", "ben", "eve")]
        room_id = await server.open_room(ana)
        for person in (ana, ben, eve):
            await person.ask("join", roomId=room_id)
        broken(eve, method, error)
        assert (await ana.ask("send", roomId=room_id, content=SECRET))["type"] == "sent"
        await ben.until("message", content=SECRET)
        await trio.sleep(60)
        assert "evanesce_sessions 2.0" in server.gateway.metrics()
        assert 'evanesce_connections_closed_total{code="1011"} 1.0' in server.gateway.metrics()
        assert (await ana.ask("send", roomId=room_id, content="still here"))["type"] == "sent"
        await ben.until("message", content="still here")
        assert f"{error.__name__} at test_connection_faults.py:" in written(caplog.records)
        assert SECRET not in written(caplog.records)


@pytest.mark.parametrize("fault", [*RAISING, hangs], ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("method", ["receive", "close"])
async def test_what_waits(
    method: str, fault: Fault, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*arguments: object) -> Any:
        return await fault(SECRET)

    async with memory_server() as server:
        ana, eve = await server.sign_in("ana"), await server.sign_in("eve")
        setattr(eve, method, fails)
        if method == "receive":
            eve.say("ping")  # it waits in the old one
            if fault is not hangs:
                assert (await eve.end())[0] == 1011
        else:
            eve.leave()
        await trio.sleep(5)
        assert (method, fault) == ("receive", hangs) or "evanesce_sessions 1.0" in server.gateway.metrics()
        assert (await ana.ask("ping"))["type"] == "pong"
        assert (await server.sign_in("eve")).closed is None
        assert SECRET not in written(caplog.records)


@pytest.mark.parametrize("may_return", [True, False])
async def test_a_fault_at_the_end_does_not_invite_a_client_back(may_return: bool) -> None:
    client = MemoryConnection()
    connection = ClientConnection(client, 1_048_576, Metrics())
    connection.end(CloseCode.RATE_LIMITED, "Too many connections.", may_return=may_return)
    connection.fail(ValueError(SECRET), overrides=True)
    await connection.close()
    goodbye = await client.until("goodbye")
    assert (goodbye["code"], goodbye["reconnect"]) == (1011, may_return)
