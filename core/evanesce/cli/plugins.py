"""`evanesce plugins`: what is installed, what is enabled, and which hooks each plugin has."""

from __future__ import annotations

from collections.abc import Sequence

from evanesce import logs
from evanesce.plugins import catalogue


def run(enabled: Sequence[str]) -> int:
    """Print a line for each plugin, and one for its hooks or for why it cannot be loaded."""
    for plugin in catalogue.listing(enabled):
        state = "enabled" if plugin.enabled else "not enabled"
        print(logs.escaped(f"{plugin.name:<16} {state:<12} {plugin.origin}"))
        print(
            logs.escaped(
                f"    cannot be used: {plugin.problem}" if plugin.problem else f"    {', '.join(plugin.hooks)}"
            )
        )
    return 0
