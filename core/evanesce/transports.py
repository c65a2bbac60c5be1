"""Starts, watches and stops the transports: each has to listen in time, and none may end before the server does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import cast

import trio

from evanesce.errors import EvanesceError, PluginError
from evanesce.interfaces import Gateway, Transport
from evanesce.lifecycle.shutdown import Shutdown
from evanesce.plugins import Plugins
from evanesce.plugins.calls import PluginCalls, RunningCall
from evanesce.plugins.faults import describe, is_a, place

START_SECONDS = 10.0
"""How long a transport may take until it reports that it listens."""

END_SECONDS = 3.0
"""How long a transport may take to end after its cancellation: a connection closes within 2 s."""


class RunningTransports:
    """The transports that listen: `urls` are their URLs; `left` is set when all of them have ended."""

    def __init__(self, gateway: Gateway) -> None:
        self.urls: list[str] = []
        self.left = trio.Event()
        self._gateway = gateway
        self._running: dict[str, RunningCall] = {}

    async def start(self, name: str, transport: Transport, calls: PluginCalls) -> None:
        """Start a transport, and wait until it listens. Raises `PluginError`, or the transport's `EvanesceError`."""
        status = _Status()

        async def serve() -> None:
            try:
                await transport.serve(self._gateway, task_status=cast("trio.TaskStatus[Sequence[str]]", status))
            finally:
                status.reported_or_ended.set()

        running = self._running[name] = calls.start(f"Transport.serve ({place(transport.serve)})", serve)
        with trio.move_on_after(START_SECONDS) as starting:
            await status.reported_or_ended.wait()
        if starting.cancelled_caught:
            problem = f"its transport did not report within {START_SECONDS:g} s that it listens"
            raise PluginError(name, f"{problem}: serve has to call task_status.started with its URLs")
        if running.ended.is_set():
            raise _evanesce_error(running.error) or PluginError(name, f"its transport {_end_of(running)} at the start")
        reported = status.urls
        urls = cast("Sequence[object]", reported) if isinstance(reported, Sequence) else [None]
        texts = [url for url in urls if isinstance(url, str)]
        if len(texts) < len(urls):
            raise PluginError(name, "its transport has to call task_status.started with a sequence of URLs")
        self.urls += texts

    async def watch(self, shutdown: Shutdown) -> None:
        """Stop the server when a transport ends before it. Returns when all transports have ended."""
        async with trio.open_nursery() as nursery:
            for name, running in self._running.items():
                nursery.start_soon(self._watch, name, running, shutdown)
        self.left.set()

    async def _watch(self, name: str, running: RunningCall, shutdown: Shutdown) -> None:
        await running.ended.wait()
        if not self._gateway.draining:
            shutdown.fail(f"the transport of plugin {name!r} {_end_of(running)}")

    async def stop(self) -> None:
        """Cancel all transports, and wait `END_SECONDS` at most for their end."""
        async with trio.open_nursery() as nursery:
            for running in self._running.values():
                nursery.start_soon(running.stop, END_SECONDS)


@asynccontextmanager
async def run_transports(
    transports: Mapping[str, Transport], plugins: Plugins, gateway: Gateway
) -> AsyncGenerator[RunningTransports, None]:
    """Start all transports, and stop them at the end. Raises as `RunningTransports.start` does."""
    running = RunningTransports(gateway)
    try:
        for name, transport in transports.items():
            await running.start(name, transport, plugins.calls(name))
        yield running
    finally:
        with trio.CancelScope(shield=True):  # bounded: `RunningCall.stop` is
            await running.stop()


class _Status:
    """The `trio.TaskStatus` with which a transport reports that it listens."""

    def __init__(self) -> None:
        self.reported_or_ended = trio.Event()
        self.urls: object = None
        self._called = False

    def started(self, value: object = None) -> None:
        if self._called:
            raise RuntimeError("called 'started' twice on the same task status")
        self._called = True
        self.urls = value
        self.reported_or_ended.set()


def _end_of(running: RunningCall) -> str:
    return "ended" if running.error is None else f"failed: {describe(running.error)}"


def _evanesce_error(error: BaseException | None) -> EvanesceError | None:
    """Return the first `EvanesceError` in `error` and its groups: its message says what to do."""
    if error is None:
        return None
    if is_a(error, EvanesceError):
        return cast(EvanesceError, error)
    if is_a(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return next(filter(None, map(_evanesce_error, group.exceptions)), None)
    return None
