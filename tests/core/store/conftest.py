"""What the tests of the store run on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from uuid import uuid4

import pytest

from tests.core.store.backends import (
    SECRET,
    SMALLEST_ACCESS,
    Backend,
    MemoryBackend,
    RedisBackend,
    cluster_backend,
    redis_backend,
)
from tests.valkey_cluster import ValkeyCluster


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[ValkeyCluster]:
    """A Redis Cluster, which is started by the first test that wants it."""
    cluster = ValkeyCluster()
    yield cluster
    cluster.stop()


@pytest.fixture(params=["memory", "redis", "redis-smallest-access", "redis-encrypted", "cluster"])
async def backend(request: pytest.FixtureRequest, shared_cluster: ValkeyCluster) -> AsyncGenerator[Backend, None]:
    if request.param == "memory":
        yield MemoryBackend()
        return
    if request.param == "cluster":
        shared_cluster.start()
        async with cluster_backend(shared_cluster) as cluster:
            yield cluster
        return
    encrypted = SECRET if "encrypted" in request.param else None
    async with redis_backend(SMALLEST_ACCESS if "access" in request.param else None, encrypted) as real:
        yield real


@pytest.fixture
async def valkey() -> AsyncGenerator[RedisBackend, None]:
    async with redis_backend() as real:
        yield real


@pytest.fixture
def room_id() -> str:
    return str(uuid4())
