"""The store's clock as it is known here."""

from __future__ import annotations

import pytest
import trio

from evanesce.store.redis import clock as module
from evanesce.store.redis.clock import Clock


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """This machine's steady clock, to be set by hand."""
    at = [1_000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: at[0])
    return at


async def test_it_is_never_behind_and_ahead_by_a_round_trip_at_most(steady: list[float]) -> None:
    clock = Clock()
    # The store read 5,000,000 ms somewhere between these two moments.
    clock.measured(5_000_000, 1_000.0, 1_000.2)
    steady[0] = 1_000.2
    assert 5_000_200 <= clock.now() <= 5_000_202
    # A quicker answer tells more; a slower one nothing.
    clock.measured(5_000_300, 1_000.29, 1_000.31)
    clock.measured(5_000_400, 1_000.3, 1_000.5)
    steady[0] = 1_000.5
    assert 5_000_500 <= clock.now() <= 5_000_512


async def test_it_follows_a_clock_that_is_set(steady: list[float]) -> None:
    clock = Clock()
    clock.measured(5_000_000, 1_000.0, 1_000.001)
    clock.measured(9_000_000, 1_000.0, 1_000.001)
    assert 9_000_000 <= clock.now() <= 9_000_002
    clock.measured(4_000_000, 1_000.0, 1_000.001)
    assert 4_000_000 <= clock.now() <= 4_000_002


async def test_it_believes_a_message(steady: list[float]) -> None:
    clock = Clock()
    clock.measured(5_000_000, 1_000.0, 1_000.001)
    clock.witnessed(5_000_500)
    assert clock.now() == 5_000_500
    clock.witnessed(5_000_000)
    assert clock.now() == 5_000_500


async def test_a_deadline_is_in_trios_time(steady: list[float]) -> None:
    clock = Clock()
    clock.measured(5_000_000, 1_000.0, 1_000.0)
    assert clock.deadline(5_010_001) - trio.current_time() == pytest.approx(10, abs=0.1)
