"""Two servers on a real Redis Cluster, of which a primary is killed under people who talk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from evanesce.client.errors import Refused
from tests.e2e.clients import ChatClient, ids
from tests.e2e.reconnecting import wait_before_retry
from tests.e2e.running import Server
from tests.patience import PATIENCE
from tests.valkey_cluster import ValkeyCluster

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster() -> Iterator[ValkeyCluster]:
    cluster = ValkeyCluster(node_timeout=5_000)
    cluster.start()
    yield cluster
    cluster.stop()


async def said_at_last(client: ChatClient, room_id: str, content: str) -> str:
    """Send a message until the store accepts it; return its id."""
    while True:
        try:
            return str((await client.say(room_id, content))["messageId"])
        except Refused as refused:
            await wait_before_retry(refused)


async def test_a_primary_is_lost_under_people_who_talk(
    cluster: ValkeyCluster, serve: Callable[..., Server], nursery: trio.Nursery, tmp_path: Path
) -> None:
    shared = [
        f"redis.url={cluster.url}",
        "redis.cluster=true",
        "server.secret=" + "s" * 32,
        f"plugins.sqlite.path={tmp_path}/shared.db",
        "limits.messages_per_second=100000",
        "limits.burst=100000",
    ]
    servers = [serve(*shared) for _ in range(2)]
    ada, ben = [await ChatClient.open(server, nursery, "Somebody") for server in servers]
    room_id = (await ada.ask("create_room"))["roomId"]
    for client in (ada, ben):
        await client.join(room_id)
    acknowledged = [await said_at_last(ada, room_id, f"before {number}") for number in range(20)]
    await ben.wait_for_event("message", messageId=acknowledged[-1])

    cluster.kill(cluster.primary_of(f"evanesce:{{{room_id}}}:events"))
    with trio.fail_after(PATIENCE):
        acknowledged += [await said_at_last(speaker, room_id, "after") for speaker in (ada, ben) for _ in range(10)]
    for client in (ada, ben):
        await client.wait_for_event("message", messageId=acknowledged[-1])
        heard = ids(client.messages())
        assert len(heard) == len(set(heard))
        gaps = [event for event in client.record if event["type"] == "gap"]
        assert set(acknowledged) <= set(heard) or gaps, "what may be lost is told"
        assert set(acknowledged[20:]) <= set(heard)
        assert (await client.ask("members", roomId=room_id))["memberCount"] == 2
    ready = await trio.to_thread.run_sync(servers[0].ready)
    assert ready["parts"]["redis"] == "up"
