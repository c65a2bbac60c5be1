"""What one person uses on all servers, by every store: tokens of a rate, and connections."""

from __future__ import annotations

import pytest
import trio

from evanesce.errors import StoreUnavailable
from evanesce.store.redis import lease
from evanesce.testing import memory_store
from tests.core.store.backends import Backend, RedisBackend, eventually

BUCKET = "messages:ada"


async def test_a_bucket_is_full_at_first_and_shared(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    assert await one.take_tokens(BUCKET, 5, 0.01, 12) == (5, 0)
    assert await two.take_tokens(BUCKET, 5, 0.01, 12) == (5, 0)
    assert await one.take_tokens(BUCKET, 5, 0.01, 12) == (2, 0), "no more than there are"
    taken, wait = await two.take_tokens(BUCKET, 5, 0.01, 12)
    assert taken == 0
    assert 90 < wait <= 100, "one in a hundred seconds"
    assert await two.take_tokens("messages:bob", 1, 0.01, 12) == (1, 0)


async def test_a_bucket_fills_up_at_its_rate(backend: Backend) -> None:
    store = await backend.open()
    rate, burst = 50.0, 4
    assert await store.take_tokens(BUCKET, burst, rate, burst) == (burst, 0)
    began, taken = trio.current_time(), 0
    while taken < 20:
        got, wait = await store.take_tokens(BUCKET, burst, rate, burst)
        taken += got
        assert got or 0 < wait <= 1 / rate
        await trio.sleep(wait)
    took = trio.current_time() - began
    assert taken <= rate * took + 1, "never faster than it fills up"
    await trio.sleep(burst / rate + 0.05)
    assert await store.take_tokens(BUCKET, 100, rate, burst) == (burst, 0), "never more than it takes"


async def test_connections_count_over_all_servers(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    assert await one.connect("ada", 1, 3)
    assert await one.connect("ada", 2, 3)
    assert await two.connect("ada", 1, 3)
    assert not await two.connect("ada", 2, 3)
    assert not await one.connect("ada", 3, 3)
    assert await two.connect("bob", 1, 3)
    one.disconnect("ada", 1)

    async def room_for_one_more() -> bool:
        return await two.connect("ada", 2, 3)

    await eventually(room_for_one_more)
    assert not await one.connect("ada", 2, 3)
    two.disconnect("ada", 0)
    await eventually(lambda: one.connect("ada", 3, 3))


async def test_connections_of_a_server_that_is_gone_do_not_count(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(memory_store, "LEASE_SECONDS", 0.5)
    one, gone = await backend.open("one"), await backend.open("gone")
    assert await gone.connect("ada", 2, 2)
    assert not await one.connect("ada", 1, 2)
    await backend.close(gone)
    await eventually(lambda: one.connect("ada", 2, 2))


async def test_while_the_store_is_away_nothing_is_known(backend: Backend) -> None:
    store = await backend.open()
    backend.away()
    try:
        with pytest.raises(StoreUnavailable):
            await store.take_tokens(BUCKET, 1, 1.0, 1)
        with pytest.raises(StoreUnavailable):
            await store.connect("ada", 1, 1)
        store.disconnect("ada", 0)
    finally:
        backend.back()


async def test_what_is_kept_of_a_person_goes_by_itself(valkey: RedisBackend) -> None:
    store = await valkey.open()
    await store.take_tokens(BUCKET, 3, 1.0, 20)
    assert 2_000 < valkey.client.pttl("evanesce:{messages:ada}:tokens") <= 3_000
    await store.connect("ada", 1, 2)
    assert 0 < valkey.client.ttl("evanesce:{ada}:connections") <= 7 * 24 * 3600
    store.disconnect("ada", 0)
    await eventually(lambda: not valkey.client.exists("evanesce:{ada}:connections"))
