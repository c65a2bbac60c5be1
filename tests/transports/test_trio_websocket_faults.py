"""Faults of the library itself: they end one client, who is told, and nobody else."""

from __future__ import annotations

import pytest
import trio
from trio_websocket import WebSocketConnection

from evanesce_transports.trio_websocket import transport as module
from tests.transports.serving import (
    TRIO_WEBSOCKET,
    FakeGateway,
    Listening,
    close_code,
    goodbyes,
    masked,
    read_all,
    upgrade_request,
)

pytestmark = pytest.mark.parametrize("transport", [TRIO_WEBSOCKET])


async def test_a_reader_that_fails(
    server: Listening, gateway: FakeGateway, faults: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: WebSocketConnection, event: object) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("secret")

    faults.append("trio-websocket failed")
    async with server.websocket() as other:
        monkeypatch.setattr(WebSocketConnection, "_handle_ping_event", fail)
        async with await server.upgraded(masked(1, b"heard") + masked(9) + masked(1, b"not heard")) as stream:
            sent = await read_all(stream)
        assert sent.startswith(b"\x81\x05heard")
        assert close_code(sent) == 1011
        assert goodbyes(sent)[0]["reconnect"] is True
        assert b"secret" not in sent
        monkeypatch.undo()
        await other.send_message("not harmed")
        assert await other.get_message() == "not harmed"
    assert gateway.received[:2] == ["heard", None]
    await server.check_alive()


async def test_a_handshake_that_it_does_not_finish(
    server: Listening, gateway: FakeGateway, faults: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*arguments: object, **options: object) -> None:
        await trio.sleep_forever()

    faults.append("serving a client failed")
    monkeypatch.setattr(module, "wrap_server_stream", hang)
    monkeypatch.setattr(module, "ACCEPT_SECONDS", 0.1)
    assert await server.exchange(upgrade_request()) == b""
    assert gateway.connections == []
    monkeypatch.undo()
    await server.check_alive()
