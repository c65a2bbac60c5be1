"""The components of a server that the enabled plugins provide, each held to its contract and contained."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from evanesce.config.model import Config
from evanesce.config.public import public_address
from evanesce.errors import ConfigurationError, PluginError
from evanesce.interfaces import Authenticator, Finding, Handover, HttpRoute, Repository, Setup, SignInPage, Transport
from evanesce.plugins import discovery
from evanesce.plugins.calls import PluginCalls
from evanesce.plugins.containment import ContainedAuthenticator, contained_repository, contained_route
from evanesce.plugins.contracts import component_problem, page_problem, route_problem
from evanesce.plugins.database_calls import DatabaseCalls
from evanesce.plugins.discovery import PluginRegistry
from evanesce.plugins.faults import call_sync
from evanesce.webaddress import parse_web_address

DEFAULT_TIMEOUT = 5.0
"""How long an authenticator may take for a call, in seconds, if it has no `timeout`."""

LONGEST_TIMEOUT = 60.0
"""The longest `timeout` of an authenticator, in seconds."""

T = TypeVar("T")

_PROVIDER = re.compile(r"[A-Za-z0-9_.-]{1,64}")

_CONTRACTS: dict[str, type] = {
    "evanesce_authenticator": Authenticator,
    "evanesce_repository": Repository,
    "evanesce_transport": Transport,
}


@dataclass(frozen=True, slots=True)
class Components:
    """What the enabled plugins provide, in their order: authenticators by provider, transports by plugin.

    `database` is the name of the repository's database, see `Repository`; None where it has no name. `providers` are
    the names of the authenticators by plugin. `database_calls` measures the calls of the repository. `certificates` are
    when the certificates of the transports expire, in seconds since 1970, by plugin; infinite without one.
    """

    repository: Repository
    authenticators: Mapping[str, Authenticator]
    transports: Mapping[str, Transport]
    routes: Sequence[HttpRoute]
    sign_in_pages: Sequence[SignInPage] = ()
    database: str | None = None
    providers: Mapping[str, str] = field(default_factory=dict[str, str])
    database_calls: DatabaseCalls = field(default_factory=DatabaseCalls)
    certificates: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def binds(self) -> list[tuple[str, str]]:
        """The setting and the address of each bind of the transports."""
        return [(f"plugins.{name}.bind", bind) for name, each in self.transports.items() for bind in each.binds]


def build(
    plugins: PluginRegistry,
    calls: Mapping[str, PluginCalls],
    config: Config,
    folder: Path,
    handover: Handover | None = None,
    sockets: Mapping[str, int] | None = None,
) -> Components:
    """Return the components of every plugin, contained by its `calls`. Relative paths start from `folder`.

    `handover` and `sockets` are for the transports of a worker. Raises `PluginError`, and `ConfigurationError` where
    too few or too many plugins provide a component.
    """
    setups = {name: _setup(name, config, folder, handover, sockets) for name in plugins.names}
    owner = repository_plugin(plugins)
    if not plugins.implementing("evanesce_authenticator"):
        _refuse("evanesce_authenticator", "at least one way to sign in", [])
    if not plugins.implementing("evanesce_transport"):
        _refuse("evanesce_transport", "at least one transport", [])
    for name in plugins.implementing("evanesce_configure"):
        plugins.call(name, "evanesce_configure", setup=setups[name])
    authenticators = _authenticators(plugins, calls, setups)
    component: Repository = _component(plugins, setups[owner], "evanesce_repository")
    transports = {name: _transport(plugins, setups[name]) for name in plugins.implementing("evanesce_transport")}
    routes = _routes(plugins, calls, setups, _reserved(transports))
    _check_public_path(public_address(config).path, [*_reserved(transports), *(route.path for route in routes)])
    database_calls = DatabaseCalls()
    return Components(
        repository=contained_repository(component, calls[owner], database_calls),
        authenticators={provider: authenticator for provider, (_, authenticator) in authenticators.items()},
        transports=transports,
        routes=routes,
        sign_in_pages=_sign_in_pages(plugins, setups, authenticators),
        database=_database(owner, component),
        providers={plugin: provider for provider, (plugin, _) in authenticators.items()},
        database_calls=database_calls,
        certificates={name: _certificate_expiry(name, transport) for name, transport in transports.items()},
    )


def findings(
    plugins: PluginRegistry, config: Config, folder: Path, exposed: Sequence[str]
) -> list[tuple[str, Finding]]:
    """Return every plugin's findings about its settings, each with the plugin's name. Raises `PluginError`."""
    return [
        (name, finding)
        for name in plugins.implementing("evanesce_findings")
        for finding in plugins.call_for_sequence(
            name, "evanesce_findings", Finding, setup=_setup(name, config, folder), exposed=exposed
        )
    ]


def repository_plugin(plugins: PluginRegistry) -> str:
    """Return the name of the plugin that provides the repository. Raises `ConfigurationError` unless it is one."""
    repositories = plugins.implementing("evanesce_repository")
    if len(repositories) != 1:
        _refuse("evanesce_repository", "exactly one repository", repositories)
    return repositories[0]


def repository(plugins: PluginRegistry, name: str, config: Config, folder: Path) -> Repository:
    """Return the repository of one plugin, and build no other component. Raises as `build` does."""
    if name not in plugins.implementing("evanesce_repository"):
        raise PluginError(name, "it has no repository")
    component: Repository = _component(plugins, _setup(name, config, folder), "evanesce_repository")
    return component


def _database(plugin: str, component: Repository) -> str | None:
    """Return the name that a repository gives its database; None where it gives none."""
    found = _read(plugin, "evanesce_repository", lambda: cast(object, getattr(component, "database", None)))
    if found is not None and not isinstance(found, str):
        raise PluginError(plugin, "its repository's database is no str: use a name, or leave the attribute out")
    return found


def _setup(
    name: str,
    config: Config,
    folder: Path,
    handover: Handover | None = None,
    sockets: Mapping[str, int] | None = None,
) -> Setup:
    return Setup(
        name=name,
        settings=config.plugins[name],
        folder=folder,
        public_url=public_address(config).text,
        origins=[parse_web_address(origin, "server.origins").origin for origin in config.server.origins],
        frame_bytes=config.limits.frame_bytes,
        outbox_bytes=config.limits.outbox_bytes,
        shared_port=config.server.workers > 1,
        handover=handover,
        sockets=sockets or {},
    )


def _authenticators(
    plugins: PluginRegistry, calls: Mapping[str, PluginCalls], setups: Mapping[str, Setup]
) -> dict[str, tuple[str, Authenticator]]:
    """Return the authenticators by provider, each with the name of its plugin."""
    authenticators: dict[str, tuple[str, Authenticator]] = {}
    for name in plugins.implementing("evanesce_authenticator"):
        component: Authenticator = _component(plugins, setups[name], "evanesce_authenticator")
        authenticator = _read(name, "evanesce_authenticator", partial(_contained, name, component, calls[name]))
        if authenticator.provider in authenticators:
            raise ConfigurationError(
                "plugins.enabled",
                f"the plugin {name!r} and another one both sign in with {authenticator.provider!r}",
                "Enable one of them",
            )
        authenticators[authenticator.provider] = (name, authenticator)
    return authenticators


def _contained(name: str, component: Authenticator, calls: PluginCalls) -> Authenticator:
    """Return an authenticator whose calls are contained. Its properties are read and checked once."""
    provider = cast(object, component.provider)
    timeout = cast(object, getattr(component, "timeout", DEFAULT_TIMEOUT))
    if not isinstance(provider, str) or not _PROVIDER.fullmatch(provider):
        raise PluginError(name, "its authenticator's provider is no name: write 1 to 64 letters, digits, _, - or .")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= LONGEST_TIMEOUT:
        raise PluginError(name, f"its authenticator's timeout is not above 0 and at most {LONGEST_TIMEOUT:g} (seconds)")
    if not isinstance(cast(object, component.loopback_only), bool):
        raise PluginError(name, "its authenticator's loopback_only is neither True nor False")
    return ContainedAuthenticator(component, calls, float(timeout))


def _transport(plugins: PluginRegistry, setup: Setup) -> Transport:
    component: Transport = _component(plugins, setup, "evanesce_transport")
    for attribute in ("binds", "reserved_paths"):
        if not _read(setup.name, "evanesce_transport", partial(_is_sequence_of_str, component, attribute)):
            raise PluginError(setup.name, f"its transport's {attribute} is no sequence of str")
    return component


def _certificate_expiry(plugin: str, transport: Transport) -> float:
    """Return when the certificate of a transport expires; infinite where it does not say it as a number."""
    found: object = _read(plugin, "evanesce_transport", lambda: getattr(transport, "certificate_expires", None))
    return float(found) if isinstance(found, int | float) else math.inf


def _is_sequence_of_str(component: object, attribute: str) -> bool:
    """Return whether an attribute, if there is one, is a sequence of str."""
    found: object = getattr(component, attribute, ())
    if isinstance(found, str) or not isinstance(found, Sequence):
        return False
    return all(isinstance(one, str) for one in cast("Sequence[object]", found))


def _reserved(transports: Mapping[str, Transport]) -> list[str]:
    """Return the paths that transports serve themselves; a transport without the attribute reserves none."""
    return [path for transport in transports.values() for path in getattr(transport, "reserved_paths", ())]


def _routes(
    plugins: PluginRegistry, calls: Mapping[str, PluginCalls], setups: Mapping[str, Setup], reserved: Sequence[str]
) -> list[HttpRoute]:
    routes: dict[tuple[str, str], HttpRoute] = {}
    for name in plugins.implementing("evanesce_http_routes"):
        for route in plugins.call_for_sequence(name, "evanesce_http_routes", HttpRoute, setup=setups[name]):
            problem = _read(name, "evanesce_http_routes", partial(route_problem, route, reserved))
            if problem is not None:
                raise PluginError(name, problem)
            key = (route.method.upper(), route.path)
            if key in routes:
                raise PluginError(name, f"the route {' '.join(key)} is another plugin's already, or twice its own")
            routes[key] = contained_route(route, calls[name])
    return list(routes.values())


def _check_public_path(path: str, served: Sequence[str]) -> None:
    """Refuse a public address whose path is a prefix of the server's own paths.

    A proxy may remove it from a request. The rest could then not be told from a path that still has the prefix.
    """
    for own in served:
        whole = own.removesuffix("*")
        if path and (f"{whole.rstrip('/')}/".startswith(f"{path}/") or (whole != own and f"{path}/".startswith(whole))):
            problem = f"has a path that is the server's own ({own})"
            raise ConfigurationError("server.public_url", problem, "Choose another path, such as /chat")


def _sign_in_pages(
    plugins: PluginRegistry, setups: Mapping[str, Setup], providers: Collection[str]
) -> list[SignInPage]:
    pages: dict[str, SignInPage] = {}
    for name in plugins.implementing("evanesce_sign_in_page"):
        page = plugins.call(name, "evanesce_sign_in_page", setup=setups[name])
        problem = _read(name, "evanesce_sign_in_page", partial(page_problem, page, providers, pages))
        if problem is not None:
            raise PluginError(name, f"evanesce_sign_in_page {problem}")
        pages[page.provider] = page
    return list(pages.values())


def _component(plugins: PluginRegistry, setup: Setup, hook: str) -> Any:
    """Call a hook that returns a component, and check that it has all members of its contract."""
    component = plugins.call(setup.name, hook, setup=setup)
    problem = _read(setup.name, hook, partial(component_problem, component, _CONTRACTS[hook]))
    if problem is not None:
        raise PluginError(setup.name, f"the result of {hook} {problem}")
    return component


def _read(plugin: str, hook: str, function: Callable[[], T]) -> T:
    """Call `function`, which reads attributes of what `hook` returned. Raises `PluginError` for whatever they raise."""
    return call_sync(plugin, f"the result of {hook} cannot be read", function)


def _refuse(hook: str, wanted: str, enabled: Sequence[str]) -> NoReturn:
    """Raise that too few or too many plugins with `hook` are enabled, and name those that could be."""
    candidates: list[str] = []
    for name in discovery.names():
        try:
            plugins = PluginRegistry({name: discovery.load(name)})
        except PluginError:
            continue  # a plugin that is not enabled may be broken
        candidates += plugins.implementing(hook)
    raise ConfigurationError(
        "plugins.enabled",
        f"needs {wanted}" + (f", and has {', '.join(enabled)}" if enabled else ""),
        f"Installed are: {', '.join(candidates)}" if candidates else "None is installed: install one with pip",
    )
