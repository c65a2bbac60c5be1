"""A thread that owns a connection to Redis, as the driver blocks. It is started and stopped from the Trio thread."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import trio

END_SECONDS = 1.0
"""How long the end of a thread is waited for. A thread that Redis keeps waiting is left behind."""


class ConnectionThread(ABC):
    """The start and the end of the thread. A subclass does its work, until `_stopping` is set."""

    def __init__(self, name: str) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._stopping = threading.Event()
        self._ended = trio.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    async def __aexit__(self, *error: object) -> None:
        """Stop the thread and wait for its end, for `END_SECONDS` at most. It ends with the process at the latest."""
        self.stop()
        with trio.move_on_after(END_SECONDS) as patience:
            patience.shield = True
            await self._ended.wait()

    def start(self) -> None:
        """Start the thread. The caller must also stop it."""
        self._thread.start()

    @abstractmethod
    def stop(self) -> None:
        """Make the thread end, without waiting for it. It is safe to call this again."""

    @abstractmethod
    def _work(self) -> None:
        """Run on the thread, and set `_ended` from there with `_call_soon`."""

    def _call_soon(self, act: Callable[..., object], *arguments: Any) -> None:
        """Call a function on the Trio thread. If Trio has ended, the thread ends too."""
        try:
            self._token.run_sync_soon(act, *arguments)
        except trio.RunFinishedError:
            self._stopping.set()


async def end_all(threads: Iterable[ConnectionThread]) -> None:
    """Stop threads and wait for their ends, as `ConnectionThread.__aexit__` does for one."""
    with trio.move_on_after(END_SECONDS) as patience:
        patience.shield = True
        async with trio.open_nursery() as nursery:
            for thread in threads:
                nursery.start_soon(thread.__aexit__)
