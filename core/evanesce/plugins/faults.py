"""Faults of plugins' code: how they are recognised, described, logged and counted.

The text of an exception may hold what a user wrote, so the log shows its type and its places in the code alone.
"""

from __future__ import annotations

import functools
import inspect
import logging
import math
import signal
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, TypeVar, cast

import trio

from evanesce import logs
from evanesce.errors import EvanesceError, PluginError

log = logging.getLogger(__name__)

tracebacks = logging.getLogger("evanesce.plugins.texts")
"""Shows whole tracebacks of plugins' faults, which may hold content: a line each, at level DEBUG."""

tracebacks.setLevel(logging.INFO)  # set here: a server that logs at DEBUG for another reason must not show them

LONGEST = 1_000
"""The longest description of a fault in the log, in characters: a group can hold any number of exceptions."""

KNOWN = 1_000
"""How many different faults of a plugin are counted separately; above that the counts start again."""

MISSING = (
    "Install the package that has this module where Evanesce is installed, or the plugin again with all that it needs"
)
"""The advice where a plugin imports a module that is not installed."""

T = TypeVar("T")


class ContractViolation(Exception):
    """An object that a plugin returned or raised breaks its contract. The text never holds the object itself."""


class PluginFailed(Exception):
    """A call of a plugin's code failed, or its result broke the contract. It has been logged and counted."""


def debug() -> None:
    """Log every fault of plugins from now on, with text and traceback, and warn that they may hold secrets."""
    tracebacks.setLevel(logging.DEBUG)
    log.warning("--debug-plugins: the log shows the texts of plugins' exceptions. They may hold messages and secrets")


def is_debugging() -> bool:
    """Return whether `debug` was called."""
    return tracebacks.isEnabledFor(logging.DEBUG)


def is_logged(count: int) -> bool:
    """Return whether the occurrence with this number is logged: the 1st, 2nd, 4th, 8th, …

    A fault that is repeated must not fill the log.
    """
    return count.bit_count() == 1


class Faults:
    """Counts and logs the faults of one plugin.

    `failed` counts the calls that raised, took too long or broke the contract; `blocked` counts those that blocked the
    event loop. `hanging` is the number of abandoned calls that still run.
    """

    def __init__(self, plugin: str) -> None:
        self.plugin = plugin
        self.failed = 0
        self.blocked = 0
        self.hanging = 0
        self._refused = 0
        self._reported: Counter[str] = Counter()

    def report(self, call: str, error: BaseException) -> None:
        """Log and count a call that raised. The same fault is not logged every time, see `is_logged`.

        Clients decide how often a filter fails, and a batch that is divided fails for each of its records.
        """
        self.failed += 1
        fault = f"{call} failed: {describe(error)}"
        if len(self._reported) >= KNOWN and fault not in self._reported:
            self._reported.clear()
        self._reported[fault] += 1
        times = self._reported[fault]
        if is_logged(times) or is_debugging():
            again = f" ({times} times so far)" if times > 1 else ""
            log.warning("plugin %s: %s%s", self.plugin, fault, again)

    def too_slow(self, call: str, seconds: float) -> None:
        """Log and count a call that took too long."""
        self.failed += 1
        log.warning("plugin %s: %s took more than %g s", self.plugin, call, seconds)

    def abandoned(self, call: str) -> None:
        """Log and count a call that did not end after its cancellation. It still runs, and nothing waits for it."""
        self.hanging += 1
        log.error("plugin %s: %s did not end when it was cancelled, and is abandoned", self.plugin, call)

    def refused(self, call: str) -> None:
        """Log and count a call that was not made because too many others hang."""
        self.failed += 1
        self._refused += 1
        if is_logged(self._refused):
            log.error(
                "plugin %s: %s is not called, because %d earlier calls hang (%d times so far)",
                self.plugin,
                call,
                self.hanging,
                self._refused,
            )

    def blocked_event_loop(self, call: str, seconds: float) -> None:
        """Log and count a call that blocked the event loop."""
        self.blocked += 1
        if is_logged(self.blocked) or is_debugging():
            log.warning(
                "plugin %s: %s blocked the whole server for %.2f s (%d times so far): "
                "run blocking code with trio.to_thread.run_sync",
                self.plugin,
                call,
                seconds,
                self.blocked,
            )


def describe(error: BaseException) -> str:
    """Return the type and the places of an exception on one line, without its text.

    The whole traceback goes to the logger `tracebacks`, if that is enabled.
    """
    if is_a(error, ContractViolation):
        return str(error)
    if is_debugging():
        _log_traceback(error)
    try:
        return logs.folded(error)[:LONGEST]
    except BaseException:  # an exception whose own attributes raise, or that is its own cause
        return "an exception that cannot be described"


def _log_traceback(error: BaseException) -> None:
    try:
        lines = "".join(traceback.format_exception(error)).splitlines()
    except BaseException as second:  # its own `__str__` raises
        lines = [f"the exception's own text raised {type(second).__name__}"]
    for line in lines:
        tracebacks.debug("%s", line, extra=logs.EVERY_LINE)


def is_a(error: BaseException, kinds: type[BaseException] | tuple[type[BaseException], ...]) -> bool:
    """Return whether `error` is of one of `kinds`.

    `isinstance` would read its `__class__`, which is the plugin's code.
    """
    return issubclass(type(error), kinds)


def is_cancellation(error: BaseException) -> bool:
    """Return whether `error` is Trio's cancellation and nothing else, alone or in groups."""
    if is_a(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return all(is_cancellation(one) for one in group.exceptions)
    return is_a(error, trio.Cancelled)


def is_own_cancellation(error: BaseException) -> bool:
    """Return whether an error cancels the present task, and so has to propagate.

    A cancellation that a plugin leaked from a scope of its own does not.
    """
    return is_cancellation(error) and trio.current_effective_deadline() == -math.inf


def called_function(function: object) -> object:
    """Return the function that runs when `function`, which may be a partial or a callable object, is called."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or not callable(function):
        return function
    return type(function).__call__


def place(function: object) -> str:
    """Return where a function, method, partial or callable object is defined, as `module:line`."""
    function = inspect.unwrap(cast("Callable[..., Any]", called_function(function)))
    code = getattr(function, "__code__", None)
    module = getattr(function, "__module__", None) or "an unknown module"
    return module if code is None else f"{module}:{code.co_firstlineno}"


def call_sync(plugin: str, what: str, function: Callable[[], T]) -> T:
    """Call a plugin's code before the event loop runs, and return its result.

    Raises `PluginError` for whatever the code raises, with `what` in its text. Evanesce's own errors propagate, since
    they say what to do, and so does a KeyboardInterrupt that a signal caused.
    """
    with _interrupts() as interrupted:
        try:
            return function()
        except EvanesceError:
            raise
        except BaseException as error:  # the boundary to foreign code
            if interrupted and is_a(error, KeyboardInterrupt):
                raise
            raise PluginError(plugin, f"{what}: {describe(error)}{import_advice(error)}") from error


def import_advice(error: BaseException) -> str:
    """Return what to append to a message about `error`: the advice for a module that is missing, or nothing."""
    return f". {MISSING}" if is_a(error, ModuleNotFoundError) else ""


@contextmanager
def _interrupts() -> Generator[list[int]]:
    """Record the SIGINTs that arrive in this context: KeyboardInterrupt alone does not say where it comes from."""
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        came.append(number)
        raise KeyboardInterrupt

    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not default or threading.current_thread() is not threading.main_thread():
        yield came  # signals are handled elsewhere: a KeyboardInterrupt that comes here is the plugin's
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
