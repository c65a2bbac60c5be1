"""What has ended is not in the memory of Valkey any more, freed or not, also while nobody sends anything else."""

from __future__ import annotations

import sys
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from secrets import token_hex
from typing import Any

import pytest
import trio

from evanesce.client.errors import Refused
from tests.chaos.memory import copies
from tests.e2e.clients import ChatClient, until
from tests.e2e.running import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the memory of processes is read from /proc"),
]


def left(server: Server) -> Counter[str]:
    """Return how many copies of each canary are in the memory of Valkey, with what they belong to."""
    return Counter(f"{copy.canary} {copy.kind}" for copy in copies(server.valkey()[0]))


@pytest.mark.parametrize("times", [1, 1_300], ids=["short", "larger than the buffers"])
async def test_messages_leave_the_memory_of_valkey_however_they_end(
    serve: Callable[..., Server], nursery: trio.Nursery, times: int
) -> None:
    server = serve(
        "messages.ttl=10", "messages.content_bytes=32768", "limits.frame_bytes=200000", "rooms.roster_size=10"
    )
    ana = await ChatClient.open(server, nursery, "Ana")
    ben = await ChatClient.open(server, nursery, "Ben")
    rooms: Sequence[str] = [(await ana.ask("create_room"))["roomId"] for _ in range(2)]
    for client in (ana, ben):
        for room in rooms:
            await client.join(room)

    def canary() -> str:
        return " ".join([f"canary-{token_hex(8)}"] * times)

    lasting: Sequence[dict[str, Any]] = [await ana.say(rooms[0], canary()) for _ in range(2)]
    await ana.say(rooms[1], canary())
    with pytest.raises(Refused, match="is taken"):
        await ben.ask("send", roomId=rooms[0], content=canary(), messageId=lasting[0]["messageId"])
    late = await ChatClient.open(server, nursery, "Cleo")
    assert (await late.join(rooms[0]))["messages"]  # which are read from Valkey
    assert left(server), "they are found while they live"

    await ana.ask("unsend", roomId=rooms[0], messageId=lasting[1]["messageId"])
    await ana.ask("close_room", roomId=rooms[1])
    await until(lambda: not left(server))
    assert (await ana.ask("send", roomId=rooms[0], content="x", messageId=str(uuid.uuid4())))["type"] == "sent"
