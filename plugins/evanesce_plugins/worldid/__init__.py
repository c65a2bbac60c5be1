"""The plugin `worldid`: sign-in with World ID, one human, one account.

General layout: `settings`; `encoding` and `rp_signature`, the numbers and the signature of World ID; `proof`, what
IDKit returned, held against its challenge; `portal`, which verifies it, and `words`, its answers for people;
`authenticator`, all of it put together; `health`, how it is; `page`, `qr` and `static/`, the web page's part.
`simulator/` stands in for World, for deployers' staging.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from evanesce.errors import ConfigurationError, PluginError
from evanesce.hookspecs import hookimpl
from evanesce.interfaces import Authenticator, CliCommand, HttpRoute, Settings, Setup, SignInPage
from evanesce_plugins.worldid.settings import WorldIdSettings, check
from evanesce_plugins.worldid.simulator.command import command


@contextmanager
def _extra(setup: Setup) -> Generator[None]:
    """Around an import: this module is imported by every command, and where the extra is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise PluginError(setup.name, f"{error.name} is not installed: pip install 'evanesce[worldid]'") from None


@hookimpl
def evanesce_settings() -> Settings:
    """Give the model of `[plugins.worldid]`."""
    return WorldIdSettings


@hookimpl
def evanesce_cli_commands() -> Sequence[CliCommand]:
    """Add the simulator."""
    return [command()]


@hookimpl
def evanesce_authenticator(setup: Setup) -> Authenticator:
    """Give the sign-in with World ID."""
    check(setup.settings, f"plugins.{setup.name}")
    with _extra(setup):
        from evanesce_plugins.worldid.authenticator import WorldIdAuthenticator
    try:
        return WorldIdAuthenticator(setup.settings)
    except ValueError as error:
        hint = "Take the private key whose address is the signer in World's developer portal"
        raise ConfigurationError(f"plugins.{setup.name}.signing_key", str(error), hint) from None


@hookimpl
def evanesce_http_routes(setup: Setup) -> Sequence[HttpRoute]:
    """Serve what the web page needs."""
    with _extra(setup):
        from evanesce_plugins.worldid.page import routes
    return routes(setup.settings, setup)


@hookimpl
def evanesce_sign_in_page(setup: Setup) -> SignInPage:
    """Let people sign in on the web page."""
    with _extra(setup):
        from evanesce_plugins.worldid.page import sign_in_page
    return sign_in_page(setup.settings)
