"""Transports that do not start, or end too soon. Time is virtual."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from evanesce.errors import ConfigurationError, PluginError
from evanesce.interfaces import Gateway, Transport
from evanesce.lifecycle.shutdown import Shutdown
from evanesce.plugins import Plugins
from evanesce.transports import START_SECONDS, run_transports
from tests.core.plugins.faulty import RAISING, SECRET, Fault, ShieldedHang, hangs, written
from tests.core.plugins.fixtures import loaded, plugin


class FakeGateway:
    draining = False


Serve = Callable[[Any], Awaitable[object]]


class FakeTransport:
    """Does what it is told to."""

    binds = ()

    def __init__(self, serve: Serve) -> None:
        self._serve = serve

    async def serve(self, gateway: Gateway, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        await self._serve(task_status)


async def works(status: Any) -> None:
    status.started(["test://here"])
    await trio.sleep_forever()


async def returns(status: Any) -> None:
    return None


async def returns_after_it_started(status: Any) -> None:
    status.started(["test://here"])


async def gives_no_urls(status: Any) -> None:
    status.started()
    await trio.sleep_forever()


async def gives_a_number(status: Any) -> None:
    status.started([5])
    await trio.sleep_forever()


async def starts_twice(status: Any) -> None:
    status.started(["test://here"])
    status.started(["test://here"])


def after_start(fault: Fault) -> Serve:
    async def serve(status: Any) -> None:
        status.started(["test://here"])
        await trio.sleep(1)
        await fault(SECRET)

    return serve


def before_start(fault: Fault) -> Serve:
    async def serve(status: Any) -> None:
        await fault(SECRET)

    return serve


async def run(serve: Serve, plugins: Plugins) -> tuple[list[str], Shutdown]:
    """Run a transport that works and one that does this; wait 30 s for the server's end."""
    shutdown, transports = Shutdown(), {"good": FakeTransport(works), "odd": FakeTransport(serve)}
    given = cast("dict[str, Transport]", transports)
    async with run_transports(given, plugins, cast(Gateway, FakeGateway())) as running, trio.open_nursery() as nursery:
        nursery.start_soon(running.watch, shutdown)
        with trio.move_on_after(30):
            await shutdown.requested.wait()
        nursery.cancel_scope.cancel()
    return running.urls, shutdown


@pytest.fixture
async def plugins(nursery: trio.Nursery) -> Plugins:
    made = loaded(good=plugin(), odd=plugin())
    await nursery.start(made.run)
    return made


async def test_those_that_work_listen_until_the_end(plugins: Plugins, autojump_clock: MockClock) -> None:
    urls, shutdown = await run(works, plugins)
    assert urls == ["test://here"] * 2
    assert not shutdown.requested.is_set()


@pytest.mark.parametrize(
    ("serve", "seconds", "told"),
    [
        (before_start(hangs), START_SECONDS, "did not report within 10 s that it listens: serve has to call"),
        (returns, 0, "its transport ended at the start"),
        (returns_after_it_started, 0, "its transport ended at the start"),
        (starts_twice, 0, "its transport failed: RuntimeError"),
        (gives_no_urls, 0, "a sequence of URLs"),
        (gives_a_number, 0, "a sequence of URLs"),
        *[(before_start(fault), 0, "its transport failed: ") for fault in RAISING],
    ],
)
async def test_one_that_does_not_start_ends_the_start(
    serve: Serve, seconds: float, told: str, plugins: Plugins, autojump_clock: MockClock
) -> None:
    began = trio.current_time()
    with pytest.raises(PluginError, match="plugin 'odd'") as caught:
        await run(serve, plugins)
    assert told in str(caught.value)
    assert SECRET not in str(caught.value)
    assert trio.current_time() - began == pytest.approx(seconds, abs=0.01)


async def test_one_that_hangs_shielded_ends_the_start_too(plugins: Plugins, autojump_clock: MockClock) -> None:
    with ShieldedHang() as hang:
        began = trio.current_time()
        with pytest.raises(PluginError, match="did not report within 10 s"):
            await run(before_start(hang), plugins)
        assert trio.current_time() - began < 15


@pytest.mark.parametrize("grouped", [False, True])
async def test_what_says_itself_what_to_do_is_told(grouped: bool, plugins: Plugins, autojump_clock: MockClock) -> None:
    async def refuse() -> None:
        raise ConfigurationError("plugins.odd.bind", "is taken", "Choose another one")

    async def serve(status: Any) -> None:
        if not grouped:
            await refuse()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse)

    with pytest.raises(ConfigurationError, match="is taken"):
        await run(serve, plugins)


@pytest.mark.parametrize("fault", [*RAISING, returns], ids=lambda fault: fault.__name__)
async def test_one_that_ends_later_ends_the_server_in_words(
    fault: Fault, plugins: Plugins, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    _, shutdown = await run(after_start(fault), plugins)
    assert shutdown.requested.is_set()
    assert shutdown.code == 1
    [last] = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert last.getMessage().startswith("the server shuts down: the transport of plugin 'odd' ")
    assert SECRET not in written(caplog.records)


async def test_one_that_ends_when_the_server_does_is_no_fault(
    plugins: Plugins, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeGateway, "draining", True)
    _, shutdown = await run(after_start(returns), plugins)
    assert not shutdown.requested.is_set()
