"""What every store says of its health, and the test message of `Health.probe`: it leaves nothing behind."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from evanesce.errors import StoreUnavailable
from evanesce.sessions.gateway import PROBE_SECONDS
from evanesce.sessions.readiness import CHECK_SECONDS
from tests.core.store.backends import (
    SMALLEST_ACCESS,
    Backend,
    ClusterBackend,
    RedisBackend,
    cluster_backend,
    eventually,
    redis_backend,
)
from tests.patience import PATIENCE
from tests.valkey_cluster import ValkeyCluster

pytestmark = pytest.mark.slow


async def test_a_store_that_works_says_so(backend: Backend) -> None:
    store = await backend.open()
    assert store.health.healthy
    assert await store.health.check()


async def test_it_arrives_again_and_again(backend: Backend) -> None:
    store = await backend.open()
    for _ in range(3):
        await store.health.probe()


async def test_many_at_once_are_no_harm(valkey: RedisBackend) -> None:
    store = await valkey.open()
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(store.health.probe)
    assert [key for key in valkey.client.scan_iter() if b"check" in key] == []


@pytest.mark.parametrize("access", [None, SMALLEST_ACCESS])
async def test_nothing_is_left_behind(access: str | None) -> None:
    async with redis_backend(access) as valkey:
        store = await valkey.open()
        await eventually(lambda: valkey.client.pubsub_shardchannels())
        with valkey.client.monitor() as monitor:
            before = set(valkey.client.scan_iter())
            channels = set(valkey.client.pubsub_shardchannels())
            await store.health.probe()
            await eventually(lambda: set(valkey.client.pubsub_shardchannels()) == channels)
            valkey.client.echo("the end")
            seen: list[str] = []
            while "the end" not in (seen or [""])[-1]:
                seen.append((await trio.to_thread.run_sync(monitor.next_command))["command"])
        after = {key for key in valkey.client.scan_iter() if b"check" in key}
        assert not after - before
        # No list of keys to erase names it either.
        assert [line for line in seen if line.startswith("ZADD") and "check-" in line] == []
        assert [line for line in seen if line.startswith("UNLINK") and "check-" in line]


STEPS = {
    "-xadd": "stored",
    "-spublish": "stored",
    "-ssubscribe": "followed",
    "-mget": "stored",
    "-unlink": "erased",
    "-hmget": "looked for",
    "resetchannels &elsewhere:*": "followed",
    "resetkeys ~elsewhere:*": "looked for",
    "resetkeys %R~evanesce:*": "looked for",
}


@pytest.mark.parametrize("rule", STEPS)
async def test_it_says_how_far_it_came(rule: str) -> None:
    async with redis_backend(SMALLEST_ACCESS) as valkey:
        store = await valkey.open()
        await store.health.probe()
        valkey.client.execute_command("ACL", "SETUSER", "chat", *rule.split())
        with pytest.raises(StoreUnavailable, match=f"A message could not be {STEPS[rule]}: ") as refusal:
            await store.health.probe()
        if STEPS[rule] != "followed":  # the subscriber's connection breaks there
            assert "does not grant" in str(refusal.value), "also where a script is refused what it does"
        if "unlink" in rule:  # then Redis itself erases it, soon
            left = [key for key in valkey.client.scan_iter() if b"check-" in key]
            assert left
            assert all(0 < valkey.client.pttl(key) <= 310_000 for key in left)
        else:
            await eventually(lambda: [key for key in valkey.client.scan_iter() if b"check-" in key] == [])


async def test_a_replica_takes_none(valkey: RedisBackend) -> None:
    store = await valkey.open()
    await store.health.probe()
    valkey.client.replicaof("127.0.0.1", "1")
    with pytest.raises(StoreUnavailable, match="it is a replica"):
        await store.health.probe()
    valkey.client.replicaof("NO", "ONE")
    await store.health.probe()


async def test_it_fails_within_the_time_of_a_call(valkey: RedisBackend) -> None:
    store = await valkey.open()
    await store.health.probe()
    valkey.away()
    with trio.fail_after(PATIENCE), pytest.raises(StoreUnavailable):
        await store.health.probe()
    valkey.back()


async def test_it_says_how_far_it_came_within_the_time_of_a_check(valkey: RedisBackend) -> None:
    """Else `readyz` cuts it short, and the log blames a Redis that answers."""
    store = await valkey.open()
    await store.health.probe()
    assert PROBE_SECONDS < CHECK_SECONDS
    valkey.client.execute_command("ACL", "SETUSER", "default", "-ssubscribe")
    began = trio.current_time()
    with pytest.raises(StoreUnavailable, match="A message could not be followed: "):
        await store.health.probe(1.5)
    assert trio.current_time() - began >= 1.5
    valkey.client.execute_command("ACL", "SETUSER", "default", "+ssubscribe")


async def test_one_primary_that_works_is_enough(shared_cluster: ValkeyCluster) -> None:
    shared_cluster.start()
    async with cluster_backend(shared_cluster) as backend:
        store = await backend.open()
        await store.health.probe()
        _, *others = shared_cluster.primaries
        pids = [int(node.client.info("server")["process_id"]) for node in others]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            await store.health.probe()
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        await eventually(lambda: _left(backend) == [], 30)


def _left(backend: ClusterBackend) -> list[bytes]:
    return [key for node in backend.cluster.primaries for key in node.client.scan_iter() if b"check-" in key]
