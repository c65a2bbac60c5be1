"""A task that owns a connection to Redis, and makes it anew when it breaks. Its owner runs `serve`, or enters it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Self

import trio

from evanesce.store.background import background
from evanesce.store.redis.connection import Address, Connection
from evanesce.store.redis.stream import Stream, connect


class ConnectionTask(ABC):
    """The start and the end of the task, and its work on one connection. A subclass connects in `_serve`."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._scope = trio.CancelScope()
        self.stopping = False
        """Whether the task has ended, or was told to."""
        self._background = AsyncExitStack()
        self._connecting = trio.CapacityLimiter(1)
        self._connection = trio.CancelScope()  # of the work on the present connection
        self._broken: Exception | None = None  # why the present connection is discarded
        self._stream: Stream | None = None  # the present connection

    async def __aenter__(self) -> Self:
        """Run `serve` while the context lasts."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(background(self.serve))
            await self._started()
            self._background = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop, and wait for the end."""
        self.stop()
        await self._background.aclose()

    async def serve(self) -> None:
        """Own the connection until `stop`, or until cancelled."""
        try:
            with self._scope:
                await self._serve()
        finally:
            self.stop()

    def stop(self) -> None:
        """Make the task end, without waiting for it. It is safe to call this again."""
        self.stopping = True
        self._scope.cancel()

    async def _started(self) -> None:
        """Wait for what the context is entered for. Nothing by default."""
        await trio.lowlevel.checkpoint()

    @abstractmethod
    async def _serve(self) -> None:
        """Connect, and use the connection, again and again until cancelled."""

    async def _connect(self, prepare: Callable[[Connection], None]) -> Stream:
        """Connect; see `stream.connect`."""
        self._broken = None
        name = f"evanesce-redis-{type(self).__name__}"
        return await connect(self._address, prepare, limiter=self._connecting, name=name)

    async def _use(self, stream: Stream) -> Exception | None:
        """Run `_send` and `_receive` until one of them fails, or `_break`. Close the stream, and return the reason."""
        self._stream = stream
        try:
            with trio.CancelScope() as self._connection:
                if self._broken is not None:  # it was noticed while there was no connection
                    self._connection.cancel()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._until_broken, self._send, stream)
                    await self._until_broken(self._receive, stream)
        finally:
            self._stream = None
            stream.close()
        return self._broken

    async def _until_broken(self, work: Callable[[Stream], Awaitable[None]], stream: Stream) -> None:
        try:
            await work(stream)
        except Exception as error:  # `_use` returns it
            self._break(error)

    def _break(self, error: Exception) -> None:
        """Discard the present connection, or the next one if there is none, for this reason."""
        self._broken = self._broken or error
        self._connection.cancel()

    @abstractmethod
    async def _send(self, stream: Stream) -> None:
        """Send what there is to send until cancelled. Raises what the connection is to be discarded for."""

    @abstractmethod
    async def _receive(self, stream: Stream) -> None:
        """Handle what arrives until cancelled. Raises what the connection is to be discarded for."""
