"""Discovery of plugins: those that are installed, by their entry points, and the registry of those that are enabled."""

from __future__ import annotations

import difflib
import functools
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Any, TypeVar, cast

import pluggy

from evanesce.errors import ConfigurationError, PluginError
from evanesce.hookspecs import Hooks, hookspec
from evanesce.interfaces import Finding
from evanesce.plugins.contracts import hook_problem
from evanesce.plugins.declarations import Declarations, WrongDeclaration, read_declarations, undeclared
from evanesce.plugins.faults import call_sync, import_advice, place

GROUP = "evanesce.plugins"
"""The group of the entry points: a plugin's name, and the module or object that is the plugin."""

_DEFAULTS = "evanesce.defaults"
"""The group that names the plugins which are enabled where no configuration says otherwise."""

_DISTRIBUTION = "evanesce"

_PROJECT = hookspec.project_name

T = TypeVar("T")


# --- installed plugins ----------------------------------------------------------------------------------------------


def names() -> list[str]:
    """Return the names of all installed plugins."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def defaults() -> list[str]:
    """Return the names of the plugins that are enabled by default. Only Evanesce's own distribution may name any."""
    points = entry_points(group=_DEFAULTS)
    return [point.name for point in points if point.dist is not None and point.dist.name == _DISTRIBUTION]


def unknown(tables: Sequence[str]) -> list[Finding]:
    """Return a finding for each of these tables of the configuration that belongs to no installed plugin."""
    known = names()
    return [
        Finding(
            f"[plugins.{name}] belongs to a plugin that is not installed: nothing reads it",
            f"{_suggestion(name, known, '[plugins.{}]')}Install the plugin, or remove the table.",
        )
        for name in tables
        if name not in known
    ]


def find(name: str) -> EntryPoint:
    """Return a plugin's entry point. Raises `ConfigurationError` where there is none, `PluginError` for several."""
    points: EntryPoints = entry_points(group=GROUP, name=name)
    if not points:
        known = names()
        hint = f"{_suggestion(name, known, '{!r}')}Installed are: {', '.join(known) or 'none'}"
        raise ConfigurationError("plugins.enabled", f"no plugin {name!r} is installed", hint)
    if len(points) > 1:
        owners = " and ".join(sorted(origin(point) for point in points))
        raise PluginError(name, f"is in {owners}: uninstall all but one of them")
    [point] = points
    return point


def load(name: str) -> object:
    """Import a plugin. Raises as `find` does, and `PluginError` where it cannot be imported."""
    return load_point(find(name))


def load_point(point: EntryPoint) -> object:
    """Import the plugin of an entry point. Raises `PluginError` where it cannot be imported."""
    name = point.name
    what = f"{point.value} of {origin(point)} cannot be imported"

    def load() -> object:
        try:
            return point.load()
        except (ImportError, SyntaxError) as error:  # the interpreter's own text, which says what is missing
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise PluginError(name, f"{what}: {text}{import_advice(error)}") from error
        except AttributeError as error:
            if error.obj is not sys.modules.get(point.module):
                raise  # of the plugin's code: its text may hold anything
            raise PluginError(name, f"{what}: the module {point.module} has no {error.name}") from error

    return call_sync(name, what, load)


def packages(plugins: Iterable[str]) -> list[str]:
    """Return the top-level packages of these plugins' modules."""
    return sorted({find(name).module.partition(".")[0] for name in plugins})


def files(plugins: Iterable[str]) -> list[Path]:
    """Return where the code of these plugins is, which have been imported: files, and folders of packages."""
    found: dict[Path, None] = {}
    for name in plugins:
        module = sys.modules.get(find(name).module.partition(".")[0])
        folders: Iterable[str] = getattr(module, "__path__", ())
        file: str | None = getattr(module, "__file__", None)
        found |= {Path(folder): None for folder in folders} or ({} if file is None else {Path(file): None})
    return list(found)


def origin(point: EntryPoint) -> str:
    """Return the name and the version of the distribution that an entry point belongs to."""
    return "an unknown package" if point.dist is None else f"{point.dist.name} {point.dist.version}"


def _suggestion(name: str, known: Sequence[str], form: str) -> str:
    """Return a question with the known name that is most similar, if there is one; `form` is how it is written."""
    near = difflib.get_close_matches(name, known, 1)
    return f"Did you mean {form.format(near[0])}? " if near else ""


# --- enabled plugins ------------------------------------------------------------------------------------------------


class PluginRegistry:
    """The enabled plugins, by name and in order. Each is called separately, before the event loop runs.

    Raises `PluginError` for a plugin whose hook implementations do not fit the hooks, or that is made for another
    version of the plugin API.
    """

    def __init__(self, plugins: Mapping[str, object]) -> None:
        self._manager = pluggy.PluginManager(_PROJECT)
        self._manager.add_hookspecs(Hooks)
        self._plugins = dict(plugins)
        self._declared = {
            name: call_sync(name, "cannot be registered", functools.partial(_register, self._manager, name, plugin))
            for name, plugin in self._plugins.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The plugins' names, in order."""
        return tuple(self._plugins)

    def declarations(self, name: str) -> Declarations:
        """Return what a plugin declares of itself."""
        return self._declared[name]

    def hooks(self, name: str) -> tuple[str, ...]:
        """Return the names of the hooks that a plugin implements."""
        callers = self._manager.get_hookcallers(self._plugins[name]) or []
        return tuple(sorted(caller.name for caller in callers))

    def implementing(self, hook: str) -> list[str]:
        """Return the names of the plugins that implement `hook`."""
        return [name for name in self._plugins if hook in self.hooks(name)]

    def caller(self, name: str, hook: str) -> pluggy.HookCaller:
        """Return a function that calls `hook` of one plugin alone."""
        others = [plugin for other, plugin in self._plugins.items() if other != name]
        return self._manager.subset_hook_caller(hook, others)

    def arguments(self, name: str) -> dict[str, Sequence[str]]:
        """Return the arguments that a plugin takes, by the names of the hooks that it implements."""
        found: dict[str, Sequence[str]] = {}
        for hook in self.hooks(name):
            [implementation] = self.caller(name, hook).get_hookimpls()
            found[hook] = implementation.argnames
        return found

    def place(self, name: str, hook: str) -> str:
        """Return where a plugin implements `hook`, as `module:line`. The plugin must implement it."""
        [implementation] = self.caller(name, hook).get_hookimpls()
        return place(implementation.function)

    def call(self, name: str, hook: str, **arguments: object) -> Any:
        """Call `hook` of one plugin, and return its result; None where the plugin does not implement it.

        Raises `PluginError` for whatever the plugin raises, see `call_sync`.
        """
        if hook not in self.hooks(name):
            return None
        call = functools.partial(self.caller(name, hook), **arguments)
        results = call_sync(name, f"{hook} ({self.place(name, hook)}) failed", call)
        return results[0] if results else None

    def call_for_sequence(self, name: str, hook: str, kind: type[T], **arguments: object) -> Sequence[T]:
        """Call a hook that returns a sequence of objects of one kind. Raises `PluginError` for any other result."""
        found = self.call(name, hook, **arguments)
        if found is None:
            return ()
        if not isinstance(found, Sequence):
            raise PluginError(name, f"{hook} must return a sequence")
        sequence = cast(Iterable[Any], found)
        objects = call_sync(name, f"the result of {hook} cannot be read", lambda: list(sequence))
        if not all(isinstance(one, kind) for one in objects):
            raise PluginError(name, f"{hook} must return objects of {kind.__name__}")
        return objects


def _register(manager: pluggy.PluginManager, name: str, plugin: object) -> Declarations:
    """Register a plugin, and return what it declares. Raises `PluginError` where something is wrong with it."""
    try:
        declared = read_declarations(plugin)  # first: the hooks of another version of the API may be others
        manager.register(plugin, name)
    except WrongDeclaration as error:
        raise PluginError(name, str(error)) from None
    except pluggy.PluginValidationError as error:
        raise PluginError(name, " ".join(str(error).split())) from None
    callers = manager.get_hookcallers(plugin) or []
    problem = hook_problem(plugin, callers) or undeclared(declared, [caller.name for caller in callers])
    if problem is not None:
        raise PluginError(name, problem)
    return declared
