"""The store's clock as it is known here."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from evanesce.errors import StoreUnavailable
from evanesce.store.redis import clock as module
from evanesce.store.redis.clock import STEP, Clock, Step


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


async def test_a_step_back_is_told_as_no_more_than_it_was(steady: list[float]) -> None:
    clock, steps = Clock(), list[Step]()
    clock.on_step_back(steps.append)
    clock.measured(5_000_000, 1_000.0, 1_000.2)
    clock.measured(5_000_000 + 2_600 - STEP, 1_002.5, 1_002.6)  # too little, or a slow answer
    assert steps == []
    clock.measured(4_000_000, 1_005.0, 1_005.1)
    [step] = steps
    assert 1_004_800 - STEP <= step.back <= 1_005_100
    assert step.began == 4_000_000 - 2_600, "the measurement before was asked for 2.6 s before this one's answer"
    clock.measured(3_998_000, 1_005.0, 1_005.1)
    assert len(steps) == 2


async def test_those_who_doubt_it_have_it_measured_once(autojump_clock: trio.testing.MockClock) -> None:
    clock, asked = Clock(), trio.Event()
    measured = 0

    async def measure() -> None:
        nonlocal measured
        measured += 1
        await asked.wait()

    await clock.remeasure()  # nobody measures it: it is believed
    clock.on_remeasure(measure)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(clock.remeasure)
        await trio.testing.wait_all_tasks_blocked()
        asked.set()
    assert measured == 1
    await clock.remeasure()
    assert measured == 2


async def test_a_store_that_does_not_answer_is_no_reason_to_fail() -> None:
    clock = Clock()

    async def measure() -> None:
        raise StoreUnavailable()

    clock.on_remeasure(measure)
    await clock.remeasure()


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
