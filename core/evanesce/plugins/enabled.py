"""The enabled plugins: each registered under its name, checked against the hooks, and asked alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import pluggy

from evanesce import logs
from evanesce.errors import EvanesceError, PluginError
from evanesce.hookspecs import Hooks, hookspec
from evanesce.plugins import conformance

_PROJECT = hookspec.project_name

T = TypeVar("T")


class EnabledPlugins:
    """The plugins, by name and in order. Raises `PluginError` for one that cannot be registered."""

    def __init__(self, plugins: Mapping[str, object]) -> None:
        self._manager = pluggy.PluginManager(_PROJECT)
        self._manager.add_hookspecs(Hooks)
        self._plugins = dict(plugins)
        for name, plugin in self._plugins.items():
            self._register(name, plugin)

    @property
    def names(self) -> tuple[str, ...]:
        """The plugins' names, in order."""
        return tuple(self._plugins)

    def hooks(self, name: str) -> tuple[str, ...]:
        """Give the names of the hooks that a plugin implements."""
        callers = self._manager.get_hookcallers(self._plugins[name]) or []
        return tuple(sorted(caller.name for caller in callers))

    def having(self, hook: str) -> list[str]:
        """Give the names of the plugins that implement `hook`."""
        return [name for name in self._plugins if hook in self.hooks(name)]

    def caller(self, name: str, hook: str) -> pluggy.HookCaller:
        """Give what calls `hook` of one plugin alone."""
        others = [plugin for other, plugin in self._plugins.items() if other != name]
        return self._manager.subset_hook_caller(hook, others)

    def ask(self, name: str, hook: str, **arguments: object) -> Any:
        """Call `hook` of one plugin; what it raises is told as the plugin's fault."""
        try:
            results = self.caller(name, hook)(**arguments)
        except EvanesceError:
            raise  # it says itself what to do
        except Exception as error:  # the border around foreign code
            raise PluginError(name, f"{hook} failed: {logs.folded(error)}") from error
        return results[0] if results else None

    def ask_for_several(self, name: str, hook: str, kind: type[T], **arguments: object) -> Sequence[T]:
        """Call a hook that gives several objects of one kind."""
        found = self.ask(name, hook, **arguments)
        if found is None:
            return ()
        if not isinstance(found, Sequence):
            raise PluginError(name, f"{hook} must give a sequence")
        objects = list(cast(Iterable[Any], found))
        if not all(isinstance(one, kind) for one in objects):
            raise PluginError(name, f"{hook} must give objects of {kind.__name__}")
        return objects

    def _register(self, name: str, plugin: object) -> None:
        """Register a plugin; raise `PluginError` for implementations that no hook would ever call."""
        try:
            self._manager.register(plugin, name)
            problem = conformance.problem(plugin, self._manager.get_hookcallers(plugin) or [])
        except pluggy.PluginValidationError as error:
            raise PluginError(name, " ".join(str(error).split())) from error
        except Exception as error:  # the border around foreign code: attributes of the plugin are looked at
            raise PluginError(name, f"cannot be registered: {logs.folded(error)}") from error
        if problem is not None:
            raise PluginError(name, problem)
