"""The stream of a client: two tasks may use it while it ends."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from evanesce.listening import ClientStream
from tests.patience import within


@pytest.mark.parametrize("client_leaves", [True, False])
async def test_the_end_is_sent_while_another_task_receives(client_leaves: bool) -> None:
    ours, clients = trio.socket.socketpair()
    with ours, clients, within(10):
        stream = ClientStream(trio.SocketStream(ours), ours, "127.0.0.1", trio.current_time())
        received: list[bytes] = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def receive() -> None:
                received.append(await stream.receive(1_024))

            @nursery.start_soon
            async def see_the_end() -> None:
                assert await clients.recv(1_024) == b""
                if client_leaves:
                    clients.close()

            await wait_all_tasks_blocked()
            await stream.linger()
            assert received == [b""] * client_leaves  # without the client's end, its time is over
            ours.close()
        assert received == [b""]
