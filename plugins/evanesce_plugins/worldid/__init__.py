"""The plugin `worldid`: sign-in with World ID, one human, one account.

General layout: `settings`, with the findings about them; `encoding` and `rp_signature`, the numbers and the signature
of World ID; `account_code`, the secret name of an account; `challenges`; `proof`, which checks a result of IDKit
against its challenge; `portal`, which has World verify it; `authenticator`, which combines these; `health`, the state
of the provider; `page`, `qr` and `static/`, for the web page. `simulator/` replaces World in a staging environment.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from evanesce.errors import ConfigurationError, PluginError
from evanesce.hookspecs import API, hookimpl
from evanesce.interfaces import Authenticator, CliCommand, Finding, HttpRoute, Settings, Setup, SignInPage
from evanesce_plugins.worldid.settings import WorldIdSettings, check, findings
from evanesce_plugins.worldid.simulator.command import command

evanesce_api = API


@contextmanager
def _extra(setup: Setup) -> Generator[None]:
    """Raise `PluginError` for a missing import: every command imports this module, with and without the extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise PluginError(setup.name, f"{error.name} is not installed: pip install 'evanesce[worldid]'") from None


@hookimpl
def evanesce_settings() -> Settings:
    """Return the model of `[plugins.worldid]`."""
    return WorldIdSettings


@hookimpl
def evanesce_cli_commands() -> Sequence[CliCommand]:
    """Return the command of the simulator."""
    return [command()]


@hookimpl
def evanesce_authenticator(setup: Setup) -> Authenticator:
    """Return the authenticator for World ID."""
    check(setup.settings, f"plugins.{setup.name}")
    with _extra(setup):
        from evanesce_plugins.worldid.authenticator import WorldIdAuthenticator
    try:
        return WorldIdAuthenticator(setup.settings)
    except ValueError as error:
        hint = "Use the private key whose address is the signer in World's developer portal"
        raise ConfigurationError(f"plugins.{setup.name}.signing_key", str(error), hint) from None


@hookimpl
def evanesce_findings(setup: Setup, exposed: Sequence[str]) -> Sequence[Finding]:
    """Return findings about settings with which sign-ins prove nothing, if other machines can reach the server."""
    return findings(setup.settings, f"plugins.{setup.name}", exposed)


@hookimpl
def evanesce_http_routes(setup: Setup) -> Sequence[HttpRoute]:
    """Return the routes of the web page."""
    with _extra(setup):
        from evanesce_plugins.worldid.page import routes
    return routes(setup.settings, setup)


@hookimpl
def evanesce_sign_in_page(setup: Setup) -> SignInPage:
    """Return the sign-in page for World ID."""
    with _extra(setup):
        from evanesce_plugins.worldid.page import sign_in_page
    return sign_in_page(setup.settings)
