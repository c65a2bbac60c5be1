"""How long calls of plugins and of the database take, and which fail. Time is virtual."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from evanesce.errors import PersistenceUnavailable, RegistrationTaken
from evanesce.metrics import Metrics
from evanesce.monitoring.parts import watch_plugins
from evanesce.plugins import Plugins
from evanesce.plugins.calls import CallNursery, PluginCalls
from evanesce.plugins.containment import contained_repository
from evanesce.plugins.database_calls import DatabaseCalls
from evanesce.plugins.faults import PluginFailed
from evanesce.testing.memory_repository import MemoryRepository


class Slow(MemoryRepository):
    """Takes 2 s for a call, and then raises `fault`, if any."""

    fault: Exception | None = None

    async def check(self) -> str:
        await trio.sleep(2)
        if self.fault is not None:
            raise self.fault
        return "fine"


@pytest.fixture
async def calls() -> AsyncGenerator[PluginCalls, None]:
    owner = CallNursery()
    async with trio.open_nursery() as nursery:
        await nursery.start(owner.run)
        yield PluginCalls("odd", owner)
        nursery.cancel_scope.cancel()


def counted(measured: DatabaseCalls) -> tuple[int, float]:
    buckets, total = measured.seconds.buckets()
    return buckets[-1][1], total


@pytest.mark.parametrize(
    ("fault", "raised", "up"),
    [
        (None, None, True),
        (RegistrationTaken(), RegistrationTaken, True),  # an answer
        (PersistenceUnavailable(), PersistenceUnavailable, False),
        (ValueError(), PluginFailed, False),
    ],
)
async def test_calls_of_the_database_are_measured(
    autojump_clock: MockClock, calls: PluginCalls, fault: Exception | None, raised: Any, up: bool
) -> None:
    slow, measured = Slow(), DatabaseCalls()
    slow.fault = fault
    repository = contained_repository(slow, calls, measured)
    if raised is None:
        assert await repository.check() == "fine"
    else:
        with pytest.raises(raised):
            await repository.check()
    assert counted(measured) == (1, pytest.approx(2.0))
    assert (measured.up, measured.failed.value) == (up, 0 if up else 1)
    assert (calls.made, calls.seconds) == (1, pytest.approx(2.0))
    slow.fault = None
    await repository.check()
    assert measured.up
    metrics = Metrics()
    measured.watch(metrics)
    assert "evanesce_database_up 1.0" in metrics.text()
    assert "evanesce_database_call_seconds_count 2.0" in metrics.text()


async def test_a_call_that_fails_or_is_cancelled_takes_time_as_well(
    autojump_clock: MockClock, calls: PluginCalls
) -> None:
    async def fails() -> None:
        await trio.sleep(1)
        raise ValueError

    with pytest.raises(PluginFailed):
        await calls.call("fails", fails, lambda result: result, seconds=5)
    with trio.move_on_after(2):
        await calls.call("waits", trio.sleep_forever, lambda result: result, seconds=5)
    assert (calls.made, calls.seconds) == (2, pytest.approx(3.0, abs=0.2))


def test_each_plugin_is_a_label() -> None:
    metrics = Metrics()
    watch_plugins(Plugins({"first": object(), "second": object()}), metrics)
    text = metrics.text()
    for name in ("calls", "seconds", "failures", "blocked", "events_dropped"):
        for plugin in ("first", "second"):
            assert f'evanesce_plugin_{name}_total{{plugin="{plugin}"}} 0.0' in text
