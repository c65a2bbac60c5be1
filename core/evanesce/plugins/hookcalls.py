"""Calls a plugin's hooks while the server runs: bounded in time, contained, counted."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import trio

log = logging.getLogger(__name__)

SECONDS = 2.0
"""How long a plugin may take for one event."""

WAITING = 1_000
"""How many events wait for one plugin; what comes while so many wait is dropped and counted."""

T = TypeVar("T")

Call = Callable[..., list[Awaitable[Any]]]
"""Calls a hook of one plugin: gives what it returned, one awaitable, or none where it has no such hook."""


class HookFailed(Exception):
    """A plugin's hook raised or took too long. It has been logged and counted."""


class HookCalls:
    """One plugin's hooks at run time, and what became of them.

    `failed` counts the calls that raised or took too long, `dropped` the events for which there was no place.
    """

    def __init__(self, plugin: str, calls: Mapping[str, Call]) -> None:
        self.failed = 0
        self.dropped = 0
        self._plugin = plugin
        self._calls = calls
        self._send, self._receive = trio.open_memory_channel[tuple[str, Mapping[str, Any]]](WAITING)

    @property
    def waiting(self) -> int:
        """How many events wait to be told."""
        return self._send.statistics().current_buffer_used

    def has(self, hook: str) -> bool:
        """Whether the plugin implements `hook`."""
        return hook in self._calls

    async def call(
        self,
        hook: str,
        arguments: Mapping[str, Any],
        accept: Callable[[Any], T],
        passing: tuple[type[Exception], ...] = (),
    ) -> T:
        """Call `hook` and give what `accept` makes of its result.

        Raises what is in `passing` as it came, and `HookFailed` for anything else that the hook or `accept` raise.
        """
        try:
            with trio.fail_after(SECONDS):
                [awaitable] = self._calls[hook](**arguments)
                result = await awaitable
            return accept(result)
        except passing:
            raise
        except BaseExceptionGroup as group:
            # A nursery of the plugin's: what is ours (a cancellation) goes on, what is the plugin's stays here.
            failure, rest = group.split(Exception)
            if failure is not None:
                self._note(hook, failure)
            if rest is not None:
                raise rest from None
            raise HookFailed from None
        except Exception as error:  # the border around foreign code: whatever it raises is not the server's
            self._note(hook, error)
            raise HookFailed from None

    def tell(self, hook: str, arguments: Mapping[str, Any]) -> None:
        """Queue an event for `run`; with a full queue it is dropped."""
        try:
            self._send.send_nowait((hook, arguments))
        except trio.ClosedResourceError:
            self.dropped += 1  # the server is about to end
        except trio.WouldBlock:
            self.dropped += 1
            if self.dropped.bit_count() == 1:  # the 1st, 2nd, 4th, … : a plugin that is stuck must not fill the log
                log.warning("plugin %s: %d events dropped: it is too slow", self._plugin, self.dropped)

    def close(self) -> None:
        """Take no more events: `run` ends when those that wait have been told."""
        self._send.close()

    async def run(self) -> None:
        """Tell the plugin what happened, one event after the other, until `close`."""
        async for hook, arguments in self._receive:
            try:
                await self.call(hook, arguments, accept=lambda result: None)
            except HookFailed:
                continue  # noted already: an observer that fails misses this one event

    def _note(self, hook: str, error: Exception) -> None:
        self.failed += 1
        if isinstance(error, trio.TooSlowError):
            log.warning("plugin %s: %s took more than %g s", self._plugin, hook, SECONDS)
        else:
            log.warning("plugin %s: %s failed", self._plugin, hook, exc_info=error)
