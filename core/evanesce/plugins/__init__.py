"""The plugins of a server: found, checked against the hooks, asked for their parts, called while it runs."""

from __future__ import annotations

from evanesce.plugins.manager import Plugins, PluginStatistics
from evanesce.plugins.parts import Parts

__all__ = ["Parts", "PluginStatistics", "Plugins"]
