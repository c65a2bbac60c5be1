"""The tasks of plugins: each runs beside the server, and is started again after a fault."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from evanesce.plugins.calls import CLOSE_SECONDS, PluginCalls
from evanesce.plugins.faults import PluginFailed, is_cancellation

FIRST_PAUSE_SECONDS = 1.0
"""The pause before a task that failed is started again."""

LONGEST_PAUSE_SECONDS = 60.0
"""The longest such pause. It doubles with each fault of a task that has run for less than this."""


class PluginTask:
    """The task of one plugin. `call` is its name in the log, and `function` starts it."""

    def __init__(self, calls: PluginCalls, call: str, function: Callable[[], Awaitable[Any]]) -> None:
        self._calls = calls
        self._call = call
        self._function = function

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the task until it returns or this is cancelled, and start it again whenever it fails.

        `task_status.started` is called when the task has run up to its first wait.
        """
        pause = FIRST_PAUSE_SECONDS
        starting = True
        while True:
            began = trio.current_time()
            if await self._returned(task_status if starting else trio.TASK_STATUS_IGNORED):
                return
            starting = False
            if trio.current_time() - began >= LONGEST_PAUSE_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _returned(self, task_status: trio.TaskStatus[None]) -> bool:
        """Run the task once; return False where it failed."""
        try:
            running = self._calls.start(self._call, self._function)
        except PluginFailed:
            task_status.started()
            return False
        try:
            # The scheduler runs each task that is ready once in every turn: the new one has run after two of them.
            for _ in range(2):
                await trio.lowlevel.checkpoint()
            task_status.started()
            await running.ended.wait()
        except BaseException:  # the server stops
            await running.stop(CLOSE_SECONDS)
            if running.error is not None and not is_cancellation(running.error):
                self._calls.faults.report(self._call, running.error)
            raise
        if running.error is None:
            return True
        self._calls.faults.report(self._call, running.error)
        return False
