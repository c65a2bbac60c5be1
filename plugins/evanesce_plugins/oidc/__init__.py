"""The plugin `oidc`: sign-in with any issuer of OpenID Connect.

General layout: `settings`; `issuer`, the HTTP client, with `cached`; `keys`, the public keys of the issuer; `id_token`,
which tokens are accepted; `authenticator`, which combines these; `page` and
`static/`, for the web page.
"""

from __future__ import annotations

from collections.abc import Sequence

from evanesce.errors import PluginError
from evanesce.hookspecs import API, hookimpl
from evanesce.interfaces import Authenticator, HttpRoute, Settings, Setup, SignInPage
from evanesce_plugins.oidc.page import routes, sign_in_page
from evanesce_plugins.oidc.settings import OidcSettings, check

evanesce_api = API


@hookimpl
def evanesce_settings() -> Settings:
    """Return the model of `[plugins.oidc]`."""
    return OidcSettings


@hookimpl
def evanesce_authenticator(setup: Setup) -> Authenticator:
    """Return the authenticator for the issuer."""
    check(setup.settings, f"plugins.{setup.name}")
    try:
        from evanesce_plugins.oidc.authenticator import OidcAuthenticator
    except ModuleNotFoundError as error:
        raise PluginError(setup.name, f"{error.name} is not installed: pip install 'evanesce[oidc]'") from None
    return OidcAuthenticator(setup.settings, setup.public_url)


@hookimpl
def evanesce_http_routes(setup: Setup) -> Sequence[HttpRoute]:
    """Return the routes of the web page."""
    return routes(setup.settings)


@hookimpl
def evanesce_sign_in_page() -> SignInPage:
    """Return the sign-in page for the issuer."""
    return sign_in_page()
