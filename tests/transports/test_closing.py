"""A transport closes all that it opened, whenever it is cancelled."""

from __future__ import annotations

import pytest
import trio

from evanesce.testing.leaks import cancelled_at_each_await
from tests.patience import PATIENCE
from tests.transports.serving import TRANSPORTS, FakeGateway, listening

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_cancelled_at_any_await_it_leaves_nothing_open(transport: str) -> None:
    """The awaits are those of the transport, of a client's handshake and message, and of the client itself."""

    async def body() -> None:
        with trio.fail_after(PATIENCE):
            async with listening(FakeGateway(), transport) as server, server.websocket() as client:
                await client.send_message("hello")
                assert await client.get_message() == "hello"

    assert await cancelled_at_each_await(body) > 10
