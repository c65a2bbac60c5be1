"""The asyncio thread: libsql-client's clients live in its event loop, and Trio's tasks wait for what they do there."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import trio

from evanesce.logs import folded

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 1.0
"""How long the thread may take to end."""

T = TypeVar("T")


class AsyncioThread:
    """One daemon thread with an event loop. Use it as a context, from the Trio thread; `call` is the one door to it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_note)
        self._stop = asyncio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._ended = trio.Event()
        self._thread = threading.Thread(target=self._work, name="evanesce-turso", daemon=True)

    async def __aenter__(self) -> AsyncioThread:
        """Start the thread."""
        self._thread.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        """End the thread. It is left behind where something there does not end: it goes with the process."""
        self._loop.call_soon_threadsafe(self._stop.set)
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._ended.wait()

    async def call(self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        """Await `function(*arguments)` in the event loop. A cancelled one is cancelled there too, later."""
        answered = trio.Event()
        future = asyncio.run_coroutine_threadsafe(function(*arguments), self._loop)
        future.add_done_callback(lambda _: self._hop(answered.set))
        try:
            await answered.wait()
        finally:
            future.cancel()
        return future.result()

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._stop.wait())
        self._hop(self._ended.set)

    def _hop(self, act: Callable[[], object]) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(act)


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Take what asyncio cannot give to anybody: a result that came after its caller had gone, for example."""
    error = context.get("exception")
    logger.debug("%s: %s", context.get("message"), "nothing more" if error is None else folded(error))
