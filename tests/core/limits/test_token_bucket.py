"""Rate limits: a burst, then the rate; each key for itself, in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce.limits.token_bucket import RetryTimes, TokenBucket


class Clock:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_the_rate() -> None:
    clock = Clock()
    limit = TokenBucket(5, 20, clock)
    assert [limit.take("ada") for _ in range(20)] == [0.0] * 20
    assert limit.take("ada") == pytest.approx(0.2)
    assert limit.take("bob") == 0
    clock.now += 0.2
    assert limit.take("ada") == 0
    assert limit.take("ada") > 0


@given(st.lists(st.floats(0, 2), max_size=200))
def test_never_more_than_the_rate_and_one_burst(waits: list[float]) -> None:
    clock = Clock()
    limit = TokenBucket(5, 20, clock)
    accepted = 0
    for wait in waits:
        clock.now += wait
        accepted += limit.take("ada") == 0
    assert accepted <= 20 + 5 * (clock.now - 100.0) + 1e-6


def test_a_flood_of_keys_costs_the_same_for_each() -> None:
    clock = Clock()
    limit = TokenBucket(1, 1, clock, most_keys=1_000)
    turns = 0

    def counted() -> float:
        nonlocal turns
        turns += 1
        return clock.now

    limit._clock = counted
    for number in range(3_000):
        assert limit.take(number) == 0
    assert turns == 3_000
    assert list(limit._full_at) == list(range(2_000, 3_000))


def test_those_with_full_buckets_are_forgotten_first() -> None:
    clock = Clock()
    limit = TokenBucket(1, 1, clock, most_keys=2)
    assert limit.take("old") == 0
    clock.now += 5
    assert limit.take("busy") == 0
    assert limit.take("new") == 0
    assert limit.take("busy") > 0, "still remembered"


def test_each_that_was_refused_is_told_another_time() -> None:
    clock = Clock()
    times = RetryTimes(5, 2, clock)
    assert [times.after("ada", 0.1) for _ in range(4)] == pytest.approx([0.1, 0.3, 0.5, 0.7])
    assert times.after("bob", 0.1) == pytest.approx(0.1)
    assert max(times.after("ada", 0.1) for _ in range(100)) == 2
    assert times.after("ada", 7) == 7, "the next one is accepted no earlier"
    clock.now += 60
    assert times.after("ada", 0.1) == pytest.approx(0.1)


@given(st.integers(1, 200))
def test_who_waits_as_told_is_refused_once(count: int) -> None:
    clock = Clock()
    limit, times = TokenBucket(5, 20, clock), RetryTimes(5, 60, clock)
    waiting = sorted(clock.now + times.after("ada", wait) for _ in range(count) if (wait := limit.take("ada")))
    assert len(waiting) == max(0, count - 20)
    for clock.now in waiting:
        assert limit.take("ada") == 0


def test_the_times_of_a_bounded_number_are_remembered() -> None:
    times = RetryTimes(1, 1000, Clock(), most_keys=2)
    for key in ("ada", "bob", "ada", "cyd"):
        times.after(key, 1)
    assert [times.after(key, 1) for key in ("ada", "bob")] == [3, 1]
