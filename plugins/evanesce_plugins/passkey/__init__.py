"""The plugin `passkey`: sign-in with WebAuthn, by a key in a person's device or security key.

General layout: `settings`, with the relying party; `ceremonies`, which verifies responses of authenticators;
`keyring`, the devices and recovery codes of an account and how they change; `codes`, account codes and recovery codes;
`stored`, which reads and replaces the keyring of an account; `authenticator`, which combines these; `devices`, the
routes by which people manage their devices; `page` and `static/`, for the web page.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from evanesce.errors import AuthUnavailable, PluginError
from evanesce.hookspecs import API, hookimpl
from evanesce.interfaces import Authenticator, HttpRoute, Server, Settings, Setup, SignInPage
from evanesce_plugins.passkey.page import routes, sign_in_page
from evanesce_plugins.passkey.settings import PasskeySettings, relying_party


@contextmanager
def _extra(setup: Setup) -> Generator[None]:
    """Raise `PluginError` for a missing import: every command imports this module, with and without the extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise PluginError(setup.name, f"{error.name} is not installed: pip install 'evanesce[passkey]'") from None


class PasskeyPlugin:
    """The plugin. The running server counts its attempts for all workers, and says who sends a request to a route."""

    evanesce_api = API

    def __init__(self) -> None:
        self._server: Server | None = None

    def server(self) -> Server:
        """Return the running server. Raises `AuthUnavailable` before it runs: no client can connect then."""
        if self._server is None:
            raise AuthUnavailable
        return self._server

    @hookimpl
    def evanesce_settings(self) -> Settings:
        """Return the model of `[plugins.passkey]`."""
        return PasskeySettings

    @hookimpl
    async def evanesce_run(self, server: Server) -> None:
        """Keep the server."""
        self._server = server

    @hookimpl
    def evanesce_authenticator(self, setup: Setup) -> Authenticator:
        """Return the authenticator for the address of this server."""
        party = relying_party(setup.settings, setup.public_url)
        with _extra(setup):
            from evanesce_plugins.passkey.authenticator import PasskeyAuthenticator
        return PasskeyAuthenticator(party, lambda: self.server().shared)

    @hookimpl
    def evanesce_http_routes(self, setup: Setup) -> Sequence[HttpRoute]:
        """Return the routes of the web page, and those by which people manage their devices."""
        with _extra(setup):
            from evanesce_plugins.passkey.devices import DeviceRoutes
        party = relying_party(setup.settings, setup.public_url)
        return [*routes(party), *DeviceRoutes(self.server).routes()]

    @hookimpl
    def evanesce_sign_in_page(self) -> SignInPage:
        """Return the sign-in page for passkeys."""
        return sign_in_page()


plugin = PasskeyPlugin()
