"""A thread with an asyncio event loop, in which libsql-client runs, and calls to it from Trio tasks."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import weakref
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Generic, TypeVar

import trio

from evanesce.logs import folded

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 1.5
"""How long the thread may take to end: longer than its resource may take to close."""

T = TypeVar("T")
R = TypeVar("R")


class AsyncioThread(Generic[R]):
    """A daemon thread with an event loop, and a resource that is open there as long as the thread runs.

    The thread itself opens the resource, and closes it before the loop ends, so that a cancelled Trio task cannot leave
    it open. Use it as a context manager in the Trio thread; `call` is the only access to the loop.
    """

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[R]]) -> None:
        self._open = opened
        self._resource: R | None = None
        self._problem: Exception | None = None
        self._loop = _Loop()
        self._loop.set_exception_handler(_note)
        self._stop = asyncio.Event()
        self._stopping = False
        self._token = trio.lowlevel.current_trio_token()
        self._opened = trio.Event()
        self._ended = trio.Event()
        self._thread = threading.Thread(target=self._work, name="evanesce-turso", daemon=True)

    async def __aenter__(self) -> AsyncioThread[R]:
        """Start the thread, and wait until its resource is open. Raises the exception of its opening."""
        self._thread.start()
        try:
            await self._opened.wait()
            if self._problem is not None:
                raise self._problem
        except BaseException:  # there will be no `__aexit__`
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        """End the thread. If it does not end in time, it is left to the end of the process."""
        self._stopping = True
        with suppress(RuntimeError):  # the loop has ended already, as its resource could not be opened
            self._loop.call_soon_threadsafe(self._stop.set)
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._ended.wait()

    async def call(self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        """Await `function(resource, *arguments)` in the event loop. A cancellation is passed on to it.

        Raises `concurrent.futures.CancelledError` where the thread ends first.
        """
        if self._stopping:
            raise concurrent.futures.CancelledError
        answered = trio.Event()
        future = asyncio.run_coroutine_threadsafe(function(self._resource, *arguments), self._loop)
        future.add_done_callback(lambda _: self._run_in_trio(answered.set))
        try:
            await answered.wait()
        finally:
            future.cancel()
        return future.result()

    def _work(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._own())
        except Exception as error:
            self._problem = error
            if self._resource is not None:
                logger.warning("the connections to the database were not closed in order: %s", folded(error))
        self._run_in_trio(self._opened.set)
        self._run_in_trio(self._ended.set)

    async def _own(self) -> None:
        try:
            async with self._open() as self._resource:
                self._run_in_trio(self._opened.set)
                await self._stop.wait()
        finally:
            await self._loop.abort_connections()

    def _run_in_trio(self, act: Callable[[], object]) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(act)


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that keeps a list of its connections.

    A closed connection stays open until the peer has received everything that was written, which a server that hangs
    never does. The library keeps no reference to it by then.
    """

    def __init__(self) -> None:
        super().__init__()
        self._connections: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()

    async def create_connection(self, *arguments: Any, **options: Any) -> Any:
        """Create a connection as the base class does, and add it to the list."""
        made = await super().create_connection(*arguments, **options)
        self._connections.add(made[0])
        return made

    async def abort_connections(self) -> None:
        """Close the sockets of all connections, without sending what is still in their buffers."""
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)  # their sockets are closed in the next iteration of the loop


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an exception that no caller receives, for example of a call that was cancelled."""
    error = context.get("exception")
    logger.debug("%s: %s", context.get("message"), "no exception" if error is None else folded(error))
