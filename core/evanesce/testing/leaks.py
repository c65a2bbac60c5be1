"""Check that nothing is left open, also after a cancellation at any await."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

MOST_AWAITS = 400
"""How many awaits a body may have. A body that never ends would be cancelled for ever."""

END_SECONDS = 60.0
"""How long threads and sockets may take to end after they were closed."""


QUIET_LOOKS = 3
"""How many checks in a row must find nothing left: a job for a thread may not have started at the first one."""


class _CancelAt(trio.abc.Instrument):
    """Cancel `scope` when this task, or any that is started later, blocks for the `number`-th time."""

    def __init__(self, number: int, scope: trio.CancelScope) -> None:
        root = trio.lowlevel.current_root_task()
        assert root is not None
        self._others = _tasks(root) - {trio.lowlevel.current_task()}
        self._left = number
        self._scope = scope

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task not in self._others:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


async def cancelled_at_each_await(body: Callable[[], Awaitable[object]]) -> int:
    """Run `body` once to its end, then cancel it at its first, second, … await; return at how many that was.

    After each run nothing must be left that was not there after the first: see `nothing_left_open`.
    """
    await body()  # what is made once for the whole process is there now
    for number in range(1, MOST_AWAITS):
        async with nothing_left_open():
            cancelled = await cancelled_at(number, body)
        if not cancelled:
            return number - 1
    raise AssertionError(f"it has more than {MOST_AWAITS} awaits")


async def cancelled_at(number: int, body: Callable[[], Awaitable[object]]) -> bool:
    """Cancel `body` at its `number`-th await; return False where it ended before, or had no more awaits."""
    with trio.CancelScope() as scope:
        instrument = _CancelAt(number, scope)
        trio.lowlevel.add_instrument(instrument)
        try:
            await body()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return scope.cancel_called


@asynccontextmanager
async def nothing_left_open() -> AsyncGenerator[None]:
    """Assert that the context leaves no open descriptor, no thread, and no unclosed object."""
    gc.collect()
    descriptors, threads = _descriptors(), _threads()
    complaints: list[str] = []
    hook = sys.unraisablehook
    sys.unraisablehook = lambda raised: complaints.append(f"{raised.exc_value!r} in {raised.object!r}")
    try:
        yield
        quiet, left = 0, list[str]()
        with trio.move_on_after(END_SECONDS):
            while quiet < QUIET_LOOKS:
                left = _left(threads, descriptors)
                quiet = 0 if left else quiet + 1
                await trio.sleep(0.005)  # nothing tells when a thread has ended or the kernel has closed a socket
        gc.collect()
    finally:
        sys.unraisablehook = hook
    assert complaints == [], complaints
    # Not looked at once more: a store that the test keeps open may start a thread at any moment.
    assert quiet == QUIET_LOOKS, left


def _left(threads: set[tuple[threading.Thread, str]], descriptors: dict[str, str]) -> list[str]:
    """Return the threads and the targets of the descriptors that were not there before."""
    opened = [target for number, target in _descriptors().items() if number not in descriptors]
    return _ours(_threads() - threads) + opened


def _tasks(task: trio.lowlevel.Task) -> set[trio.lowlevel.Task]:
    """Return a task and all its descendants."""
    below = [_tasks(child) for nursery in task.child_nurseries for child in nursery.child_tasks]
    return {task}.union(*below)


def _descriptors() -> dict[str, str]:
    found: dict[str, str] = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue  # that of the listing itself
    return found


def _threads() -> set[tuple[threading.Thread, str]]:
    """Return the threads with their names: Trio reuses threads, and names them after their job."""
    return {(thread, thread.name) for thread in threading.enumerate()}


def _ours(threads: set[tuple[threading.Thread, str]]) -> list[str]:
    """Return the names of threads that Evanesce has started or uses."""
    return [name for _, name in threads if name.startswith("evanesce")]
