"""The store on a Redis Cluster whose slots move, and whose primaries are lost."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Iterator
from uuid import uuid4

import pytest
import trio
from redis.crc import key_slot

from evanesce.config.model import RedisTable
from evanesce.errors import ConfigurationError
from evanesce.store.events import HistoryLost, PresenceChanged
from evanesce.store.health import Severity
from evanesce.store.message_log import LogEntry, RoomClosed
from evanesce.store.presence import Member
from evanesce.store.redis import open_redis_store
from evanesce.store.redis.connection import cluster_address
from evanesce.store.redis.topology import Node, slot_of
from tests.core.store.backends import (
    CLUSTER_ACCESS,
    SMALLEST_ACCESS,
    ClusterBackend,
    Record,
    appended,
    cluster_backend,
    draft,
    eventually,
    join,
    of_kind,
    until,
)
from tests.valkey_cluster import ClusterNode, ValkeyCluster

pytestmark = pytest.mark.slow

ADA = Member("ada", "Ada")
SERVED_AGAIN = 60.0
"""How long the cluster may take to put a replica in a lost primary's place, and the store to find it, in seconds."""


@pytest.fixture
def nodes() -> Iterator[ValkeyCluster]:
    """A cluster that takes a primary for dead soon, but not one that only waits for a CPU."""
    cluster = ValkeyCluster(node_timeout=5_000)
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
async def cluster(nodes: ValkeyCluster) -> AsyncGenerator[ClusterBackend, None]:
    async with cluster_backend(nodes) as backend:
        yield backend


def channel(room_id: str) -> str:
    return f"evanesce:{{{room_id}}}:events"


def room_on(nodes: ValkeyCluster, primary: ClusterNode) -> str:
    """Make up a room that is on one primary."""
    while True:
        room_id = str(uuid4())
        if nodes.primary_of(channel(room_id)) is primary:
            return room_id


def move(nodes: ValkeyCluster, slot: int, source: ClusterNode, target: ClusterNode) -> None:
    """Move a slot with all its keys, one after the other, as `valkey-cli --cluster reshard` does."""
    target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
    while keys := source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
        source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "REPLACE", "KEYS", *keys)
    for node in (target, source, *(one for one in nodes.primaries if one not in (source, target))):
        node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target.id)


async def test_a_room_whose_slot_moves_goes_on(cluster: ClusterBackend) -> None:
    nodes = cluster.cluster
    source, target, *_ = nodes.primaries
    room_id = room_on(nodes, source)
    one, two = await cluster.open("one"), await cluster.open("two")
    await join(one, room_id, [ADA])
    record = Record()
    async with two.events.follow(room_id, 10) as feed, trio.open_nursery() as nursery:
        nursery.start_soon(record.listen, feed)
        nursery.start_soon(record.send, one, room_id)
        await eventually(lambda: len(record.acknowledged) > 50)
        for here, there in ((source, target), (target, source)):
            await trio.to_thread.run_sync(move, nodes, key_slot(channel(room_id).encode()), here, there)
            moved = len(record.acknowledged)
            await eventually(lambda moved=moved: len(record.acknowledged) > moved + 50)
        await record.finish(one, room_id)
        nursery.cancel_scope.cancel()
    heard = record.given
    assert len(heard) == len(set(heard)), "none twice"
    assert [id_ for id_ in heard if id_ in set(record.acknowledged)] == record.acknowledged, "in order"
    assert not of_kind(record.heard, HistoryLost)
    assert (await two.presence.snapshot(room_id, 10)).members == (ADA,)


async def test_a_room_whose_slot_has_moved_goes_on_where_its_old_primary_is_lost(cluster: ClusterBackend) -> None:
    nodes = cluster.cluster
    source, target, *_ = nodes.primaries
    room_id = room_on(nodes, source)
    one, two = await cluster.open("one"), await cluster.open("two")
    await join(one, room_id, [ADA])
    await trio.to_thread.run_sync(move, nodes, key_slot(channel(room_id).encode()), source, target)

    def noted_at(node: ClusterNode) -> bool:
        notes = node.client.scan_iter("evanesce:{servers*}:rooms:one.*")
        return any(node.client.sismember(note, room_id) for note in notes)

    await eventually(lambda: noted_at(target) and not noted_at(source), SERVED_AGAIN)
    assert (await two.presence.snapshot(room_id, 10)).members == (ADA,)  # it has found the slot's new primary
    os.kill(source.process.pid, signal.SIGSTOP)
    try:
        with trio.fail_after(SERVED_AGAIN):
            joined = await join(two, room_id, [Member("ben", "Ben")])
            assert joined.presence.count == 2
            assert await one.presence.leave(room_id, ["ada"]) == 1
    finally:
        os.kill(source.process.pid, signal.SIGCONT)
    assert (await one.presence.snapshot(room_id, 10)).members == (Member("ben", "Ben"),)


async def test_a_lost_primary_is_followed_by_its_replica(cluster: ClusterBackend) -> None:
    nodes = cluster.cluster
    lost, other, *_ = nodes.primaries
    room_id, elsewhere = room_on(nodes, lost), room_on(nodes, other)
    one, two = await cluster.open("one"), await cluster.open("two")
    record, undisturbed = Record(), Record()
    async with (
        two.events.follow(room_id, 10) as feed,
        two.events.follow(elsewhere, 10) as quiet,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(record.listen, feed)
        nursery.start_soon(undisturbed.listen, quiet)
        nursery.start_soon(record.send, one, room_id)
        nursery.start_soon(undisturbed.send, one, elsewhere)
        await eventually(lambda: min(len(record.acknowledged), len(undisturbed.acknowledged)) > 50)
        nodes.kill(lost)
        before = len(record.acknowledged)
        await eventually(lambda: len(record.acknowledged) > before + 50, SERVED_AGAIN)
        await record.finish(one, room_id)
        await undisturbed.finish(one, elsewhere)
        nursery.cancel_scope.cancel()
    assert record.refused, "for a while there was nobody"
    assert not undisturbed.refused, "rooms of other primaries went on meanwhile"
    assert not of_kind(undisturbed.heard, HistoryLost)
    heard = record.given
    assert len(heard) == len(set(heard))
    assert set(record.acknowledged) <= set(heard) or of_kind(record.heard, HistoryLost)


async def test_what_the_replica_had_not_heard_of_is_told(cluster: ClusterBackend) -> None:
    nodes = cluster.cluster
    primary = nodes.primaries[0]
    replica = nodes.replica_of(primary)
    room_id = room_on(nodes, primary)
    one, two = await cluster.open("one"), await cluster.open("two")
    await join(one, room_id, [ADA])
    async with one.events.follow(room_id, 10) as feed, two.events.follow(room_id, 10) as other:
        await one.messages.append(room_id, [draft(room_id, "kept")])
        assert primary.client.execute_command("WAIT", 1, 4000) == 1
        os.kill(replica.process.pid, signal.SIGSTOP)
        primary.client.client_kill_filter(_type="replica")  # what is sent to it would wait in its socket
        await one.messages.append(room_id, [draft(room_id, "lost")])
        await until(feed, LogEntry, 2)
        await until(other, LogEntry, 2)
        before = await one.messages.history(room_id, None, 10, 100_000)
        assert not isinstance(before, RoomClosed)
        nodes.kill(primary)
        os.kill(replica.process.pid, signal.SIGCONT)
        await eventually(lambda: took_over(replica), SERVED_AGAIN)
        for content in ("new", "newer"):
            await eventually(lambda content=content: appended(two, room_id, content), SERVED_AGAIN)
        for one_feed in (feed, other):
            told = await until(one_feed, LogEntry, 2)
            assert isinstance(next(each for each in told if not isinstance(each, PresenceChanged)), HistoryLost)
            assert [each.message.content for each in of_kind(told, LogEntry)] == ["new", "newer"]
    after = await two.messages.history(room_id, before.cursor, 10, 100_000)
    assert not isinstance(after, RoomClosed)
    assert after.missed is None
    assert [each.message.content for each in after.messages] == ["kept", "new", "newer"]


def took_over(replica: ClusterNode) -> bool:
    if replica.role != "master":
        replica.client.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
    return replica.role == "master"


async def test_a_server_starts_while_the_first_node_of_the_url_is_down(cluster: ClusterBackend, room_id: str) -> None:
    nodes = cluster.cluster
    nodes.kill(nodes.nodes[0])
    store = await cluster.open()
    await eventually(lambda: store.health.healthy)
    await eventually(lambda: appended(store, room_id, "hello"), SERVED_AGAIN)


async def test_the_smallest_access_list_of_a_cluster_is_enough(nodes: ValkeyCluster) -> None:
    for node in nodes.nodes:
        rules = f"on >secret {SMALLEST_ACCESS} {CLUSTER_ACCESS}"
        node.client.execute_command("ACL", "SETUSER", "chat", *rules.split())
    source, target, *_ = nodes.primaries
    room_id = room_on(nodes, source)
    table = RedisTable(url=nodes.url.replace("redis://", "redis://chat:secret@"), cluster=True)
    async with open_redis_store(table, ttl=60, server_id="one") as store, store.events.follow(room_id, 10) as feed:
        await join(store, room_id, [ADA])
        assert await appended(store, room_id, "before")
        await trio.to_thread.run_sync(move, nodes, key_slot(channel(room_id).encode()), source, target)
        await eventually(lambda: appended(store, room_id, "after"))
        heard = of_kind(await until(feed, LogEntry, 2), LogEntry)
        assert [each.message.content for each in heard] == ["before", "after"]


async def test_check_looks_at_every_primary(cluster: ClusterBackend) -> None:
    store = await cluster.open()
    found = {finding.part: finding for finding in await store.health.check()}
    assert Severity.FAIL not in {finding.severity for finding in found.values()}, found
    for node in cluster.cluster.primaries:
        assert f"127.0.0.1:{node.port} Valkey" in found["redis"].text


def test_a_clusters_address() -> None:
    address, nodes = cluster_address("redis://ada:secret@one:7000,two,[::1]:7002/0")
    assert nodes == [Node("one", 7000), Node("two", 6379), Node("::1", 7002)]
    assert address.at("two", 6379) is not address
    for url in ("unix:///tmp/valkey.sock", "redis://", "redis://one:port", "redis://one,,two"):
        with pytest.raises(ConfigurationError) as error:
            cluster_address(url)
        assert "secret" not in str(error.value)


def test_the_slot_is_that_of_the_first_key() -> None:
    assert slot_of(("EVALSHA", "digest", 2, "a:{room}:state", "a:{room}:index", "x")) == key_slot(b"room")
    assert slot_of(("SPUBLISH", "a:{room}:events", "x")) == key_slot(b"room")
    assert slot_of(("INFO", "server")) is None


async def test_a_primary_with_an_identity_of_before_does_not_make_it_another_redis(cluster: ClusterBackend) -> None:
    one = await cluster.open("one")
    assert await one.servers.identity("present") == "present"
    for primary in cluster.cluster.primaries:  # each was away in turn while the others lost their memory
        [key] = primary.client.keys("*:identity")
        primary.client.set(key, "before")
        for _ in range(5):  # in whichever order they answer
            assert await one.servers.identity() == "present"
        assert await one.servers.identity("before") == "present", "it is proposed by somebody who knows the old one"
        assert primary.client.get(key) == b"before"
        assert await one.servers.identity("present") == "present"
        assert primary.client.get(key) == b"present"
        assert primary.client.pttl(key) > 0
