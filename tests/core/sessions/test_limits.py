"""Rate limits: a burst, then the rate; each key for itself, in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evanesce.sessions.limits import RateLimit


class Clock:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_the_rate() -> None:
    clock = Clock()
    limit = RateLimit(5, 20, clock)
    assert [limit.take("ada") for _ in range(20)] == [0.0] * 20
    assert limit.take("ada") == pytest.approx(0.2)
    assert limit.take("bob") == 0
    clock.now += 0.2
    assert limit.take("ada") == 0
    assert limit.take("ada") > 0


@given(st.lists(st.floats(0, 2), max_size=200))
def test_never_more_than_the_rate_and_one_burst(waits: list[float]) -> None:
    clock = Clock()
    limit = RateLimit(5, 20, clock)
    accepted = 0
    for wait in waits:
        clock.now += wait
        accepted += limit.take("ada") == 0
    assert accepted <= 20 + 5 * (clock.now - 100.0) + 1e-6


def test_those_with_full_buckets_are_forgotten_first() -> None:
    clock = Clock()
    limit = RateLimit(1, 1, clock, most_keys=2)
    assert limit.take("old") == 0
    clock.now += 5
    assert limit.take("busy") == 0
    assert limit.take("new") == 0
    assert limit.take("busy") > 0, "still remembered"
