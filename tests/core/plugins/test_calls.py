"""PluginCalls of a plugin's code: how they end, and who waits for them. Time is virtual."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from evanesce.errors import ConfigurationError, PluginError, Rejected
from evanesce.plugins import Plugins
from evanesce.plugins import calls as calls_module
from evanesce.plugins.calls import CallNursery, PluginCalls
from evanesce.plugins.faults import PluginFailed, tracebacks
from tests.core.plugins.faulty import RAISING, SECRET, Fault, ShieldedHang, hangs, raises_a_refusal_that_raises, written
from tests.core.plugins.fixtures import loaded, plugin


@pytest.fixture
async def calls(nursery: trio.Nursery) -> PluginCalls:
    owner = CallNursery()
    await nursery.start(owner.run)
    return PluginCalls("odd", owner)


class Component:
    """An async context manager that does what it is told at its beginning and end."""

    def __init__(self, opening: Fault | None = None, closing: Fault | None = None) -> None:
        self.opening, self.closing = opening, closing
        self.state = "new"

    async def __aenter__(self) -> None:
        self.manager = trio.open_nursery()
        self.nursery = await self.manager.__aenter__()
        if self.opening is not None:
            try:
                await self.opening(SECRET)
            except BaseException:
                self.nursery.cancel_scope.cancel()
                await self.manager.__aexit__(None, None, None)
                raise
        self.state = "open"

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.nursery.cancel_scope.cancel()
        await self.manager.__aexit__(kind, error, trace)
        self.state = "closed"
        if self.closing is not None:
            await self.closing(SECRET)


async def test_a_component_has_its_own_task_for_nurseries(calls: PluginCalls, autojump_clock: MockClock) -> None:
    components = [Component(), Component()]
    async with calls.opened("one", components[0], seconds=1):
        with trio.CancelScope() as scope:
            async with calls.opened("two", components[1], seconds=1):
                scope.cancel()
                await trio.sleep_forever()
        assert [part.state for part in components] == ["open", "closed"]
    assert [part.state for part in components] == ["closed", "closed"]
    assert calls.faults.failed == 0


@pytest.mark.parametrize("fault", [*RAISING, hangs], ids=lambda fault: fault.__name__)
async def test_a_component_that_does_not_open_is_told(
    calls: PluginCalls, fault: Fault, autojump_clock: MockClock
) -> None:
    with pytest.raises(PluginError, match="plugin 'odd': its authenticator") as caught:
        async with calls.opened("authenticator", Component(opening=fault), seconds=3):
            pytest.fail("opened")
    assert SECRET not in str(caught.value)


async def test_an_error_of_a_component_that_is_evanesces_own_passes(
    calls: PluginCalls, autojump_clock: MockClock
) -> None:
    async def refuses(secret: str) -> None:
        raise ConfigurationError("plugins.odd.key", "is wrong", "Correct it")

    with pytest.raises(ConfigurationError, match="is wrong"):
        async with calls.opened("authenticator", Component(opening=refuses), seconds=3):
            pytest.fail("opened")


@pytest.mark.parametrize("fault", RAISING, ids=lambda fault: fault.__name__)
async def test_a_component_that_does_not_close_harms_nobody(
    calls: PluginCalls, fault: Fault, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with calls.opened("authenticator", Component(closing=fault), seconds=3):
        pass
    assert "plugin odd: authenticator.__aexit__ failed: " in written(caplog.records)
    assert SECRET not in written(caplog.records)


async def test_a_component_that_hangs_is_left_behind(
    calls: PluginCalls, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with ShieldedHang() as hang:
        began = trio.current_time()
        with pytest.raises(PluginError, match="took more than 3 s to open"):
            async with calls.opened("authenticator", Component(opening=hang), seconds=3):
                pytest.fail("opened")
        async with calls.opened("authenticator", Component(closing=hang), seconds=3):
            pass
        assert trio.current_time() - began < 3 + 5 + 1
        assert calls.faults.hanging == 2
    await trio.testing.wait_all_tasks_blocked()
    assert calls.faults.hanging == 0


async def test_a_callers_cancellation_ends_the_call_and_is_no_fault(
    calls: PluginCalls, autojump_clock: MockClock
) -> None:
    ended = trio.Event()

    async def cleans_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.05)
            ended.set()

    with trio.move_on_after(1):
        await calls.call("call", cleans_up, accept=bool, seconds=5)
    assert ended.is_set()
    assert calls.faults.failed == 0


def test_an_interrupt_is_the_callers_though_the_plugin_runs() -> None:
    went_on = False

    async def is_interrupted() -> None:
        nonlocal went_on
        signal.raise_signal(signal.SIGINT)
        went_on = True

    async def main() -> None:
        owner = CallNursery()
        async with trio.open_nursery() as nursery:
            await nursery.start(owner.run)
            calls = PluginCalls("odd", owner)
            try:
                await calls.call("call", is_interrupted, accept=bool, seconds=5)
                await trio.sleep(5)
            finally:
                assert calls.faults.failed == 0

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main)
    assert caught.group_contains(KeyboardInterrupt)
    assert went_on


class Left(Exception):
    """The process would have ended here."""


async def test_the_process_is_left_where_a_call_does_not_end(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    results: list[Any] = []
    with ShieldedHang() as hang:

        async def room_opened() -> None:
            await hang(SECRET)

        plugins = loaded(odd=plugin(evanesce_room_opened=room_opened))

        def leave(result: Callable[[], int]) -> NoReturn:
            results.append(result())
            hang.gate.set()
            raise Left

        with pytest.raises(ExceptionGroup) as caught:
            await plugins.around(lambda: work(plugins), leave)
        assert caught.group_contains(Left)
    assert results == [7]
    assert "the process ends though these calls do not: evanesce_room_opened (" in caplog.text


async def work(plugins: Plugins) -> int:
    plugins.observe("evanesce_room_opened", room=None)
    await plugins.finish_events(5)
    return 7


async def test_nothing_is_left_where_all_ends(autojump_clock: MockClock) -> None:
    plugins = loaded(odd=plugin())
    assert await plugins.around(lambda: work(plugins), pytest.fail) == 7


async def work_with_a_backlog(plugins: Plugins) -> int:
    for _ in range(100):
        plugins.observe("evanesce_room_opened", room=None)
    await plugins.finish_events(1)
    return 7


async def test_an_event_of_the_last_moment_is_no_fault() -> None:
    async def room_opened() -> None:
        await trio.sleep_forever()

    for _ in range(20):  # tasks run in no fixed order
        plugins = loaded(odd=plugin(evanesce_room_opened=room_opened))
        async with trio.open_nursery() as nursery:
            await nursery.start(plugins.run)
            await trio.testing.wait_all_tasks_blocked()
            plugins.observe("evanesce_room_opened", room=None)
            nursery.cancel_scope.cancel()


async def test_nothing_is_called_once_all_calls_are_to_end(autojump_clock: MockClock) -> None:
    called = 0

    async def room_opened() -> None:
        nonlocal called
        called += 1
        if called == 1:
            await trio.sleep_forever()
        with trio.CancelScope(shield=True):
            await trio.sleep(3_600)

    plugins = loaded(odd=plugin(evanesce_room_opened=room_opened))
    assert await plugins.around(lambda: work_with_a_backlog(plugins), pytest.fail) == 7
    assert called == 1


async def test_too_late_is_too_late_though_it_gave_something(calls: PluginCalls) -> None:
    import time

    async def blocks() -> int:
        time.sleep(0.5)  # noqa: ASYNC251  # the point of it
        return 1

    with pytest.raises(PluginFailed):
        await calls.call("call", blocks, accept=int, seconds=0.3)
    assert (calls.faults.failed, calls.faults.blocked) == (1, 1)


async def test_an_error_that_may_pass_is_looked_at_within_the_border(
    calls: PluginCalls, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse() -> None:
        await raises_a_refusal_that_raises(SECRET)

    with pytest.raises(PluginFailed):
        await calls.call("filter", refuse, lambda value: value, seconds=1, passing=(Rejected,))
    assert calls.faults.failed == 1
    assert "filter failed: SystemExit" in written(caplog.records)
    assert SECRET not in written(caplog.records)


async def test_a_fault_that_comes_again_and_again_does_not_fill_the_log(
    calls: PluginCalls, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails() -> None:
        raise ValueError(SECRET)

    for _ in range(1_000):
        with pytest.raises(PluginFailed):
            await calls.call("filter", fails, lambda value: value, seconds=1)
    assert calls.faults.failed == 1_000
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 10
    assert lines[-1].endswith("(512 times so far)")
    calls.faults.report("another", ValueError(SECRET))
    assert "another failed: ValueError" in caplog.records[-1].getMessage()


@pytest.mark.parametrize("debugging", [False, True])
async def test_whoever_debugs_plugins_is_told_of_shorter_blocking_calls_each_time(
    debugging: bool, calls: PluginCalls, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([0.0, 0.15] * 3)
    monkeypatch.setattr(calls_module, "perf_counter", lambda: next(seconds))

    async def blocks() -> int:
        return 1

    with caplog.at_level(logging.DEBUG if debugging else logging.INFO, logger=tracebacks.name):
        for _ in range(3):
            await calls.call("the call", blocks, accept=int, seconds=5)
    told = [record for record in caplog.records if "the call blocked the whole server for 0.15 s" in record.message]
    assert (len(told), calls.faults.blocked) == ((3, 3) if debugging else (0, 0))
