"""Tasks that run in the background of a context."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Self

import trio


class Tasks:
    """A context that runs tasks which are started while it lasts, and cancels them at its end."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._nursery: trio.Nursery | None = None

    async def __aenter__(self) -> Self:
        self._nursery = await self._stack.enter_async_context(trio.open_nursery())
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
        await self._stack.aclose()

    def start(self, task: Callable[[], Awaitable[object]]) -> None:
        """Start a task. The context must have been entered, and not left."""
        if self._nursery is None:
            raise AssertionError("the context was not entered")
        self._nursery.start_soon(task)


@asynccontextmanager
async def background(*tasks: Callable[[], Awaitable[object]]) -> AsyncGenerator[None, None]:
    """Run `tasks` while the context lasts, and cancel them at its end.

    An exception of the body is raised as it is, not in the exception group of a nursery, which the author of the body
    does not expect. An exception of a task cancels the body, and is raised in a group.
    """
    problem: Exception | None = None
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)
        try:
            yield
        except Exception as error:  # raised again below
            problem = error
        nursery.cancel_scope.cancel()
    if problem is not None:
        raise problem
