"""What one person may do, over two servers on one Valkey."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from evanesce.client.errors import Disconnected, Refused
from evanesce.errors import CloseCode
from tests.e2e.clients import ChatClient
from tests.e2e.running import Server

pytestmark = pytest.mark.slow

RATE, BURST = 5, 20
FLOOD_SECONDS = 4.0
MOST_WAIT = 10.0  # each refused command is told another time, up to that of all that may be refused at once


@pytest.fixture
def servers(serve_shared: Callable[..., Server]) -> list[Server]:
    return [serve_shared() for _ in range(2)]


async def test_ten_times_the_rate_over_two_servers(servers: list[Server], nursery: trio.Nursery) -> None:
    ada = await ChatClient.open(servers[0], nursery, "Ada")
    ben = await ChatClient.open(servers[1], nursery, "Ben")
    room_id = (await ada.ask("create_room"))["roomId"]
    floods = [ada, await ada.open_another(servers[1]), await ada.open_another(servers[1])]
    for client in (*floods, ben):
        await client.join(room_id)
    accepted, refused = 0, list[Refused]()
    began = trio.current_time()

    async def flood(client: ChatClient) -> None:
        nonlocal accepted
        while trio.current_time() - began < FLOOD_SECONDS:
            try:
                await client.say(room_id, "flood")
                accepted += 1
            except Refused as error:
                refused.append(error)
                await trio.sleep(len(floods) / (10 * RATE))

    async def talk() -> None:
        while trio.current_time() - began < FLOOD_SECONDS:
            await ben.say(room_id, "I have something to say.")
            await trio.sleep(0.5)

    async with trio.open_nursery() as talking:
        talking.start_soon(talk)
        for client in floods:
            talking.start_soon(flood, client)
    lasted = trio.current_time() - began
    assert BURST < accepted <= RATE * lasted + BURST, "as for one connection"
    assert refused
    for error in refused:
        assert error.code == "rate_limited"
        assert error.retry_after is not None
        assert 0 < error.retry_after <= MOST_WAIT + 0.001
    assert min(error.retry_after or 0 for error in refused) <= 1 / RATE + 0.001


async def test_connections_count_over_two_servers(servers: list[Server], nursery: trio.Nursery) -> None:
    ada = await ChatClient.open(servers[0], nursery, "Ada")
    for number in range(9):
        await ada.open_another(servers[number % 2])
    one_more = ChatClient(servers[1], nursery, "Ada")
    one_more.token = ada.token
    with pytest.raises(Disconnected):
        await one_more.connect()
    assert (await one_more.wait_for_event("goodbye"))["code"] == CloseCode.RATE_LIMITED
    assert not (await one_more.wait_closed_by_server()).reconnect

    await trio.to_thread.run_sync(servers[0].kill)
    with trio.fail_after(30):  # the lease of a server that was killed has to run out first
        while True:
            try:
                await one_more.connect()
            except Disconnected:
                await trio.sleep(0.5)  # nothing tells
            else:
                return
