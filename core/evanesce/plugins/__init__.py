"""The plugin host: finds and loads plugins, checks them against the hooks, builds the server's components, calls them.

`discovery` finds and registers plugins; `contracts` checks what they provide; `components` builds the server from it;
`containment` wraps it; `calls` calls plugins' code within its time limits; `faults` describes and counts what fails;
`manager` is the interface of all this to the server.
"""

from __future__ import annotations

from evanesce.plugins.components import Components
from evanesce.plugins.manager import Plugins, PluginStatistics

__all__ = ["Components", "PluginStatistics", "Plugins"]
