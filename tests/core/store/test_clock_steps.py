"""The store's clock is set back or forward: nobody waits for it, and servers are told apart as before.

A step is made by what is stored: times that were written before the clock was set back lie in the future.
"""

from __future__ import annotations

import time

import pytest

from evanesce.store.redis import lease
from tests.core.store.backends import RedisBackend, eventually
from tests.patience import within

SERVERS = "evanesce:{servers}:"
STEPS = [2.0, 3600.0, 5 * 86_400.0]


@pytest.mark.parametrize("step", STEPS)
async def test_after_a_step_back_a_bucket_is_refused_no_longer_than_it_needs(valkey: RedisBackend, step: float) -> None:
    store = await valkey.open()
    rate, burst = 2.0, 4
    assert await store.rate_limits.take_tokens("messages:ada", burst, rate, burst) == (burst, 0)
    key = "evanesce:{messages:ada}:tokens"
    valkey.client.set(key, float(valkey.client.get(key)) + step * 1000, px=round(step * 1000))
    taken, wait = await store.rate_limits.take_tokens("messages:ada", 1, rate, burst)
    assert taken == 0
    assert 0 < wait <= 1 / rate


@pytest.mark.parametrize("step", STEPS)
async def test_after_a_step_back_a_dead_server_is_found_in_the_time_of_a_lease(
    valkey: RedisBackend, step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    store = await valkey.open("one")
    await eventually(lambda: valkey.client.exists(f"{SERVERS}heard"))
    set_back(valkey, step, holder="dead.0")
    with within(3):
        await eventually(lambda: valkey.client.zscore(f"{SERVERS}leases", "dead.0") is None)
    servers = await store.servers.expiries()
    assert servers is not None
    assert store.servers.server_name in servers


def set_back(valkey: RedisBackend, step: float, holder: str) -> None:
    """Add the lease of a dead server, and move everything that is known of servers into the future by `step` s."""
    milliseconds = round(step * 1000)
    now = round(time.time() * 1000)
    with valkey.client.pipeline() as pipe:
        pipe.zadd(f"{SERVERS}leases", {holder: now + 1000})
        for key in ("leases", "lives"):
            for member in valkey.client.zrange(f"{SERVERS}{key}", 0, -1):
                pipe.zincrby(f"{SERVERS}{key}", milliseconds, member)
        pipe.zincrby(f"{SERVERS}leases", milliseconds, holder)
        pipe.incrby(f"{SERVERS}heard", milliseconds)
        pipe.incrby(f"{SERVERS}since", milliseconds)
        pipe.execute()
