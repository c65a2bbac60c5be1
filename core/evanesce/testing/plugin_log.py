"""What the plugins of a server under test did wrong, with the tracebacks that a real server's log leaves out."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from evanesce.plugins import Plugins
from evanesce.plugins.faults import Faults


@dataclass(frozen=True, slots=True)
class PluginFault:
    """One fault of a plugin while the server ran.

    `call` is what was called, with its place in the code; `problem` is what was wrong, in a few words. `error` is the
    exception, if there is one, and `traceback` its whole text.
    """

    plugin: str
    call: str
    problem: str
    error: BaseException | None = None
    traceback: str = ""

    def __str__(self) -> str:
        return f"plugin {self.plugin}: {self.call} {self.problem}\n{self.traceback}"


class PluginLog:
    """The faults of all plugins of a server, in order.

    `plugin_faults` are the calls that raised, took too long, broke their contract or did not end. `blocking` are the
    calls that blocked the event loop for more than 0.2 s of real time, which a busy machine may cause as well.
    """

    def __init__(self) -> None:
        self.plugin_faults: list[PluginFault] = []
        self.blocking: list[PluginFault] = []

    def __str__(self) -> str:
        return "".join(map(str, self.plugin_faults)) or "no plugin has failed"

    def record(self, plugin: str, call: str, error: BaseException) -> None:
        """Add a fault for an exception that a plugin raised."""
        text = "".join(traceback.format_exception(error))
        problem = f"raised {type(error).__name__}"
        self.plugin_faults.append(PluginFault(plugin, call, problem, error, text))

    def watch(self, plugins: Plugins) -> None:
        """Record the faults of `plugins` from now on."""
        for name in plugins.names:
            plugins.calls(name).faults = _RecordedFaults(name, self)


class _RecordedFaults(Faults):
    """Counts and logs the faults of a plugin as a server does, and adds them to a `PluginLog`."""

    def __init__(self, plugin: str, log: PluginLog) -> None:
        super().__init__(plugin)
        self._log = log

    def report(self, call: str, error: BaseException) -> None:
        super().report(call, error)
        self._log.record(self.plugin, call, error)

    def too_slow(self, call: str, seconds: float) -> None:
        super().too_slow(call, seconds)
        self._add(call, f"took more than {seconds:g} s")

    def abandoned(self, call: str) -> None:
        super().abandoned(call)
        self._add(call, "did not end when it was cancelled")

    def refused(self, call: str) -> None:
        super().refused(call)
        self._add(call, "was not called, because too many earlier calls have not ended")

    def blocked_event_loop(self, call: str, seconds: float) -> None:
        super().blocked_event_loop(call, seconds)
        self._log.blocking.append(PluginFault(self.plugin, call, f"blocked the event loop for {seconds:.2f} s"))

    def _add(self, call: str, problem: str) -> None:
        self._log.plugin_faults.append(PluginFault(self.plugin, call, problem))
