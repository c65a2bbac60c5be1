"""What one person may do, over two servers on one Valkey."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from evanesce.cli.client import Disconnected, Refused
from evanesce.errors import CloseCode
from tests.e2e.people import Person
from tests.e2e.running import Server

RATE, BURST = 5, 20
FLOOD_SECONDS = 4.0


@pytest.fixture
def servers(serve_shared: Callable[..., Server]) -> list[Server]:
    return [serve_shared() for _ in range(2)]


async def test_ten_times_the_rate_over_two_servers(servers: list[Server], nursery: trio.Nursery) -> None:
    ada = await Person.arrive(servers[0], nursery, "Ada")
    ben = await Person.arrive(servers[1], nursery, "Ben")
    room_id = (await ada.ask("create_room"))["roomId"]
    floods = [ada, await ada.connected_to(servers[1]), await ada.connected_to(servers[1])]
    for person in (*floods, ben):
        await person.join(room_id)
    accepted, refused = 0, list[Refused]()
    began = trio.current_time()

    async def flood(person: Person) -> None:
        nonlocal accepted
        while trio.current_time() - began < FLOOD_SECONDS:
            try:
                await person.say(room_id, "flood")
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
        for person in floods:
            talking.start_soon(flood, person)
    lasted = trio.current_time() - began
    assert BURST < accepted <= RATE * lasted + BURST, "as for one connection"
    assert refused
    for error in refused:
        assert error.code == "rate_limited"
        assert error.retry_after is not None
        assert 0 < error.retry_after <= 1 / RATE + 0.001


async def test_connections_count_over_two_servers(servers: list[Server], nursery: trio.Nursery) -> None:
    ada = await Person.arrive(servers[0], nursery, "Ada")
    for number in range(9):
        await ada.connected_to(servers[number % 2])
    one_more = Person(servers[1], nursery, "Ada")
    one_more.token = ada.token
    with pytest.raises(Disconnected):
        await one_more.connect()
    assert (await one_more.hears_of("goodbye"))["code"] == CloseCode.TOO_MUCH
    assert (await one_more.is_sent_away()).reconnect

    await trio.to_thread.run_sync(servers[0].kill)
    with trio.fail_after(30):  # the lease of a server that was killed has to run out first
        while True:
            try:
                await one_more.connect()
            except Disconnected:
                await trio.sleep(0.5)  # nothing tells
            else:
                return
