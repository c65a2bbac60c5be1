"""The time of day of the store, or of a server, is set back and forward while people talk: nobody notices."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from tests.clocks.offset import STEPS, OffsetClock, library
from tests.e2e.clients import ChatClient, seconds
from tests.e2e.running import Server
from tests.e2e.valkey import Valkey

TTL = 60
SETTINGS = (
    f"server.secret={'s' * 32}",
    "server.token_hours=8760",  # tokens run out by the store's clock
    "limits.messages_per_second=100000",
    "limits.burst=100000",
    f"messages.ttl={TTL}",
)


@pytest.fixture
def clock(tmp_path: Path) -> OffsetClock:
    return OffsetClock(library(tmp_path), tmp_path)


@pytest.fixture(params=["store", "server"])
def servers(
    request: pytest.FixtureRequest, serve: Callable[..., Server], clock: OffsetClock, database: Path
) -> Iterator[list[Server]]:
    """Two servers on one Valkey: its clock can be set, or that of the first server, which is off at its start too."""
    of_store = request.param == "store"
    with Valkey(clock.environment if of_store else None) as valkey:
        settings = (*SETTINGS, f"redis.url={valkey.url}", f"plugins.sqlite.path={database}")
        if not of_store:
            clock.set(-86_400)
        one = serve(*settings, environment=None if of_store else clock.environment)
        two = serve(*settings)
        yield [one, two]


async def test_whoever_talks_while_a_clock_is_set_notices_nothing(
    servers: list[Server], clock: OffsetClock, nursery: trio.Nursery, database: Path
) -> None:
    one, two = servers
    ana, ben = await ChatClient.open(one, nursery, "Ana"), await ChatClient.open(two, nursery, "Ben")
    room_id = (await ana.ask("create_room"))["roomId"]
    for client in (ana, ben):
        await client.join(room_id)
    for number, step in enumerate(offset for there in STEPS for offset in (there, 0)):
        await ana.say(room_id, f"before {number}")
        clock.set(step)
        await ana.say(room_id, f"ana {number}")
        await ben.say(room_id, f"ben {number}")
        carl = await ChatClient.open(one, nursery, "Carl")
        await carl.join(room_id)
        await carl.say(room_id, f"carl {number}")
        for client in (ana, ben):
            for said in ("ana", "ben", "carl"):
                message = await client.wait_for_event("message", content=f"{said} {number}")
                assert seconds(message["expiresAt"]) - seconds(message["createdAt"]) == pytest.approx(TTL)
        await carl.ask("leave", roomId=room_id)
        for client in (ana, ben):
            await client.wait_for_event("member_left", userId=carl.user_id)
        await carl.close()
    for client in (ana, ben):
        assert client.connection.close_reason is None
        left = {event["userId"] for event in client.record if event["type"] == "member_left"}
        assert left.isdisjoint({ana.user_id, ben.user_id}), "nobody has left"
        assert (await client.ask("room", roomId=room_id))["memberCount"] == 2
    for client in (ana, ben):
        await client.close()
    for server in servers:
        await trio.to_thread.run_sync(server.stop)
    with closing(sqlite3.connect(database)) as connection:
        logs = connection.execute('SELECT joinTime, leaveTime FROM "SessionLog"').fetchall()
    assert len(logs) == 2 + 2 * len(STEPS)
    assert [(joined, left) for joined, left in logs if left is None or left < joined] == [], "none ends before it began"
