"""How the testing kit starts and stops a server in memory: the same for all servers that it offers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import cast

import trio

from evanesce.application import Application
from evanesce.config.model import Config
from evanesce.context import ServerContext
from evanesce.maintenance.binding import RedisGuard
from evanesce.metrics import Metrics
from evanesce.plugins import Components, Plugins
from evanesce.plugins.calls import CallNursery
from evanesce.store.memory import MemoryStore
from evanesce.writebehind import WriteBehind

EVENT_SECONDS = 1.0
"""How long observers may take for what they have not been told when a server ends."""


@asynccontextmanager
async def running_application(
    config: Config,
    plugins: Plugins,
    components: Components,
    store: MemoryStore,
    *,
    owner: CallNursery | None = None,
    opened: bool = False,
) -> AsyncGenerator[Application, None]:
    """Run a server without its transports, and close its rooms at the end.

    `owner` runs the calls of components that no plugin of `plugins` provides. With `opened`, the repository and the
    authenticators are opened first and closed last, as by a real server.
    """
    metrics = Metrics()
    records = WriteBehind(components.repository, metrics)
    guard = RedisGuard(components.repository, store, metrics, embedded=False, alone=False)
    context = ServerContext(config, store, components.repository, records, plugins, metrics)
    async with trio.open_nursery() as nursery:
        if owner is not None:
            await nursery.start(owner.run)
        await nursery.start(plugins.run)
        async with AsyncExitStack() as stack:
            if opened:
                await stack.enter_async_context(components.repository)
                for authenticator in components.authenticators.values():
                    await stack.enter_async_context(authenticator)
                stack.push_async_callback(guard.release, restarting=False)
                await guard.bind()
            application = Application(context, components, guard)
            nursery.start_soon(records.run)
            await nursery.start(application.run)
            yield application
            await application.hub.drain()
            await records.flush()
            await plugins.finish_events(EVENT_SECONDS)
        nursery.cancel_scope.cancel()


@contextmanager
def without_groups() -> Generator[None]:
    """Raise an exception that is alone in its exception groups without them.

    So a test sees its own `AssertionError`, or the `ConfigurationError` of a plugin, as it was raised.
    """
    alone: BaseException | None = None
    try:
        yield
    except BaseExceptionGroup as group:
        alone = _only(group)
        if alone is None:
            raise
    if alone is not None:
        raise alone from alone.__cause__  # without its groups as the context


def _only(error: BaseException) -> BaseException | None:
    """Return the only exception in a group and its groups; None where there are several, or a cancellation."""
    if isinstance(error, BaseExceptionGroup):
        exceptions = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return _only(exceptions[0]) if len(exceptions) == 1 else None
    return None if isinstance(error, trio.Cancelled) else error
