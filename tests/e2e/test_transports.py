"""Several transports in one server, and one that has no HTTP."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tests.e2e.clients import ChatClient
from tests.e2e.running import TRANSPORTS, Server
from tests.e2e.terminals import Terminal


async def test_people_on_either_transport_are_in_one_room(serve: Callable[..., Server], nursery: trio.Nursery) -> None:
    server = serve(transports=TRANSPORTS)
    ana = await ChatClient.open(server, nursery, "Ana")
    server.port = server.ports["trio_websocket"]
    ben = await ChatClient.open(server, nursery, "Ben")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    await ben.join(room_id)
    await ana.wait_for_event("member_joined", userId=ben.user_id)
    for number, client in enumerate((ana, ben, ben, ana)):
        await client.say(room_id, str(number))
    for client in (ana, ben):
        await client.wait_for_event("message", content="3")
        assert client.contents() == ["0", "1", "2", "3"]


def test_a_deep_link_to_a_server_without_http(serve: Callable[..., Server]) -> None:
    server = serve(transports=["trio_websocket"])

    async def open_room() -> str:
        async with trio.open_nursery() as nursery:
            owner = await ChatClient.open(server, nursery, "Owner")
            link = (await owner.ask("create_room"))["deepLink"]
            await owner.close()
            return str(link)

    with Terminal(trio.run(open_room), "Ana") as ana:
        ana.sees("you are in the room")
        ana.type("hello")
        ana.sees("Ana: hello")
        ana.type("/quit")
        assert ana.ends() == (0, "")
