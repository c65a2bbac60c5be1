"""The tasks of plugins: started before clients connect, started again after faults, cancelled at the end."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from evanesce.interfaces import Server
from evanesce.plugins import Plugins
from evanesce.plugins.calls import CLOSE_SECONDS
from tests.core.plugins.fixtures import loaded, plugin


class OwnServer:
    """Stands for what the server gives a plugin: `plugin` is whose it is."""

    def __init__(self, name: str) -> None:
        self.plugin = name


SERVER_OF: Callable[[str], Server] = lambda name: cast(Server, OwnServer(name))  # noqa: E731  # a cast alone


async def started(nursery: trio.Nursery, plugins: Plugins) -> None:
    await nursery.start(plugins.run)
    await nursery.start(plugins.run_tasks, SERVER_OF)


async def test_each_task_has_run_to_its_first_wait_and_has_the_server_of_its_plugin(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    seen: list[object] = []

    async def keep(server: Any) -> None:
        seen.append(server.plugin)
        await trio.sleep_forever()

    async def needs_nothing() -> None:
        seen.append(None)

    await started(nursery, loaded(a=plugin(evanesce_run=keep), b=plugin(evanesce_run=needs_nothing), c=plugin()))
    assert seen == ["a", None]


async def test_a_task_that_returns_is_not_started_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    runs: list[float] = []

    async def once() -> None:
        runs.append(trio.current_time())
        await trio.sleep(1)

    plugins = loaded(a=plugin(evanesce_run=once))
    await started(nursery, plugins)
    await trio.sleep(1000)
    assert (len(runs), plugins.statistics()["a"].failed) == (1, 0)


@pytest.mark.parametrize("fault", [ValueError("S3CR3T"), SystemExit("S3CR3T"), KeyboardInterrupt("S3CR3T")], ids=repr)
async def test_a_task_that_fails_is_logged_counted_and_started_again_later_and_later(
    fault: BaseException, nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    starts: list[float] = []

    async def fails() -> None:
        starts.append(trio.current_time())
        if len(starts) == 10:
            await trio.sleep(60)
        raise fault

    plugins = loaded(a=plugin(evanesce_run=fails))
    await started(nursery, plugins)
    await trio.sleep(400)
    pauses = [round(later - earlier) for earlier, later in pairwise(starts)]
    assert pauses[:11] == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60 + 1, 2]  # the tenth ran for a minute
    assert plugins.statistics()["a"].failed == len(starts)
    assert "plugin a: evanesce_run (" in caplog.text
    assert "S3CR3T" not in caplog.text


async def test_another_plugins_task_goes_on(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    ticks: list[float] = []

    async def fails() -> None:
        raise ValueError

    async def ticking() -> None:
        while True:
            ticks.append(trio.current_time())
            await trio.sleep(1)

    await started(nursery, loaded(a=plugin(evanesce_run=fails), b=plugin(evanesce_run=ticking)))
    await trio.sleep(10.5)
    assert len(ticks) == 11


async def test_a_task_is_cancelled_at_the_end_and_may_clean_up(autojump_clock: MockClock) -> None:
    ended: list[str] = []

    async def cleans_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(CLOSE_SECONDS - 1)
            ended.append("cleaned up")

    plugins = loaded(a=plugin(evanesce_run=cleans_up))
    async with trio.open_nursery() as outer:
        await outer.start(plugins.run)
        async with trio.open_nursery() as inner:
            await inner.start(plugins.run_tasks, SERVER_OF)
            inner.cancel_scope.cancel()
        assert ended == ["cleaned up"]
        outer.cancel_scope.cancel()
    assert plugins.statistics()["a"].failed == 0


async def test_a_task_that_does_not_end_is_abandoned_and_named(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    gate = trio.Event()

    async def hangs() -> None:
        with trio.CancelScope(shield=True):
            await gate.wait()

    plugins = loaded(a=plugin(evanesce_run=hangs))
    async with trio.open_nursery() as outer:
        await outer.start(plugins.run)
        async with trio.open_nursery() as inner:
            await inner.start(plugins.run_tasks, SERVER_OF)
            began = trio.current_time()
            inner.cancel_scope.cancel()
        assert trio.current_time() - began == pytest.approx(CLOSE_SECONDS)
        assert plugins.statistics()["a"].hanging == 1
        assert "did not end when it was cancelled" in caplog.text
        gate.set()
        outer.cancel_scope.cancel()


async def test_a_fault_while_it_is_cancelled_is_counted(autojump_clock: MockClock) -> None:
    async def fails_at_the_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError

    plugins = loaded(a=plugin(evanesce_run=fails_at_the_end))
    async with trio.open_nursery() as outer:
        await outer.start(plugins.run)
        async with trio.open_nursery() as inner:
            await inner.start(plugins.run_tasks, SERVER_OF)
            inner.cancel_scope.cancel()
        outer.cancel_scope.cancel()
    assert plugins.statistics()["a"].failed == 1
