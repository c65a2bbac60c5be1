"""What is measured of a real Valkey: round trips, failures, connections, gaps, the lease, and memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import trio

from evanesce.config.model import RedisTable
from evanesce.errors import StoreUnavailable
from evanesce.store.redis import memory_watch, open_redis_store
from evanesce.store.redis.connection import Address
from evanesce.store.redis.node_client import NodeClient
from evanesce.store.statistics import StoreStatistics
from tests.core.store.backends import RedisBackend, append_one, draft, eventually
from tests.core.store.gate import Gate, gated


@pytest.fixture
async def gate(valkey: RedisBackend, tmp_path: Path) -> AsyncGenerator[Gate, None]:
    async with gated(tmp_path, valkey.url) as gate:
        yield gate


def calls(statistics: StoreStatistics) -> int:
    buckets, _ = statistics.round_trips.buckets()
    return buckets[-1][1]


async def test_calls_connections_and_failures_are_counted(gate: Gate) -> None:
    statistics = StoreStatistics()
    async with NodeClient(Address(gate.url), statistics) as client:
        for _ in range(5):
            await client.run(("ECHO", "a"), ("ECHO", "b"))
        assert calls(statistics) == 5
        assert (statistics.failed.value, statistics.connects.value, statistics.lost.value) == (0, 1, 0)
        gate.hold()
        async with trio.open_nursery() as nursery:

            async def unanswered() -> None:
                with pytest.raises(StoreUnavailable):
                    await client.run(("ECHO", "c"))

            nursery.start_soon(unanswered)
            await gate.held.wait()
            gate.cut()
        gate.release()
        await eventually(lambda: client.up)
        assert (statistics.failed.value, statistics.connects.value, statistics.lost.value) == (1, 2, 1)
        assert calls(statistics) == 5
    with pytest.raises(StoreUnavailable):
        await client.run(("ECHO", "d"))
    assert statistics.failed.value == 2, "one that is refused before it is sent counts, too"


async def test_a_store_measures_its_lease_its_memory_and_the_gaps_it_fills(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_watch, "MEMORY_SECONDS", 0.01)
    valkey.client.config_set("maxmemory", 64 * 1024 * 1024)
    statistics = StoreStatistics()
    async with (
        open_redis_store(RedisTable(url=valkey.url), ttl=60.0, server_id="one", statistics=statistics) as store,
        store.events.follow(room_id, 10) as feed,
    ):
        await eventually(lambda: statistics.memory > 0)
        assert statistics.memory_limit == 64 * 1024 * 1024
        assert statistics.memory == pytest.approx(valkey.client.info("memory")["used_memory"], rel=0.5)
        await eventually(lambda: 0 <= statistics.lease_age() < 5)
        await append_one(store, draft(room_id, "heard"))
        await feed.next()
        assert statistics.gaps.value == 0
        valkey.client.client_kill_filter(_type="pubsub")
        await append_one(store, draft(room_id, "missed"))
        await feed.next()
        assert statistics.gaps.value >= 1


async def test_a_user_of_redis_who_may_not_ask_for_the_memory_leaves_it_unknown(
    valkey: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_watch, "MEMORY_SECONDS", 0.01)
    statistics = StoreStatistics()
    async with NodeClient(Address(valkey.url), statistics) as client, trio.open_nursery() as nursery:
        valkey.client.execute_command("ACL", "SETUSER", "default", "-info")
        nursery.start_soon(memory_watch.watch_memory, client, statistics)
        await eventually(lambda: calls(statistics) >= 3)
        assert statistics.memory == 0
        valkey.client.execute_command("ACL", "SETUSER", "default", "+info")
        await eventually(lambda: statistics.memory > 0)
        nursery.cancel_scope.cancel()
