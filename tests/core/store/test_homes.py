"""Where what servers note of a key is kept: on the key's own primary, whatever the shape of the cluster."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest

from evanesce.store.redis.clock import LedClock, SharedClock
from evanesce.store.redis.cluster_client import ClusterClient
from evanesce.store.redis.connection import Address
from evanesce.store.redis.homes import HOMES, Homes
from evanesce.store.redis.topology import SLOTS, Node, Topology, slot_of_key

Range = tuple[int, int, int]
"""The first and the last slot, and the number of their primary."""


def even(primaries: int) -> list[Range]:
    """Share all slots out in equal ranges, as `valkey-cli --cluster create` does."""
    ends = [round(number * SLOTS / primaries) for number in range(primaries + 1)]
    return [(first, end - 1, number) for number, (first, end) in enumerate(pairwise(ends))]


def scattered(seed: int) -> list[Range]:
    """Share them out to three primaries in many small ranges, as after years of resharding."""
    chance = random.Random(seed)
    ends = [0, *sorted(chance.sample(range(1, SLOTS), 200)), SLOTS]
    return [(first, end - 1, chance.randrange(3)) for first, end in pairwise(ends)]


async def homes_of(ranges: Sequence[Range]) -> tuple[Homes, ClusterClient]:
    cluster = ClusterClient(Address("redis://one:1"), [Node("one", 1)])
    told = [[first, last, [b"host", 1 + number]] for first, last, number in ranges]
    cluster._topology = Topology(told, Node("one", 1))
    return Homes(cluster, "evanesce", SharedClock(), "server"), cluster


@pytest.mark.parametrize(
    "ranges",
    [
        *(pytest.param(even(number), id=f"{number} primaries") for number in (1, 2, 3, 4, 5, 7, 8, 16, 32)),
        *(pytest.param(scattered(seed), id=f"scattered, {seed}") for seed in range(5)),
        pytest.param([(0, 99, 0), (100, 12_000, 1), (12_001, SLOTS - 1, 0)], id="two of unlike sizes"),
    ],
)
async def test_every_key_has_a_home_on_its_own_primary(ranges: Sequence[Range]) -> None:
    homes, cluster = await homes_of(ranges)
    for number in range(3_000):
        key = f"evanesce:{{room-{number}}}:people"
        home = homes.of(key)
        for name in (home.keys.rooms("any"), home.keys.leases, home.keys.erase("any"), home.keys.control):
            assert cluster.node_of(name) == cluster.node_of(key)


async def test_homes_are_spread_evenly_and_one_is_that_of_a_lone_redis() -> None:
    homes, _ = await homes_of(even(3))
    parts = [home.slot * HOMES // SLOTS for home in homes]
    assert parts == list(range(HOMES))
    assert all(slot_of_key(home.keys.leases) == home.slot for home in homes)
    assert "evanesce:{servers}:leases" in {home.keys.leases for home in homes}
    assert {home.lease.name for home in homes} == {homes.name}
    assert len({home.lease.holder for home in homes}) == HOMES, "a lease that is lost in one home is lost there alone"


async def test_slots_that_nobody_has_cost_no_other_key_its_home() -> None:
    homes, cluster = await homes_of([(0, 9_999, 0)])
    for number in range(1_000):
        home = homes.of(f"evanesce:{{room-{number}}}:people")
        assert cluster.node_at(home.slot) == cluster.node_of(f"evanesce:{{room-{number}}}:people")


def test_a_shared_clock_follows_one_primary_and_another_where_that_is_silent() -> None:
    shared = SharedClock()
    ahead, behind = LedClock(shared), LedClock(shared)

    def told(clock: LedClock, offset: int, at: float) -> int:
        clock.measured(round(at * 1000) + offset, at, at)
        return round(1000 * (clock.seconds_until(0) - shared.seconds_until(0)))

    assert told(behind, 1_000_000, 10.0) == 0
    told(ahead, 1_005_000, 11.0)
    assert told(behind, 1_000_000, 12.0) == 0, "it does not go to and fro between two clocks"
    assert told(ahead, 1_005_000, 30.0) == 0, "the other one has been silent"
