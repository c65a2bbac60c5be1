"""Whether a plugin's implementations fit the hooks: what would never be called, or could not be, is found at once."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import pluggy

from evanesce.hookspecs import Hooks

_HOOKS = {name: spec for name, spec in vars(Hooks).items() if name.startswith("evanesce_")}


def problem(plugin: object, callers: Sequence[pluggy.HookCaller]) -> str | None:
    """Say what is wrong with the implementations of a registered plugin, those of `callers`; None: nothing."""
    for caller in callers:
        if caller.name not in _HOOKS:
            return f"{caller.name} is not a hook of this version of Evanesce"
        [implementation] = [one for one in caller.get_hookimpls() if one.plugin is plugin]
        if implementation.hookwrapper or implementation.wrapper:
            return f"{caller.name} is a wrapper, and there is nothing to wrap: a plugin is called alone"
        if is_async(caller.name) != inspect.iscoroutinefunction(implementation.function):
            return f"{caller.name} must be {'async def' if is_async(caller.name) else 'def, not async def'}"
    for hook in sorted(_HOOKS.keys() - {caller.name for caller in callers}):
        if inspect.isroutine(getattr(plugin, hook, None)):
            return f"{hook} is not marked with @hookimpl"
    return None


def is_async(hook: str) -> bool:
    """Whether `hook` is one that is awaited while the server runs."""
    return inspect.iscoroutinefunction(_HOOKS[hook])
