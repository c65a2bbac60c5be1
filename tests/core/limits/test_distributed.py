"""Limits that hold over several servers, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.config.model import LimitsTable
from evanesce.errors import CloseCode
from evanesce.limits.distributed import ASK_SECONDS, LEASE_SECONDS, DistributedRateLimit
from evanesce.store.memory import MemoryServer, memory_store
from evanesce.store.memory.rate_limits import MemoryRateLimits
from evanesce.store.rate_limits import RateLimits
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import memory_server


class Counted(MemoryRateLimits):
    """Counts how often tokens are asked for."""

    asked = 0

    def __init__(self, server: MemoryServer | None = None) -> None:
        super().__init__(server or MemoryServer(), "one")

    async def take_tokens(self, bucket: str, wanted: int, rate: float, burst: int) -> tuple[int, float]:
        self.asked += 1
        return await super().take_tokens(bucket, wanted, rate, burst)


def limit(shared: RateLimits, rate: float = 5.0, burst: int = 20, most_keys: int = 100_000) -> DistributedRateLimit:
    return DistributedRateLimit("messages", rate, burst, shared, trio.current_time, most_keys=most_keys)


async def test_ten_times_the_rate_on_two_servers(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    limits = [limit(memory_store(server=memory).rate_limits) for _ in range(2)]
    accepted = 0

    async def flood(one: DistributedRateLimit) -> None:
        nonlocal accepted
        for _ in range(250):
            wait = await one.take("ada")
            accepted += not wait
            assert wait < 0.2001, "there is one in a fifth of a second, whoever gets it"
            await trio.sleep(1 / 25)

    async with trio.open_nursery() as nursery:
        for one in limits:
            nursery.start_soon(flood, one)
    assert 5 * 10 * 0.95 < accepted <= 5 * 10 + 20, "the rate for ten seconds, and one burst"


async def test_who_talks_steadily_costs_a_lease_for_each_fourth_of_a_burst(autojump_clock: MockClock) -> None:
    store = Counted()
    one = limit(store)
    for _ in range(100):
        assert await one.take("ada") == 0
        await trio.sleep(0.2)
    assert store.asked <= 100 // 5 + 1


@pytest.mark.parametrize(("rate", "burst"), [(60 / 3600, 60), (6 / 60, 6), (30 / 60, 30), (5.0, 20)])
async def test_who_keeps_to_a_slow_rate_is_never_refused(autojump_clock: MockClock, rate: float, burst: int) -> None:
    """Leased tokens run out after some seconds: no more may be leased than come back to the bucket by then."""
    one = limit(memory_store().rate_limits, rate, burst)
    for _ in range(burst // 2):
        assert await one.take("ada") == 0
    for _ in range(10 * burst):
        await trio.sleep(1 / rate)
        assert await one.take("ada") == 0


async def test_who_is_refused_costs_no_lease_until_there_is_one(autojump_clock: MockClock) -> None:
    store = Counted()
    one = limit(store)
    for _ in range(20):
        assert await one.take("ada") == 0
    waits = [await one.take("ada") for _ in range(100)]
    assert all(wait == pytest.approx(0.2) for wait in waits)
    assert store.asked == 5
    await trio.sleep(0.2)
    assert await one.take("ada") == 0
    assert await one.take("bob") == 0


async def test_leased_tokens_lapse(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    one, two = (limit(memory_store(server=memory).rate_limits) for _ in range(2))
    assert await one.take("ada") == 0
    await trio.sleep(LEASE_SECONDS)
    assert [await two.take("ada") for _ in range(20)] == [0.0] * 20
    assert await one.take("ada") > 0


async def test_several_who_ask_at_once_ask_once_and_one_who_leaves_harms_nobody(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    store = Counted(memory)
    one = limit(store)
    memory.hold_answers()
    taken: list[float] = []

    async def take() -> None:
        taken.append(await one.take("ada"))

    async with trio.open_nursery() as nursery:
        leaves = trio.CancelScope()

        async def leave() -> None:
            with leaves:
                await take()

        nursery.start_soon(leave)
        await wait_all_tasks_blocked()
        for _ in range(4):
            nursery.start_soon(take)
        await wait_all_tasks_blocked()
        assert store.asked == 1
        leaves.cancel()
        await wait_all_tasks_blocked()
        assert store.asked == 2, "another one asks in its place"
        memory.release_answers()
    assert taken == [0.0] * 4


async def test_without_the_store_each_server_counts_alone(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    one = limit(memory_store(server=memory).rate_limits)
    memory.go_down()
    assert [await one.take("ada") for _ in range(21)] == [*[0.0] * 20, pytest.approx(0.2)]
    memory.come_back()
    memory.hold_answers()
    began = trio.current_time()
    assert await one.take("bob") == 0
    assert trio.current_time() - began == pytest.approx(ASK_SECONDS)
    memory.release_answers()


async def test_memory_is_bounded(autojump_clock: MockClock) -> None:
    one = limit(memory_store().rate_limits, most_keys=10)
    for number in range(100):
        assert await one.take(str(number)) == 0
    assert len(one._leases) <= 10


async def test_connections_count_over_two_servers(autojump_clock: MockClock) -> None:
    memory = MemoryServer()
    alike: dict[str, Any] = {
        "memory": memory,
        "repository": MemoryRepository(),
        "limits": LimitsTable(connections_per_user=2),
    }
    async with memory_server(**alike) as one, memory_server(**alike) as two:
        first = await one.sign_in("Ada")
        await two.sign_in("Ada")
        third = two.connect()
        third.say("hello", credential={"provider": "name", "name": "Ada"})
        assert (await third.end())[0] == CloseCode.RATE_LIMITED
        first.leave()
        await wait_all_tasks_blocked()
        await two.sign_in("Ada")
        memory.go_down()
        await one.sign_in("Ada")  # its own count has to do
