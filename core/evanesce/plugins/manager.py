"""The plugins of a server: found by entry point, checked against the hooks, called in the configured order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import msgspec
import msgspec.inspect
import pluggy
import trio

from evanesce import logs
from evanesce.config.model import Config
from evanesce.errors import CommandError, ConfigurationError, ErrorCode, EvanesceError, PluginError, Rejected
from evanesce.hookspecs import Hooks, hookspec
from evanesce.interfaces import Authenticator, CliCommand, HttpRoute, Repository, Settings, Setup, Transport
from evanesce.model import Draft
from evanesce.plugins import conformance, installed
from evanesce.plugins.hookcalls import HookCalls, HookFailed

_PROJECT = hookspec.project_name
_FILTER = "evanesce_filter_message"
_CONTRACTS: dict[str, type] = {
    "evanesce_authenticator": Authenticator,
    "evanesce_repository": Repository,
    "evanesce_transport": Transport,
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the enabled plugins gave: authenticators by provider, transports by plugin, HTTP routes of them all."""

    repository: Repository
    authenticators: Mapping[str, Authenticator]
    transports: Mapping[str, Transport]
    routes: Sequence[HttpRoute]


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
        self._manager = pluggy.PluginManager(_PROJECT)
        self._manager.add_hookspecs(Hooks)
        self._plugins = dict(plugins)
        for name, plugin in self._plugins.items():
            self._register(name, plugin)
        self._content_bytes = math.inf
        self._running = {name: HookCalls(name, self._run_time_calls(name)) for name in self._plugins}
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
        return tuple(self._plugins)

    def hooks(self, name: str) -> tuple[str, ...]:
        """Give the names of the hooks that a plugin implements."""
        callers = self._manager.get_hookcallers(self._plugins[name]) or []
        return tuple(sorted(caller.name for caller in callers))

    # Before anything runs

    def settings(self) -> dict[str, Settings | None]:
        """Ask each plugin for the model of its table; None where it takes no settings."""
        models: dict[str, Settings | None] = {}
        for name in self._plugins:
            models[name] = None
            if "evanesce_settings" in self.hooks(name):
                model = self._ask(name, "evanesce_settings")
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
        return self._list(name, "evanesce_cli_commands", CliCommand)

    # Building the server

    def build(self, config: Config, folder: Path) -> Parts:
        """Ask every plugin for its parts. `folder` is what the plugins' relative paths start from.

        Raises `PluginError`, and `ConfigurationError` where too few or too many parts are enabled.
        """
        self._content_bytes = config.messages.content_bytes
        setups = {
            name: Setup(
                name=name,
                settings=config.plugins[name],
                folder=folder,
                public_url=config.server.public_url.rstrip("/"),
                origins=config.server.origins,
                frame_bytes=config.limits.frame_bytes,
                outbox_bytes=config.limits.outbox_bytes,
            )
            for name in self._plugins
        }
        repositories = self._having("evanesce_repository")
        if len(repositories) != 1:
            _refuse("evanesce_repository", "exactly one repository", repositories)
        if not self._having("evanesce_authenticator"):
            _refuse("evanesce_authenticator", "at least one way to sign in", [])
        if not self._having("evanesce_transport"):
            _refuse("evanesce_transport", "at least one transport", [])
        for name in self._having("evanesce_configure"):
            self._ask(name, "evanesce_configure", setup=setups[name])
        return Parts(
            repository=self._part(setups[repositories[0]], "evanesce_repository"),
            authenticators=self._authenticators(setups),
            transports={
                name: self._part(setups[name], "evanesce_transport") for name in self._having("evanesce_transport")
            },
            routes=self._routes(setups),
        )

    def _authenticators(self, setups: Mapping[str, Setup]) -> dict[str, Authenticator]:
        authenticators: dict[str, Authenticator] = {}
        for name in self._having("evanesce_authenticator"):
            authenticator = self._part(setups[name], "evanesce_authenticator")
            provider = authenticator.provider
            if not isinstance(provider, str) or not provider:
                raise PluginError(name, "its authenticator's provider is no name")
            if provider in authenticators:
                raise ConfigurationError(
                    "plugins.enabled",
                    f"the plugin {name!r} and another one both sign in with {provider!r}",
                    "Enable one of them",
                )
            authenticators[provider] = authenticator
        return authenticators

    def _routes(self, setups: Mapping[str, Setup]) -> list[HttpRoute]:
        routes: dict[tuple[str, str], HttpRoute] = {}
        for name in self._having("evanesce_http_routes"):
            for route in self._list(name, "evanesce_http_routes", HttpRoute, setup=setups[name]):
                key = (route.method.upper(), route.path)
                if key in routes:
                    raise PluginError(name, f"the route {' '.join(key)} is another plugin's already, or twice its own")
                routes[key] = route
        return list(routes.values())

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

    # Loading and asking

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

    def _caller(self, name: str, hook: str) -> pluggy.HookCaller:
        """Give what calls `hook` of one plugin alone."""
        others = [plugin for other, plugin in self._plugins.items() if other != name]
        return self._manager.subset_hook_caller(hook, others)

    def _run_time_calls(self, name: str) -> dict[str, Any]:
        return {hook: self._caller(name, hook) for hook in self.hooks(name) if conformance.is_async(hook)}

    def _having(self, hook: str) -> list[str]:
        return [name for name in self._plugins if hook in self.hooks(name)]

    def _ask(self, name: str, hook: str, **arguments: object) -> Any:
        """Call `hook` of one plugin; what it raises is told as the plugin's fault."""
        try:
            results = self._caller(name, hook)(**arguments)
        except EvanesceError:
            raise  # it says itself what to do
        except Exception as error:  # the border around foreign code
            raise PluginError(name, f"{hook} failed: {logs.folded(error)}") from error
        return results[0] if results else None

    def _list(self, name: str, hook: str, kind: type[T], **arguments: object) -> Sequence[T]:
        """Call a hook that gives several objects of one kind."""
        found = self._ask(name, hook, **arguments)
        if found is None:
            return ()
        if not isinstance(found, Sequence):
            raise PluginError(name, f"{hook} must give a sequence")
        objects = list(cast(Iterable[Any], found))
        if not all(isinstance(one, kind) for one in objects):
            raise PluginError(name, f"{hook} must give objects of {kind.__name__}")
        return objects

    def _part(self, setup: Setup, hook: str) -> Any:
        """Call a hook that gives an object, which must have all that its contract names."""
        part = self._ask(setup.name, hook, setup=setup)
        contract = _CONTRACTS[hook]
        wanted = [name for name in vars(contract) if not name.startswith("_") or name in ("__aenter__", "__aexit__")]
        try:
            missing = [name for name in wanted if not hasattr(part, name)]
        except Exception as error:  # the border around foreign code: its properties are looked at
            raise PluginError(setup.name, f"what {hook} gave is broken: {logs.folded(error)}") from error
        if missing:
            raise PluginError(setup.name, f"what {hook} gave is no {contract.__name__}: it has no {', '.join(missing)}")
        return part


def _refuse(hook: str, wanted: str, enabled: Sequence[str]) -> NoReturn:
    """Raise that too few or too many plugins with `hook` are enabled, naming those that could be."""
    candidates: list[str] = []
    for name in installed.names():
        try:
            plugins = Plugins.load([name])
        except PluginError:
            continue  # one that is not enabled may be broken
        if hook in plugins.hooks(name):
            candidates.append(name)
    raise ConfigurationError(
        "plugins.enabled",
        f"needs {wanted}" + (f", and has {', '.join(enabled)}" if enabled else ""),
        f"Installed are: {', '.join(candidates)}" if candidates else "None is installed: install one with pip",
    )
