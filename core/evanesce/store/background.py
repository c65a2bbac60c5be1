"""Tasks that run in the background of a context."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio


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
