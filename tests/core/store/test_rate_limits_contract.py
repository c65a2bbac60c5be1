"""What every store does for limits over all servers: token buckets, and counts of connections."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from evanesce.errors import StoreUnavailable
from evanesce.store import Store
from evanesce.store.memory import server_registry
from evanesce.store.redis import lease
from tests.core.store.backends import Backend, RedisBackend, eventually

pytestmark = pytest.mark.slow

BUCKET = "messages:ada"


async def test_a_bucket_is_full_at_first_and_shared(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    assert await one.rate_limits.take_tokens(BUCKET, 5, 0.01, 12) == (5, 0)
    assert await two.rate_limits.take_tokens(BUCKET, 5, 0.01, 12) == (5, 0)
    assert await one.rate_limits.take_tokens(BUCKET, 5, 0.01, 12) == (2, 0), "no more than there are"
    taken, wait = await two.rate_limits.take_tokens(BUCKET, 5, 0.01, 12)
    assert taken == 0
    assert 90 < wait <= 100, "one in a hundred seconds"
    assert await two.rate_limits.take_tokens("messages:bob", 1, 0.01, 12) == (1, 0)


async def test_a_bucket_fills_up_at_its_rate(backend: Backend) -> None:
    store = await backend.open()
    rate, burst = 50.0, 4
    began, taken = trio.current_time(), 0
    assert await store.rate_limits.take_tokens(BUCKET, burst, rate, burst) == (burst, 0)
    while taken < 20:
        got, wait = await store.rate_limits.take_tokens(BUCKET, burst, rate, burst)
        taken += got
        assert got or 0 < wait <= 1 / rate
        await trio.sleep(wait)
    took = trio.current_time() - began
    assert taken <= rate * took + 1, "never faster than it fills up"
    await trio.sleep(burst / rate + 0.05)
    assert await store.rate_limits.take_tokens(BUCKET, 100, rate, burst) == (burst, 0), "never more than it takes"


async def test_connections_count_over_all_servers(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    assert await one.rate_limits.connect("ada", 1, 3)
    assert await one.rate_limits.connect("ada", 2, 3)
    assert await two.rate_limits.connect("ada", 1, 3)
    assert not await two.rate_limits.connect("ada", 2, 3)
    assert not await one.rate_limits.connect("ada", 3, 3)
    assert await two.rate_limits.connect("bob", 1, 3)
    one.rate_limits.disconnect("ada", 1)

    async def room_for_one_more() -> bool:
        return await two.rate_limits.connect("ada", 2, 3)

    await eventually(room_for_one_more)
    assert not await one.rate_limits.connect("ada", 2, 3)
    two.rate_limits.disconnect("ada", 0)
    await eventually(lambda: one.rate_limits.connect("ada", 3, 3))


async def test_connections_of_a_server_that_is_gone_do_not_count(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 3.0)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(server_registry, "LEASE_SECONDS", 3.0)
    one, gone = await backend.open("one"), await backend.open("gone")
    assert await gone.rate_limits.connect("ada", 2, 2)
    assert not await one.rate_limits.connect("ada", 1, 2)
    await backend.close(gone)
    await eventually(lambda: one.rate_limits.connect("ada", 2, 2))


async def is_let_in(store: Store, user_id: str, here: int, most: int) -> bool:
    """Whether a store counts connections; False too where it does not answer."""
    try:
        return await store.rate_limits.connect(user_id, here, most)
    except StoreUnavailable:
        return False


async def test_connections_that_end_while_the_store_is_away_do_not_count_afterwards(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    for user_id in ("ada", "bob"):
        assert await one.rate_limits.connect(user_id, 1, 2)
        assert await one.rate_limits.connect(user_id, 2, 2)
    backend.away()
    with pytest.raises(StoreUnavailable):
        await one.rate_limits.connect("eve", 1, 2)  # a store that takes it all the same may have noted it or not
    await eventually(lambda: not one.health.healthy)
    one.rate_limits.disconnect("ada", 1)
    one.rate_limits.disconnect("ada", 0)
    one.rate_limits.disconnect("bob", 1)
    one.rate_limits.disconnect("eve", 0)
    backend.back()

    for user_id, count in (("ada", 2), ("bob", 1), ("eve", 2)):
        await eventually(partial(is_let_in, two, user_id, count, 2))
    assert not await two.rate_limits.connect("bob", 2, 2), "the connection that goes on still counts"


async def test_a_connection_whose_noting_failed_counts_when_the_store_is_back(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    backend.away()
    with pytest.raises(StoreUnavailable):
        await one.rate_limits.connect("ada", 1, 1)
    backend.back()

    async def refused() -> bool:
        try:
            if await two.rate_limits.connect("ada", 1, 1):
                two.rate_limits.disconnect("ada", 0)
                return False
        except StoreUnavailable:
            two.rate_limits.disconnect("ada", 0)
            return False
        return True

    await eventually(refused)


async def test_who_is_connected_to_any_server_that_lives_is_told(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 3.0)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    one, two = await backend.open("one"), await backend.open("two")
    everybody = ["ada", "bob", "eve", *(f"nobody {number}" for number in range(200))]
    assert await one.rate_limits.connect("ada", 1, 9)
    assert await two.rate_limits.connect("ada", 1, 9)
    assert await two.rate_limits.connect("bob", 2, 9)
    assert await one.rate_limits.connect("eve", 1, 9)
    assert set(await one.rate_limits.connected(everybody)) == {"ada", "bob", "eve"}
    one.rate_limits.disconnect("eve", 0)
    await backend.close(two)

    async def the_living_alone() -> bool:
        return set(await one.rate_limits.connected(everybody)) == {"ada"}

    await eventually(the_living_alone)


async def test_while_the_store_is_away_nothing_is_known(backend: Backend) -> None:
    store = await backend.open()
    backend.away()
    try:
        with pytest.raises(StoreUnavailable):
            await store.rate_limits.take_tokens(BUCKET, 1, 1.0, 1)
        with pytest.raises(StoreUnavailable):
            await store.rate_limits.connect("ada", 1, 1)
        store.rate_limits.disconnect("ada", 0)
    finally:
        backend.back()


async def test_what_is_kept_of_a_person_goes_by_itself(valkey: RedisBackend) -> None:
    store = await valkey.open()
    await store.rate_limits.take_tokens(BUCKET, 3, 0.01, 20)
    assert 200_000 < valkey.client.pttl("evanesce:{messages:ada}:tokens") <= 300_000
    await store.rate_limits.connect("ada", 1, 2)
    assert 0 < valkey.client.ttl("evanesce:{ada}:connections") <= 7 * 24 * 3600
    store.rate_limits.disconnect("ada", 0)
    await eventually(lambda: not valkey.client.exists("evanesce:{ada}:connections"))
