"""A pytest plugin: what a test leaves to the garbage collector is collected at the end of that test.

A socket, process or coroutine that was dropped without being closed or awaited warns when it is collected. In a
reference cycle that happens at some later time, often during another test. Here it happens in the test that made it.

A whole collection takes 0.3 s with all tests imported. Therefore what was there before a file's first test is frozen:
the collector looks only at what the tests of that file made.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator

import pytest

_THRESHOLD = gc.get_threshold()


def pytest_collection_finish() -> None:
    """Exempt what was imported from the collections that follow."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """Fail the test for what it left unclosed, after the teardown of its fixtures."""
    yield
    if isinstance(item, pytest.Function):
        item.funcargs.clear()  # they are dropped after the teardown, which would be too late
    complaints = _collect()
    if nextitem is None or nextitem.path != item.path:
        gc.freeze()
    if complaints:
        pytest.fail(f"left to the garbage collector: {'; '.join(complaints)}", pytrace=False)


def pytest_sessionfinish() -> None:
    """Unfreeze what lives as long as the session, so that it is collected at its end."""
    gc.unfreeze()


def _collect() -> list[str]:
    """Collect, and return what was reported meanwhile, a line for each object."""
    complaints: list[str] = []
    hook = sys.unraisablehook
    sys.unraisablehook = lambda raised: complaints.append(f"{raised.exc_value!r} in {raised.object!r}")
    tuned = gc.get_threshold() != _THRESHOLD
    if tuned:  # a server in this process has frozen what the test made
        gc.unfreeze()
        gc.set_threshold(*_THRESHOLD)
    try:
        gc.collect()
    finally:
        sys.unraisablehook = hook
        if tuned:
            gc.freeze()
    return complaints
