"""All installed plugins, for the command line: `evanesce plugins`, and the subcommands that plugins add."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from evanesce import logs
from evanesce.errors import ConfigurationError, PluginError
from evanesce.interfaces import CliCommand
from evanesce.plugins import Plugins, discovery
from evanesce.plugins.declarations import Declarations

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ListedPlugin:
    """A plugin that is installed or enabled: its distribution, its hooks, and the problem if it cannot be loaded.

    `declared` is what it declares of itself; None where it cannot be loaded.
    """

    name: str
    enabled: bool
    origin: str
    hooks: Sequence[str]
    declared: Declarations | None
    problem: str | None


def run(enabled: Sequence[str]) -> int:
    """Print a line for each plugin, and one with its hooks or with the reason why it cannot be loaded.

    The line says whether the plugin sees the content of messages, and for which version of the plugin API it is made.
    """
    for plugin in listing(enabled):
        state = "enabled" if plugin.enabled else "not enabled"
        detail = f"cannot be used: {plugin.problem}" if plugin.problem else ", ".join(plugin.hooks)
        print(logs.escaped(f"{plugin.name:<16} {state:<12} {plugin.origin}{_declared(plugin.declared)}"))
        print(logs.escaped(f"    {detail}"))
    return 0


def _declared(declared: Declarations | None) -> str:
    if declared is None:
        return ""
    return f", API {declared.api}, {'sees' if declared.sees_content else 'does not see'} content"


def listing(enabled: Sequence[str]) -> list[ListedPlugin]:
    """Return all plugins: the enabled ones in their order, then the others."""
    others = [name for name in discovery.names() if name not in enabled]
    return [_listed(name, name in enabled) for name in (*enabled, *others)]


def _listed(name: str, enabled: bool) -> ListedPlugin:
    origin = "not installed"
    try:
        origin = discovery.origin(discovery.find(name))
        loaded = Plugins.load([name])
    except (PluginError, ConfigurationError) as error:
        return ListedPlugin(name, enabled, origin, (), None, str(error))
    return ListedPlugin(name, enabled, origin, loaded.hooks(name), loaded.declarations(name), None)


def added_commands(taken: Collection[str]) -> list[tuple[str, CliCommand]]:
    """Return the subcommands that the installed plugins add, each with its plugin's name.

    A command whose name is in `taken`, or is another plugin's, is left out.
    """
    commands: dict[str, tuple[str, CliCommand]] = {}
    for name in discovery.names():
        try:
            added = Plugins.load([name]).cli_commands(name)
        except (PluginError, ConfigurationError) as error:
            log.debug("%s", error)  # `evanesce plugins` shows it, and so does the start where the plugin is enabled
            continue
        for command in added:
            if command.name in taken or command.name in commands:
                log.warning("plugin %s: its command %s is left out: another one has this name", name, command.name)
            else:
                commands[command.name] = (name, command)
    return list(commands.values())
