"""Which Redis a database is bound to, in virtual time: who may start, who may clean up, and what it costs."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from evanesce.errors import ConfigurationError
from evanesce.maintenance.binding import EMBEDDED, HEARTBEAT_SECONDS, SILENT_SECONDS, Binding, RedisGuard
from evanesce.metrics import Metrics
from evanesce.store.memory import MemoryServer, memory_store
from evanesce.testing.memory_repository import MemoryRepository


class Counting(MemoryRepository):
    """Counts what is written about Redis."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    async def bind_redis(self, identity: str, replacing: str | None) -> bool:
        self.writes += 1
        return await super().bind_redis(identity, replacing)


def a_guard(
    repository: MemoryRepository,
    memory: MemoryServer,
    name: str = "one",
    *,
    embedded: bool = False,
    alone: bool = False,
) -> RedisGuard:
    store = memory_store(server_id=name, server=memory)
    return RedisGuard(repository, store, Metrics(), embedded=embedded, alone=alone)


@asynccontextmanager
async def running(guard: RedisGuard) -> AsyncGenerator[RedisGuard]:
    """Start as a server does, and beat until the context ends, as when it is killed."""
    await guard.bind()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(guard.run)
        yield guard
        nursery.cancel_scope.cancel()


@pytest.fixture
def repository() -> Counting:
    return Counting()


async def seconds_of(guard: RedisGuard) -> float:
    """How long its start takes, in seconds; an answer of the store takes some hundred microseconds."""
    began = trio.current_time()
    await guard.bind()
    return round(trio.current_time() - began, 1)


async def test_a_new_database_is_bound_to_the_redis_of_its_first_server_and_others_on_it_may_come(
    autojump_clock: MockClock,
    repository: Counting,
) -> None:
    memory = MemoryServer()
    async with running(a_guard(repository, memory)) as first:
        assert repository.binding is not None
        assert repository.binding[0] == memory.identity
        assert await seconds_of(a_guard(repository, memory, "two")) == 0
        assert await first.is_bound()


async def test_a_redis_with_another_identity_is_refused_however_long_ago_the_last_server_ended(
    autojump_clock: MockClock,
    repository: Counting,
) -> None:
    await a_guard(repository, MemoryServer()).bind()
    other = MemoryServer()
    await a_guard(MemoryRepository(), other).bind()  # it has an identity, from another database
    await trio.sleep(100 * SILENT_SECONDS)
    with pytest.raises(ConfigurationError, match="evanesce db adopt") as refused:
        await a_guard(repository, other, "two").bind()
    assert refused.value.path == "redis.url"


@pytest.mark.parametrize("embedded", [False, True])
async def test_an_empty_redis_is_refused_while_servers_live_with_another(
    autojump_clock: MockClock, repository: Counting, embedded: bool
) -> None:
    memory, other = MemoryServer(), MemoryServer()
    async with running(a_guard(repository, memory)) as first:
        with trio.fail_after(4 * SILENT_SECONDS), pytest.raises(ConfigurationError, match="evanesce db adopt"):
            await a_guard(repository, other, "two", embedded=embedded).bind()
        assert other.identity is None, "it takes no identity that would bind it later"
        assert await first.is_bound()


async def test_an_empty_redis_takes_over_when_the_heartbeats_have_stopped(
    autojump_clock: MockClock, repository: Counting
) -> None:
    async with running(a_guard(repository, MemoryServer())):
        await trio.sleep(100)
    # Killed: it has not said that it ends.
    assert await seconds_of(a_guard(repository, MemoryServer(), "two")) >= SILENT_SECONDS - HEARTBEAT_SECONDS
    await trio.sleep(2 * SILENT_SECONDS)
    assert await seconds_of(a_guard(repository, MemoryServer(), "three")) == 0


async def test_a_clock_that_goes_back_does_not_keep_a_server_from_starting(
    autojump_clock: MockClock, repository: Counting
) -> None:
    repository.binding = ("of before", 7, trio.current_time() + 3600)
    assert SILENT_SECONDS <= await seconds_of(a_guard(repository, MemoryServer())) <= SILENT_SECONDS + 2


async def test_who_ends_in_order_leaves_nobody_waiting(autojump_clock: MockClock, repository: Counting) -> None:
    memory = MemoryServer()
    stores = [memory_store(server_id=name, server=memory) for name in ("one", "two")]
    guards = [RedisGuard(repository, store, Metrics(), embedded=False, alone=False) for store in stores]
    for guard in guards:
        await guard.bind()
    await trio.sleep(20)  # then it is known which servers live
    await guards[0].release(restarting=False)
    bound = await repository.bound_redis()
    assert bound is not None
    assert bound.silent <= 20, "the other one still uses it"
    stores[0].stop()
    await trio.sleep(20)
    await guards[1].release(restarting=False)
    assert await seconds_of(a_guard(repository, MemoryServer(), "three")) == 0


async def test_an_embedded_redis_starts_at_once_where_no_other_can_be_on_the_file(
    autojump_clock: MockClock, repository: Counting
) -> None:
    for number in range(5):  # each life has a Redis of its own, and is killed
        guard = a_guard(repository, MemoryServer(), str(number), embedded=True, alone=True)
        assert await seconds_of(guard) == 0
        assert repository.binding is not None
        assert repository.binding[0].startswith(EMBEDDED)


async def test_a_redis_that_loses_its_memory_is_known_again_by_the_servers_that_live(
    autojump_clock: MockClock, repository: Counting
) -> None:
    memory = MemoryServer()
    async with running(a_guard(repository, memory)) as first:
        identity = memory.identity
        memory.go_down()
        await trio.sleep(3 * SILENT_SECONDS)
        memory.come_back(with_memory=False)
        assert memory.identity is None
        assert await seconds_of(a_guard(repository, memory, "two")) <= HEARTBEAT_SECONDS + SILENT_SECONDS
        assert await first.is_bound()
        assert memory.identity is not None
        assert repository.binding is not None
        assert repository.binding[0] == memory.identity
        assert identity is not None


async def test_all_servers_that_come_back_at_once_on_an_empty_redis_agree(
    autojump_clock: MockClock, repository: Counting
) -> None:
    async with running(a_guard(repository, MemoryServer())):
        await trio.sleep(100)
    memory = MemoryServer()
    guards = [a_guard(repository, memory, str(number)) for number in range(5)]
    async with trio.open_nursery() as nursery:
        for guard in guards:
            nursery.start_soon(guard.bind)
    assert [await guard.check() for guard in guards] == [Binding.OURS] * 5
    assert repository.binding is not None
    assert repository.binding[0] == memory.identity


async def test_a_redis_that_is_away_at_the_start_is_compared_later(
    autojump_clock: MockClock, repository: Counting
) -> None:
    await a_guard(repository, MemoryServer()).bind()
    other = MemoryServer()
    await a_guard(MemoryRepository(), other).bind()
    other.go_down()
    async with running(a_guard(repository, other, "two")) as guard:
        other.come_back()
        await trio.sleep(2 * HEARTBEAT_SECONDS)
        assert not await guard.is_bound()


async def test_who_is_replaced_on_purpose_says_so_once_and_no_longer_beats(
    autojump_clock: MockClock, repository: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    memory = MemoryServer()
    async with running(a_guard(repository, memory)) as first:
        await trio.sleep(1)
        assert await repository.bind_redis("adopted", memory.identity)
        await trio.sleep(100)
        assert not await first.is_bound()
        bound = await repository.bound_redis()
        assert bound is not None
        assert bound.silent >= 100
    [told] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "evanesce db adopt" in told.getMessage()


async def test_the_heartbeats_of_all_servers_together_are_rare(autojump_clock: MockClock, repository: Counting) -> None:
    memory = MemoryServer()
    guards = [a_guard(repository, memory, str(number)) for number in range(3)]
    async with trio.open_nursery() as nursery:
        for guard in guards:
            await guard.bind()
            nursery.start_soon(guard.run)
        repository.writes = 0
        await trio.sleep(600)
        assert 600 / SILENT_SECONDS < repository.writes <= 600 / HEARTBEAT_SECONDS + 3
        nursery.cancel_scope.cancel()


async def test_a_database_that_is_away_for_a_while_costs_no_server_its_place(
    autojump_clock: MockClock, repository: Counting
) -> None:
    async with running(a_guard(repository, MemoryServer())) as guard:
        repository.state = "down"
        await trio.sleep(10 * SILENT_SECONDS)
        repository.state = "up"
        await trio.sleep(2 * HEARTBEAT_SECONDS)
        assert await guard.is_bound()
