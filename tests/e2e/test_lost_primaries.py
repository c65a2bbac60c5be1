"""People on real servers and a real Redis Cluster, each primary of which is lost in turn, killed or standing still."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from evanesce.client.errors import Refused
from tests.e2e.clients import ChatClient
from tests.e2e.reconnecting import wait_before_retry
from tests.e2e.running import Server
from tests.patience import PATIENCE, within
from tests.valkey_cluster import PRIMARIES, ClusterNode, ValkeyCluster

pytestmark = pytest.mark.slow

REFUSED_SECONDS = 2.5
"""How long a command may take that is refused: what the store promises."""


@pytest.fixture(scope="module", params=["killed", "standing still"])
def cluster(request: pytest.FixtureRequest) -> Iterator[tuple[ValkeyCluster, bool]]:
    """A cluster that takes no primary for dead as long as a test runs: what happens meanwhile is what is tried."""
    cluster = ValkeyCluster(node_timeout=300_000)
    cluster.start()
    yield cluster, request.param == "killed"
    cluster.stop()


def first_slot(node: ClusterNode) -> int:
    told = node.client.execute_command("CLUSTER", "SLOTS")
    return min(first for first, _, primary, *_ in told if primary[1] == node.port)


async def said_at_last(client: ChatClient, room_id: str, content: str) -> str:
    """Send a message until the store accepts it; return its id."""
    while True:
        try:
            return str((await client.say(room_id, content))["messageId"])
        except Refused as refused:
            await wait_before_retry(refused)


async def new_room(client: ChatClient) -> str:
    room_id = str((await client.ask("create_room"))["roomId"])
    await client.join(room_id)
    return room_id


@pytest.mark.parametrize("number", range(PRIMARIES))
async def test_a_lost_primary_harms_its_own_rooms_alone(
    cluster: tuple[ValkeyCluster, bool],
    number: int,
    serve: Callable[..., Server],
    nursery: trio.Nursery,
    tmp_path: Path,
) -> None:
    nodes, kill = cluster
    shared = [
        f"redis.url={nodes.url}",
        "redis.cluster=true",
        f"redis.prefix=evanesce{number}",
        "server.secret=" + "s" * 32,
        f"plugins.sqlite.path={tmp_path}/shared.db",
        "limits.members_per_second=1000",
    ]
    servers = [serve(*shared) for _ in range(3)]
    ada, ben, eve = [await ChatClient.open(server, nursery, "Somebody") for server in servers]
    lost = sorted(nodes.primaries, key=first_slot)[number]
    replica = nodes.replica_of(lost)
    there: list[str] = []
    elsewhere: list[str] = []
    while not there or len(elsewhere) < 2:
        room_id = await new_room(ada)
        is_there = nodes.primary_of(f"evanesce{number}:{{{room_id}}}:events") is lost
        (there if is_there else elsewhere).append(room_id)
    for room_id in there + elsewhere:
        await ben.join(room_id)
        await eve.join(room_id)

    if kill:
        nodes.kill(lost)
    else:
        os.kill(lost.process.pid, signal.SIGSTOP)
    try:
        servers[2].kill()  # and eve with it: her server cannot take her out of her rooms
        with trio.fail_after(PATIENCE):
            for room_id in elsewhere:
                for speaker, listener in ((ada, ben), (ben, ada)):
                    said = (await speaker.say(room_id, "while it is away"))["messageId"]
                    await listener.wait_for_event("message", messageId=said)
            with within(REFUSED_SECONDS + 0.1), pytest.raises(Refused) as refusal:
                await ada.say(there[0], "not taken")
            assert refusal.value.code == "store_unavailable"

            # New people, some of whom have their own counts on the lost primary, on a server that is new as well.
            late = await trio.to_thread.run_sync(lambda: serve(*shared))
            for server in (servers[0], late, late, late):
                guest = await ChatClient.open(server, nursery, "Guest")
                for room_id in elsewhere:
                    await guest.join(room_id)
                    said = (await guest.say(room_id, "hello"))["messageId"]
                    await ben.wait_for_event("message", messageId=said)
                    members = await guest.ask("members", roomId=room_id)
                    assert guest.user_id in [member["userId"] for member in members["members"]]
                for _ in range(2):
                    await new_room(guest)  # none is made where nobody can come in
                after = len(ben.record)
                await guest.ask("update_profile", displayName="Another")
                await ben.wait_for_event("member_updated", after=after, userId=guest.user_id)
                again = await guest.open_another(server)
                await guest.ask("sign_out" if server is late else "forget_me")
                await again.wait_closed_by_server()
            for room_id in elsewhere:
                await gone(ada, room_id, eve)
    finally:
        if not kill:
            os.kill(lost.process.pid, signal.SIGCONT)
    while kill and replica.role != "master":
        await trio.to_thread.run_sync(replica.client.execute_command, "CLUSTER", "FAILOVER", "TAKEOVER")

    with trio.fail_after(PATIENCE):
        for room_id in there:
            said = await said_at_last(ada, room_id, "it is back")
            await ben.wait_for_event("message", messageId=said)
        for room_id in there + elsewhere:
            await gone(ada, room_id, eve)
            members = await ada.ask("members", roomId=room_id)
            present = [member["userId"] for member in members["members"]]
            assert {ada.user_id, ben.user_id} <= set(present)


async def gone(client: ChatClient, room_id: str, other: ChatClient) -> None:
    """Wait until somebody is not in a room any more."""
    while True:
        members = (await client.ask("members", roomId=room_id))["members"]
        if other.user_id not in [member["userId"] for member in members]:
            return
        await trio.sleep(0.1)  # nothing tells that it was before
