"""Two servers on a real Redis Cluster, of which a primary is killed under people who talk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from evanesce.cli.client import Refused
from tests.e2e.people import Person, ids
from tests.e2e.running import Server
from tests.e2e.wanderers import a_moment
from tests.valkey_cluster import ValkeyCluster


@pytest.fixture
def cluster() -> Iterator[ValkeyCluster]:
    cluster = ValkeyCluster(node_timeout=1_500)
    cluster.start()
    yield cluster
    cluster.stop()


async def said_at_last(person: Person, room_id: str, content: str) -> str:
    """Say something until the store takes it; gives the message's id."""
    while True:
        try:
            return str((await person.say(room_id, content))["messageId"])
        except Refused as refused:
            await a_moment(refused)


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
    ada, ben = [await Person.arrive(server, nursery, "Somebody") for server in servers]
    room_id = (await ada.ask("create_room"))["roomId"]
    for person in (ada, ben):
        await person.join(room_id)
    acknowledged = [await said_at_last(ada, room_id, f"before {number}") for number in range(20)]
    await ben.hears_of("message", messageId=acknowledged[-1])

    cluster.kill(cluster.primary_of(f"evanesce:{{{room_id}}}:events"))
    with trio.fail_after(30):
        acknowledged += [await said_at_last(speaker, room_id, "after") for speaker in (ada, ben) for _ in range(10)]
    for person in (ada, ben):
        await person.hears_of("message", messageId=acknowledged[-1])
        heard = ids(person.messages())
        assert len(heard) == len(set(heard))
        gaps = [event for event in person.record if event["type"] == "gap"]
        assert set(acknowledged) <= set(heard) or gaps, "what may be lost is told"
        assert set(acknowledged[20:]) <= set(heard)
        assert (await person.ask("members", roomId=room_id))["memberCount"] == 2
    status, ready = await trio.to_thread.run_sync(servers[0].ask, "GET", "/readyz")
    assert (status, ready["parts"]["redis"]) == (200, "up")
