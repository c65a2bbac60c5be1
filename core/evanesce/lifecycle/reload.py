"""The watch over the files of plugins, for their development: the server restarts when one of them changes."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import trio

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""How often the files are looked at."""

MOST_FILES = 10_000
"""How many files are watched; further ones are not."""

_Files = dict[str, tuple[int, int]]


def request_restart() -> None:
    """Ask this process for a restart, as a deployer does: it checks first that the new code can be loaded."""
    os.kill(os.getpid(), signal.SIGHUP)


class FileWatch:
    """Watches `roots`, which are files, or folders with all that is in them, and calls `changed` after each change.

    Python's compiled files, and what is hidden, are left out.
    """

    def __init__(self, roots: Sequence[Path], changed: Callable[[], None] = request_restart) -> None:
        self._roots = roots
        self._changed = changed

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled."""
        before = await trio.to_thread.run_sync(self._look)
        task_status.started()
        while True:
            await trio.sleep(POLL_SECONDS)
            now = await trio.to_thread.run_sync(self._look)
            if now == before:
                continue
            await trio.sleep(POLL_SECONDS)  # an editor may write several files
            now = await trio.to_thread.run_sync(self._look)
            if different := sorted(path for path, _ in before.items() ^ now.items()):
                logger.info("%s has changed: the server restarts, if its plugins can be loaded", different[0])
                self._changed()
            before = now

    def _look(self) -> _Files:
        found: _Files = {}
        for path in islice(self._paths(), MOST_FILES):
            try:
                state = os.stat(path)
            except OSError:  # it was deleted meanwhile
                continue
            found[path] = (state.st_mtime_ns, state.st_size)
        return found

    def _paths(self) -> Iterator[str]:
        for root in self._roots:
            if root.is_file():
                yield str(root)
            for folder, folders, files in os.walk(root):
                folders[:] = [name for name in folders if name != "__pycache__" and not name.startswith(".")]
                yield from (os.path.join(folder, name) for name in files if not name.startswith("."))
