"""What a server is built of: the parts that the enabled plugins give, each held to its contract."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from evanesce import logs
from evanesce.config.model import Config
from evanesce.errors import ConfigurationError, PluginError
from evanesce.interfaces import Authenticator, HttpRoute, Repository, Setup, SignInPage, Transport
from evanesce.plugins import installed, sign_in_pages
from evanesce.plugins.enabled import EnabledPlugins

_CONTRACTS: dict[str, type] = {
    "evanesce_authenticator": Authenticator,
    "evanesce_repository": Repository,
    "evanesce_transport": Transport,
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What the enabled plugins gave, in their order: authenticators by provider, transports by plugin, all the rest."""

    repository: Repository
    authenticators: Mapping[str, Authenticator]
    transports: Mapping[str, Transport]
    routes: Sequence[HttpRoute]
    sign_in_pages: Sequence[SignInPage] = ()


def build(plugins: EnabledPlugins, config: Config, folder: Path) -> Parts:
    """Ask every plugin for its parts. `folder` is what the plugins' relative paths start from.

    Raises `PluginError`, and `ConfigurationError` where too few or too many parts are enabled.
    """
    setups = {name: _setup(name, config, folder) for name in plugins.names}
    keeper = repository_plugin(plugins)
    if not plugins.having("evanesce_authenticator"):
        _refuse("evanesce_authenticator", "at least one way to sign in", [])
    if not plugins.having("evanesce_transport"):
        _refuse("evanesce_transport", "at least one transport", [])
    for name in plugins.having("evanesce_configure"):
        plugins.ask(name, "evanesce_configure", setup=setups[name])
    authenticators = _authenticators(plugins, setups)
    return Parts(
        repository=_part(plugins, setups[keeper], "evanesce_repository"),
        authenticators=authenticators,
        transports={
            name: _part(plugins, setups[name], "evanesce_transport") for name in plugins.having("evanesce_transport")
        },
        routes=_routes(plugins, setups),
        sign_in_pages=_sign_in_pages(plugins, setups, authenticators),
    )


def repository_plugin(plugins: EnabledPlugins) -> str:
    """Name the plugin that has the repository. Raises `ConfigurationError` where it is not exactly one."""
    repositories = plugins.having("evanesce_repository")
    if len(repositories) != 1:
        _refuse("evanesce_repository", "exactly one repository", repositories)
    return repositories[0]


def repository(plugins: EnabledPlugins, name: str, config: Config, folder: Path) -> Repository:
    """Ask one plugin for its repository, and nobody for anything else. Raises as `build` does."""
    if name not in plugins.having("evanesce_repository"):
        raise PluginError(name, "it has no repository")
    made: Repository = _part(plugins, _setup(name, config, folder), "evanesce_repository")
    return made


def _setup(name: str, config: Config, folder: Path) -> Setup:
    return Setup(
        name=name,
        settings=config.plugins[name],
        folder=folder,
        public_url=config.server.public_url.rstrip("/"),
        origins=config.server.origins,
        frame_bytes=config.limits.frame_bytes,
        outbox_bytes=config.limits.outbox_bytes,
        shared_port=config.server.workers > 1,
    )


def _authenticators(plugins: EnabledPlugins, setups: Mapping[str, Setup]) -> dict[str, Authenticator]:
    authenticators: dict[str, Authenticator] = {}
    for name in plugins.having("evanesce_authenticator"):
        authenticator = _part(plugins, setups[name], "evanesce_authenticator")
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


def _routes(plugins: EnabledPlugins, setups: Mapping[str, Setup]) -> list[HttpRoute]:
    routes: dict[tuple[str, str], HttpRoute] = {}
    for name in plugins.having("evanesce_http_routes"):
        for route in plugins.ask_for_several(name, "evanesce_http_routes", HttpRoute, setup=setups[name]):
            key = (route.method.upper(), route.path)
            if key in routes:
                raise PluginError(name, f"the route {' '.join(key)} is another plugin's already, or twice its own")
            routes[key] = route
    return list(routes.values())


def _sign_in_pages(
    plugins: EnabledPlugins, setups: Mapping[str, Setup], providers: Collection[str]
) -> list[SignInPage]:
    pages: dict[str, SignInPage] = {}
    for name in plugins.having("evanesce_sign_in_page"):
        page = plugins.ask(name, "evanesce_sign_in_page", setup=setups[name])
        problem = sign_in_pages.problem(page, providers, pages)
        if problem is not None:
            raise PluginError(name, f"evanesce_sign_in_page {problem}")
        pages[page.provider] = page
    return list(pages.values())


def _part(plugins: EnabledPlugins, setup: Setup, hook: str) -> Any:
    """Call a hook that gives an object, which must have all that its contract names."""
    part = plugins.ask(setup.name, hook, setup=setup)
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
            plugins = EnabledPlugins({name: installed.load(name)})
        except PluginError:
            continue  # one that is not enabled may be broken
        candidates += plugins.having(hook)
    raise ConfigurationError(
        "plugins.enabled",
        f"needs {wanted}" + (f", and has {', '.join(enabled)}" if enabled else ""),
        f"Installed are: {', '.join(candidates)}" if candidates else "None is installed: install one with pip",
    )
