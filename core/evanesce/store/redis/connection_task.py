"""A task that owns a connection to Redis. Its owner runs `serve`, or uses the object as a context."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from typing import Self

import trio

from evanesce.store.background import background


class ConnectionTask(ABC):
    """The start and the end of the task. A subclass does its work in `_serve`."""

    def __init__(self) -> None:
        self._scope = trio.CancelScope()
        self._background = AsyncExitStack()
        self.ended = trio.Event()
        """Set when `serve` has ended."""

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
            self.ended.set()

    @property
    def stopping(self) -> bool:
        """Whether the task has ended, or was told to."""
        return self._scope.cancel_called

    def stop(self) -> None:
        """Make the task end, without waiting for it. It is safe to call this again."""
        self._scope.cancel()

    async def _started(self) -> None:
        """Wait for what the context is entered for. Nothing by default."""
        await trio.lowlevel.checkpoint()

    @abstractmethod
    async def _serve(self) -> None:
        """Work until cancelled."""
