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
from evanesce.store.base import Gone, Lost, Person, Positioned, PresenceChanged
from evanesce.store.redis import open_redis_store
from evanesce.store.redis.connection import cluster_address
from evanesce.store.redis.topology import Node, slot_of
from tests.core.store.backends import (
    RUNNING,
    SMALLEST_ACCESS,
    ClusterBackend,
    Record,
    appended,
    cluster_backend,
    draft,
    eventually,
    of_kind,
    until,
)
from tests.valkey_cluster import ClusterNode, ValkeyCluster

ADA = Person("ada", "Ada")
SERVED_AGAIN = 20.0
"""How long the cluster may take to put a replica in a lost primary's place, and the store to find it, in seconds."""


@pytest.fixture
def nodes() -> Iterator[ValkeyCluster]:
    """A cluster that takes a primary for dead soon."""
    cluster = ValkeyCluster(node_timeout=1_500)
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
    await one.enter(room_id, [ADA], 10, 10)
    record = Record()
    async with two.follow(room_id, 10) as feed, trio.open_nursery() as nursery:
        nursery.start_soon(record.listen, feed)
        nursery.start_soon(record.talk, one, room_id)
        await eventually(lambda: len(record.acknowledged) > 50)
        for here, there in ((source, target), (target, source)):
            await trio.to_thread.run_sync(move, nodes, key_slot(channel(room_id).encode()), here, there)
            moved = len(record.acknowledged)
            await eventually(lambda moved=moved: len(record.acknowledged) > moved + 50)
        await record.settled(one, room_id)
        nursery.cancel_scope.cancel()
    heard = record.given
    assert len(heard) == len(set(heard)), "none twice"
    assert [id_ for id_ in heard if id_ in set(record.acknowledged)] == record.acknowledged, "in order"
    assert not of_kind(record.heard, Lost)
    assert (await two.presence(room_id, 10)).people == (ADA,)


async def test_a_lost_primary_is_followed_by_its_replica(cluster: ClusterBackend) -> None:
    nodes = cluster.cluster
    lost, other, *_ = nodes.primaries
    room_id, elsewhere = room_on(nodes, lost), room_on(nodes, other)
    one, two = await cluster.open("one"), await cluster.open("two")
    record, undisturbed = Record(), Record()
    async with two.follow(room_id, 10) as feed, two.follow(elsewhere, 10) as quiet, trio.open_nursery() as nursery:
        nursery.start_soon(record.listen, feed)
        nursery.start_soon(undisturbed.listen, quiet)
        nursery.start_soon(record.talk, one, room_id)
        nursery.start_soon(undisturbed.talk, one, elsewhere)
        await eventually(lambda: min(len(record.acknowledged), len(undisturbed.acknowledged)) > 50)
        nodes.kill(lost)
        before = len(record.acknowledged)
        await eventually(lambda: len(record.acknowledged) > before + 50, SERVED_AGAIN)
        await record.settled(one, room_id)
        await undisturbed.settled(one, elsewhere)
        nursery.cancel_scope.cancel()
    assert record.refused, "for a while there was nobody"
    assert not undisturbed.refused, "rooms of other primaries went on meanwhile"
    assert not of_kind(undisturbed.heard, Lost)
    heard = record.given
    assert len(heard) == len(set(heard))
    assert set(record.acknowledged) <= set(heard) or of_kind(record.heard, Lost)


async def test_what_the_replica_had_not_heard_of_is_told(cluster: ClusterBackend) -> None:
    nodes = cluster.cluster
    primary = nodes.primaries[0]
    replica = nodes.replica_of(primary)
    room_id = room_on(nodes, primary)
    one, two = await cluster.open("one"), await cluster.open("two")
    await one.enter(room_id, [ADA], 10, 10)
    async with one.follow(room_id, 10) as feed, two.follow(room_id, 10) as other:
        await one.append(room_id, [draft(room_id, "kept")])
        primary.client.execute_command("WAIT", 1, 1000)
        os.kill(replica.process.pid, signal.SIGSTOP)
        primary.client.client_kill_filter(_type="replica")  # what is sent to it would wait in its socket
        await one.append(room_id, [draft(room_id, "lost")])
        await until(feed, Positioned, 2)
        await until(other, Positioned, 2)
        before = await one.history(room_id, None, 10, 100_000)
        assert not isinstance(before, Gone)
        nodes.kill(primary)
        os.kill(replica.process.pid, signal.SIGCONT)
        await eventually(lambda: took_over(replica), SERVED_AGAIN)
        for content in ("new", "newer"):
            await eventually(lambda content=content: appended(two, room_id, content), SERVED_AGAIN)
        for one_feed in (feed, other):
            told = await until(one_feed, Positioned, 2)
            assert isinstance(next(each for each in told if not isinstance(each, PresenceChanged)), Lost)
            assert [each.message.content for each in of_kind(told, Positioned)] == ["new", "newer"]
    after = await two.history(room_id, before.cursor, 10, 100_000)
    assert not isinstance(after, Gone)
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
    await eventually(lambda: store.healthy)
    await eventually(lambda: appended(store, room_id, "hello"), SERVED_AGAIN)


async def test_the_smallest_access_list_of_a_cluster_is_enough(nodes: ValkeyCluster) -> None:
    [more] = [line.strip() for line in RUNNING.read_text().splitlines() if line.startswith("    +cluster")]
    for node in nodes.nodes:
        rules = f"on >secret {SMALLEST_ACCESS} {more}"
        node.client.execute_command("ACL", "SETUSER", "chat", *rules.split())
    source, target, *_ = nodes.primaries
    room_id = room_on(nodes, source)
    table = RedisTable(url=nodes.url.replace("redis://", "redis://chat:secret@"), cluster=True)
    async with open_redis_store(table, ttl=60, server_id="one") as store, store.follow(room_id, 10) as feed:
        await store.enter(room_id, [ADA], 10, 10)
        assert await appended(store, room_id, "before")
        await trio.to_thread.run_sync(move, nodes, key_slot(channel(room_id).encode()), source, target)
        await eventually(lambda: appended(store, room_id, "after"))
        heard = of_kind(await until(feed, Positioned, 2), Positioned)
        assert [each.message.content for each in heard] == ["before", "after"]


async def test_check_looks_at_every_primary(cluster: ClusterBackend) -> None:
    store = await cluster.open()
    names, *cautions = await store.check()
    for node in cluster.cluster.primaries:
        assert f"127.0.0.1:{node.port} Valkey" in names
    assert len([line for line in cautions if "replicas: 1 of them hold copies of content" in line]) == 3


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
