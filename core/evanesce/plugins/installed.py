"""The plugins that are installed on this machine, as the entry points of the packages name them."""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, EntryPoints, entry_points

from evanesce.errors import ConfigurationError, PluginError

GROUP = "evanesce.plugins"
"""The group of the entry points: a plugin's name, and the module or object that is the plugin."""

_DEFAULTS = "evanesce.defaults"
"""The group that names those of Evanesce's own which are enabled where no configuration says otherwise."""

_DISTRIBUTION = "evanesce"


def names() -> list[str]:
    """Give the names of all installed plugins."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def defaults() -> list[str]:
    """Give the names of the plugins that are enabled by default: only Evanesce itself may name any."""
    points = entry_points(group=_DEFAULTS)
    return [point.name for point in points if point.dist is not None and point.dist.name == _DISTRIBUTION]


def find(name: str) -> EntryPoint:
    """Give the entry point of a plugin; raises `ConfigurationError` where there is none, `PluginError` for several."""
    points: EntryPoints = entry_points(group=GROUP, name=name)
    if not points:
        known = names()
        near = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ConfigurationError(
            "plugins.enabled", f"no plugin {name!r} is installed", f"{hint}Installed are: {', '.join(known) or 'none'}"
        )
    if len(points) > 1:
        owners = " and ".join(sorted(origin(point) for point in points))
        raise PluginError(name, f"is in {owners}: uninstall all but one of them")
    [point] = points
    return point


def load(name: str) -> object:
    """Import a plugin; raises as `find` does, and `PluginError` where it cannot be imported."""
    point = find(name)
    try:
        plugin: object = point.load()
    except Exception as error:  # the border around foreign code: importing runs it
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        raise PluginError(name, f"{point.value} of {origin(point)} cannot be imported: {problem}") from error
    return plugin


def origin(point: EntryPoint) -> str:
    """Give the distribution that an entry point is of, with its version."""
    return "an unknown package" if point.dist is None else f"{point.dist.name} {point.dist.version}"
