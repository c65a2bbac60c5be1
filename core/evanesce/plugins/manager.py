"""The plugins of a server, as it uses them: settings and parts before it starts, filters and observers later."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect
import trio

from evanesce.config.model import Config
from evanesce.errors import CommandError, ErrorCode, PluginError, Rejected
from evanesce.interfaces import CliCommand, Settings
from evanesce.model import Draft
from evanesce.plugins import conformance, installed, parts
from evanesce.plugins.enabled import EnabledPlugins
from evanesce.plugins.hookcalls import HookCalls, HookFailed
from evanesce.plugins.parts import Parts

_FILTER = "evanesce_filter_message"


@dataclass(frozen=True, slots=True)
class PluginStatistics:
    """What became of one plugin's hooks at run time.

    `failed` calls raised or took too long; `waiting` events have yet to be told; `dropped` ones never will be.
    """

    failed: int
    waiting: int
    dropped: int


class Plugins:
    """The enabled plugins. Made by `Plugins.load`; used by one server."""

    def __init__(self, plugins: Mapping[str, object]) -> None:
        self._plugins = EnabledPlugins(plugins)
        self._content_bytes = math.inf
        self._running = {name: HookCalls(name, self._run_time_calls(name)) for name in self._plugins.names}
        self._filters = [calls for calls in self._running.values() if calls.has(_FILTER)]

    @classmethod
    def load(cls, names: Sequence[str], extra: Mapping[str, object] | None = None) -> Plugins:
        """Import the plugins `names`, in order; `extra` has objects that stand for entry points of their names.

        Raises `ConfigurationError` for a name that is not installed, `PluginError` for what cannot be loaded.
        """
        given = extra or {}
        return cls({name: given[name] if name in given else installed.load(name) for name in names})

    @property
    def names(self) -> tuple[str, ...]:
        """The plugins' names, in order."""
        return self._plugins.names

    def hooks(self, name: str) -> tuple[str, ...]:
        """Give the names of the hooks that a plugin implements."""
        return self._plugins.hooks(name)

    # Before it runs

    def settings(self) -> dict[str, Settings | None]:
        """Ask each plugin for the model of its table; None where it takes no settings."""
        models: dict[str, Settings | None] = {}
        for name in self._plugins.names:
            models[name] = None
            if "evanesce_settings" in self.hooks(name):
                model = self._plugins.ask(name, "evanesce_settings")
                if not (isinstance(model, type) and issubclass(model, msgspec.Struct)):
                    raise PluginError(name, "evanesce_settings gave no msgspec.Struct")
                try:
                    msgspec.inspect.type_info(model)
                except (TypeError, NameError) as error:  # a type that msgspec does not know, a name that is not there
                    raise PluginError(name, f"evanesce_settings gave a model that cannot be used: {error}") from error
                models[name] = model
        return models

    def cli_commands(self, name: str) -> Sequence[CliCommand]:
        """Ask a plugin for its subcommands."""
        return self._plugins.ask_for_several(name, "evanesce_cli_commands", CliCommand)

    def build(self, config: Config, folder: Path) -> Parts:
        """Ask every plugin for its parts; see `evanesce.plugins.parts.build`."""
        self._content_bytes = config.messages.content_bytes
        return parts.build(self._plugins, config, folder)

    # While it runs

    async def filter_message(self, draft: Draft) -> Draft:
        """Show a message to every filter, in order; give it with the content that they leave it.

        Raises `Rejected` where a plugin refuses it, and `CommandError` `internal` where one fails.
        """
        for calls in self._filters:
            try:
                changed = await calls.call(_FILTER, {"draft": draft}, accept=self._accept, passing=(Rejected,))
            except HookFailed:
                raise CommandError(
                    ErrorCode.INTERNAL, "A plugin could not look at the message. Try again in a moment."
                ) from None
            if changed is not None:
                draft = msgspec.structs.replace(draft, content=changed)
        return draft

    def observe(self, hook: str, **arguments: object) -> None:
        """Let every observer know that something happened, soon: `hook` is the name of one of the watching hooks.

        Returns at once.
        """
        for calls in self._running.values():
            if calls.has(hook):
                calls.tell(hook, arguments)

    async def run_observers(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell the observers what happens, each in a task of its own, until `close_observers` or cancelled."""
        async with trio.open_nursery() as nursery:
            for calls in self._running.values():
                nursery.start_soon(calls.run)
            task_status.started()

    def close_observers(self) -> None:
        """Take no more events: `run_observers` ends when those that wait have been told."""
        for calls in self._running.values():
            calls.close()

    def statistics(self) -> dict[str, PluginStatistics]:
        """Say what became of each plugin's hooks at run time."""
        return {
            name: PluginStatistics(failed=calls.failed, waiting=calls.waiting, dropped=calls.dropped)
            for name, calls in self._running.items()
        }

    def _accept(self, draft: object) -> str | None:
        """Give the content that a filter gave; raise where it broke its contract."""
        if draft is None:
            return None
        if not isinstance(draft, Draft):
            raise TypeError("a filter gives a Draft or None")
        if len(draft.content.encode()) > self._content_bytes or not draft.content.strip():
            raise ValueError("a filter gave content that is empty or too long")
        return draft.content

    def _run_time_calls(self, name: str) -> dict[str, Any]:
        return {
            hook: self._plugins.caller(name, hook) for hook in self._plugins.hooks(name) if conformance.is_async(hook)
        }
