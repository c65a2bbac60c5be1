"""The metrics of the process and of the plugins, which are read at each scrape."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version

from evanesce.metrics import Metrics
from evanesce.plugins import Plugins, PluginStatistics


def watch_process(metrics: Metrics) -> None:
    """Show which version runs, and what the system knows of the process."""
    facts = {"version": version("evanesce"), "python": platform.python_version(), "trio": version("trio")}
    metrics.info("build", "The versions that run", facts)
    metrics.watch_process()


def watch_certificates(certificates: Mapping[str, float], metrics: Metrics) -> None:
    """Show when the certificate of each transport expires."""
    text = "When the certificate of a transport expires, in seconds since 1970; infinite without one"
    shown: dict[tuple[str, ...], float] = {(transport,): expires for transport, expires in certificates.items()}
    metrics.watch_gauges("certificate_expiry_timestamp_seconds", text, ("transport",), lambda: shown)


def watch_plugins(plugins: Plugins, metrics: Metrics) -> None:
    """Show the calls of each plugin. The configuration bounds how many there are."""

    def watch(name: str, text: str, value: Callable[[PluginStatistics], float]) -> None:
        def totals() -> dict[tuple[str, ...], float]:
            return {(plugin,): value(statistics) for plugin, statistics in plugins.statistics().items()}

        metrics.watch_counters(name, text, ("plugin",), totals)

    watch("plugin_calls", "Calls of a plugin's code that have ended", lambda one: one.calls)
    watch("plugin_seconds", "Seconds that calls of a plugin's code took together", lambda one: one.seconds)
    watch("plugin_failures", "Calls of a plugin's code that failed", lambda one: one.failed)
    watch("plugin_blocked", "Calls of a plugin's code that blocked the event loop", lambda one: one.blocked)
    watch("plugin_events_dropped", "Events that were dropped because a plugin was too slow", lambda one: one.dropped)

    def hanging() -> int:
        return sum(statistics.hanging for statistics in plugins.statistics().values())

    metrics.watch("plugin_hanging", "Calls of plugins' code that were abandoned and still run", hanging)
