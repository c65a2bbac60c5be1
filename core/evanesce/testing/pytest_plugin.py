"""The pytest plugin of the testing kit. pytest finds it by its entry point; a test only names the fixture.

The fixture `plugin_server` is the function of the same name, with the test's `tmp_path` as the working folder. Its test
runs on a clock that jumps: where all tasks wait, it goes on at once to the time for which the first of them waits.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pytest

if TYPE_CHECKING:
    import trio

    from evanesce.testing.plugins import PluginServer

__all__ = ["ServerFactory", "plugin_server"]

T = TypeVar("T")


class ServerFactory(Protocol):
    """What the fixture `plugin_server` returns: the function of the same name, with a working folder of the test."""

    def __call__(
        self,
        plugins: Mapping[str, object],
        *,
        config: Mapping[str, Any] | None = None,
        folder: Path = ...,
        environ: Mapping[str, str] | None = None,
        beside: PluginServer | None = None,
    ) -> AbstractAsyncContextManager[PluginServer]:
        """Run a server with the plugins under test in this context."""
        ...


# The kit is imported where it is used: this module is imported by every run of pytest on this machine.
pytest.register_assert_rewrite("evanesce.testing.contracts")


@pytest.fixture
def plugin_server(tmp_path: Path) -> ServerFactory:
    """Return `evanesce.testing.plugin_server` with the working folder `tmp_path`."""
    from evanesce.testing.plugins import plugin_server

    return functools.partial(plugin_server, folder=tmp_path)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Run each test with `plugin_server` on a clock that jumps, unless the test has a fixture that is a clock."""
    asks = isinstance(item, pytest.Function) and "plugin_server" in item.fixturenames
    if asks and inspect.iscoroutinefunction(getattr(item, "obj", None)):
        item.add_marker(pytest.mark.trio(run=_run), append=False)


def _run(
    main: Callable[[], Awaitable[T]], *, clock: trio.abc.Clock | None, instruments: Sequence[trio.abc.Instrument]
) -> T:
    import trio
    from trio.testing import MockClock

    return trio.run(main, clock=clock or MockClock(autojump_threshold=0), instruments=instruments)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failed test of a contract what the contract wants, and where it is documented."""
    report = yield
    kind: Any = getattr(item, "cls", None)
    page = getattr(kind, "documented", None)
    if report.when == "call" and report.failed and isinstance(page, str):
        wanted = item.name.partition("[")[0].removeprefix("test_").replace("_", " ")
        told = f"{wanted[:1].upper()}{wanted[1:]}.\nSee docs/{page}."
        report.sections.append(("what the contract wants", told))
    return report
