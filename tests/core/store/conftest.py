"""What the tests of the store run on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from uuid import uuid4

import pytest

from tests.core.store.backends import SMALLEST_ACCESS, Backend, MemoryBackend, RedisBackend, redis_backend


@pytest.fixture(params=["memory", "redis", "redis-smallest-access"])
async def backend(request: pytest.FixtureRequest) -> AsyncGenerator[Backend, None]:
    if request.param == "memory":
        yield MemoryBackend()
        return
    async with redis_backend(SMALLEST_ACCESS if "access" in request.param else None) as real:
        yield real


@pytest.fixture
async def valkey() -> AsyncGenerator[RedisBackend, None]:
    async with redis_backend() as real:
        yield real


@pytest.fixture
def room_id() -> str:
    return str(uuid4())
