"""What is installed, looked at as a whole: for `evanesce plugins`, and for the subcommands that plugins add."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from evanesce.errors import ConfigurationError, PluginError
from evanesce.interfaces import CliCommand
from evanesce.plugins import Plugins, installed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listed:
    """A plugin that is installed or enabled: where it comes from, its hooks, and why it cannot be loaded, if so."""

    name: str
    enabled: bool
    origin: str
    hooks: Sequence[str]
    problem: str | None


def listing(enabled: Sequence[str]) -> list[Listed]:
    """List all plugins: the enabled ones in their order, then the others."""
    others = [name for name in installed.names() if name not in enabled]
    return [_listed(name, name in enabled) for name in (*enabled, *others)]


def _listed(name: str, enabled: bool) -> Listed:
    origin = "not installed"
    try:
        origin = installed.origin(installed.find(name))
        hooks = Plugins.load([name]).hooks(name)
    except (PluginError, ConfigurationError) as error:
        return Listed(name, enabled, origin, (), str(error))
    return Listed(name, enabled, origin, hooks, None)


def cli_commands(taken: Collection[str]) -> list[CliCommand]:
    """Give the subcommands that the installed plugins add; none may have one of the names that are `taken`."""
    commands: dict[str, CliCommand] = {}
    for name in installed.names():
        try:
            added = Plugins.load([name]).cli_commands(name)
        except (PluginError, ConfigurationError) as error:
            log.debug("%s", error)  # told where it matters: by `evanesce plugins`, or by the start if it is enabled
            continue
        for command in added:
            if command.name in taken or command.name in commands:
                log.warning("plugin %s: its command %s is left out: there is one of this name", name, command.name)
            else:
                commands[command.name] = command
    return list(commands.values())
