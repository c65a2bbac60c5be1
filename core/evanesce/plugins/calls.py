"""Calls of plugins' code while the event loop runs: limited in time, contained, and abandoned if they do not end.

Trio cannot end code that shields itself from cancellation. Every call therefore runs in a task of its own, in a
`CallNursery`: the caller stops waiting for a call that does not end, and its task is still known and counted.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import perf_counter
from typing import Any, Generic, TypeVar, cast

import trio

from evanesce.errors import CommandError, EvanesceError, PluginError
from evanesce.plugins.contracts import error_problem
from evanesce.plugins.faults import (
    ContractViolation,
    Faults,
    PluginFailed,
    describe,
    is_a,
    is_cancellation,
    is_debugging,
    is_own_cancellation,
)

GRACE_SECONDS = 0.1
"""How much of its time a call has for cleaning up after it was cancelled."""

CLOSE_SECONDS = 5.0
"""How long a component may take to close, and a task to end after its last cancellation."""

MOST_HANGING = 10
"""How many abandoned calls of one plugin may still run before it is called no more."""

BLOCKING_SECONDS = 0.2
"""The longest step between two waits that is not reported as blocking the event loop."""

DEBUG_BLOCKING_SECONDS = 0.1
"""The same, for the development of plugins."""

T = TypeVar("T")


class MeasuredAwaitable(Generic[T]):
    """Awaits `coroutine`, and measures each of its steps: the time from one wait to the next.

    `blocked` is called with the seconds of every step that took more than `BLOCKING_SECONDS`, or, where plugins are
    debugged, `DEBUG_BLOCKING_SECONDS`.
    """

    __slots__ = ("_blocked", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, T], blocked: Callable[[float], None]) -> None:
        self._coroutine = coroutine
        self._blocked = blocked

    def __await__(self) -> Generator[Any, Any, T]:
        step: Callable[[], Any] = functools.partial(self._coroutine.send, None)
        while True:
            began = perf_counter()
            try:
                trap = step()
            except StopIteration as stop:
                result: T = stop.value
                return result
            finally:
                taken = perf_counter() - began
                if taken > DEBUG_BLOCKING_SECONDS and (taken > BLOCKING_SECONDS or is_debugging()):
                    self._blocked(taken)
            try:
                sent = yield trap
            except BaseException as error:
                step = functools.partial(self._coroutine.throw, error)
            else:
                step = functools.partial(self._coroutine.send, sent)


class RunningCall:
    """One call of a plugin's code in a task of its own. `error` is what it raised, `value` what it returned."""

    def __init__(self, call: str, faults: Faults) -> None:
        self.call = call
        self.ended = trio.Event()
        self.value: Any = None
        self.error: BaseException | None = None
        self._faults = faults
        self._scope = trio.CancelScope()
        self._abandoned = False

    # A signal interrupts the main task then, so that a KeyboardInterrupt raised here is the plugin's.
    @trio.lowlevel.enable_ki_protection
    async def run(self, function: Callable[[], Awaitable[Any]]) -> None:
        """Call `function`, and store its result or its exception. Never raises."""

        async def called() -> Any:
            return await function()

        blocked = functools.partial(self._faults.blocked_event_loop, self.call)
        try:
            with self._scope:
                self.value = await MeasuredAwaitable(called(), blocked)
        except BaseException as error:  # the boundary to foreign code; the scope has caught our own cancellation
            self.error = error
        finally:
            self.ended.set()
            if self._abandoned:
                self._faults.hanging -= 1

    async def stop(self, seconds: float) -> None:
        """Cancel the call, and wait for its end so long, even if the caller is cancelled; then abandon it."""
        if self.ended.is_set():
            return
        self._scope.cancel()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + seconds):
            await self.ended.wait()
        if not (self.ended.is_set() or self._abandoned):
            self._abandoned = True
            self._faults.abandoned(self.call)


class CallNursery:
    """The parent of the tasks of all plugins' calls, while `run` runs. After `stop`, or its end, none starts."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._running: set[RunningCall] = set()
        self._stopping = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the nursery of the calls open, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._stopping = True

    def start(self, running: RunningCall, function: Callable[[], Awaitable[Any]]) -> None:
        """Start a call. Raises `PluginFailed` after `stop`: an observer may still have events then."""
        if self._nursery is None:
            raise AssertionError("plugins are called while their nursery runs")
        if self._stopping:
            raise PluginFailed
        self._running.add(running)
        self._nursery.start_soon(self._run, running, function)

    async def _run(self, running: RunningCall, function: Callable[[], Awaitable[Any]]) -> None:
        try:
            await running.run(function)
        finally:
            self._running.discard(running)

    async def stop(self) -> list[str]:
        """Cancel every call that still runs, start no new ones, and return the names of those that do not end."""
        self._stopping = True
        left = list(self._running)
        async with trio.open_nursery() as nursery:
            for running in left:
                nursery.start_soon(running.stop, CLOSE_SECONDS)
        return [running.call for running in left if not running.ended.is_set()]


class PluginCalls:
    """Calls the code of one plugin, and counts its faults: by `call` in a task of its own, if possible.

    `made` counts the calls that have ended, and `seconds` is how long they took together.
    """

    def __init__(self, plugin: str, nursery: CallNursery) -> None:
        self.plugin = plugin
        self.faults = Faults(plugin)
        self.made = 0
        self.seconds = 0.0
        self._nursery = nursery

    def start(self, call: str, function: Callable[[], Awaitable[Any]]) -> RunningCall:
        """Start a call, and return without waiting for it.

        Raises `PluginFailed` where too many others hang, or the server ends.
        """
        if self.faults.hanging >= MOST_HANGING:
            self.faults.refused(call)
            raise PluginFailed
        running = RunningCall(call, self.faults)
        self._nursery.start(running, function)
        return running

    async def call(
        self,
        call: str,
        function: Callable[[], Awaitable[Any]],
        accept: Callable[[Any], T],
        *,
        seconds: float,
        passing: tuple[type[Exception], ...] = (),
    ) -> T:
        """Call `function` in a task of its own, and return what `accept` returns for its result, within `seconds`.

        Raises an exception of `passing` unchanged, if a client may be sent it, and `PluginFailed` for any other.
        """
        began = trio.current_time()
        grace = min(GRACE_SECONDS, seconds / 10)
        running = self.start(call, function)
        try:
            with trio.move_on_after(seconds - grace) as deadline:
                await running.ended.wait()
        except BaseException:
            await running.stop(grace)
            if running.error is not None and not is_cancellation(running.error):
                self.faults.report(call, running.error)
            raise
        finally:
            self._count(trio.current_time() - began)
        if deadline.cancelled_caught:
            await running.stop(grace)
        if deadline.cancelled_caught or trio.current_time() - began > seconds:
            self.faults.too_slow(call, seconds)
            raise PluginFailed
        error = running.error
        if error is None:
            try:
                return accept(running.value)
            except passing:
                raise
            except BaseException as broken:  # the result is the plugin's: reading it may raise anything
                self.faults.report(call, broken)
                raise PluginFailed from None
        fault = _fault(error, passing)
        if fault is None:
            raise error
        self.faults.report(call, fault)
        raise PluginFailed

    async def call_in_task(
        self,
        call: str,
        function: Callable[[], Coroutine[Any, Any, T]],
        *,
        seconds: float,
        late: Callable[[], EvanesceError],
    ) -> T:
        """Call `function` in the caller's task, and return its result.

        For a caller that has to know when a call that it cancels has ended. Raises `late()` where the call takes more
        than `seconds`, Evanesce's errors and the caller's cancellation unchanged, and `PluginFailed` for any other
        exception.
        """
        blocked = functools.partial(self.faults.blocked_event_loop, call)
        began = trio.current_time()
        try:
            with trio.move_on_after(seconds):
                return await MeasuredAwaitable(function(), blocked)
            self.faults.too_slow(call, seconds)
            raise late()
        except EvanesceError:
            raise
        except BaseException as error:  # the boundary to foreign code
            if is_own_cancellation(error):
                raise
            self.faults.report(call, error)
            raise PluginFailed from None
        finally:
            self._count(trio.current_time() - began)

    def _count(self, seconds: float) -> None:
        self.made += 1
        self.seconds += seconds

    @asynccontextmanager
    async def opened(
        self, what: str, component: AbstractAsyncContextManager[object], *, seconds: float
    ) -> AsyncGenerator[None, None]:
        """Keep a component open. One task of its own opens and closes it, as its cancel scopes and nurseries require.

        Raises `PluginError` where it cannot be opened. Evanesce's own errors propagate.
        """
        ready, closing = trio.Event(), trio.Event()

        async def hold() -> None:
            opened = False
            try:
                async with component:
                    opened = True
                    ready.set()
                    await closing.wait()
            except BaseException as error:
                if opened and not is_own_cancellation(error):
                    self.faults.report(f"{what}.__aexit__", error)
                raise
            finally:
                ready.set()

        running = self.start(what, hold)
        try:
            with trio.move_on_after(seconds) as deadline:
                await ready.wait()
            if deadline.cancelled_caught:
                raise PluginError(self.plugin, f"its {what} took more than {seconds:g} s to open")
            if running.error is not None:
                if is_a(running.error, EvanesceError):
                    raise running.error
                raise PluginError(self.plugin, f"its {what} could not be opened: {describe(running.error)}")
            yield
        finally:
            closing.set()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + (CLOSE_SECONDS if ready.is_set() else 0)):
                await running.ended.wait()
            await running.stop(GRACE_SECONDS)


def _fault(error: BaseException, passing: tuple[type[Exception], ...]) -> BaseException | None:
    """Return the fault to report for what a call raised; None: it is no fault, and propagates."""
    if not is_a(error, passing):
        return error
    if not is_a(error, CommandError):
        return None
    try:
        problem = error_problem(cast(CommandError, error))
    except BaseException as broken:  # its attributes are the plugin's code, and may raise as well
        return broken
    return None if problem is None else ContractViolation(problem)
