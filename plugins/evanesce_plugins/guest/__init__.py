"""The plugin `guest`: sign-in by a name alone, for trials. It proves nothing, and every sign-in is a new account."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import msgspec

from evanesce.confidential import Confidential
from evanesce.files import file_routes
from evanesce.hookspecs import API, hookimpl
from evanesce.interfaces import Answered, Authenticator, Caller, Challenge, HttpRoute, Settings, Setup, SignInPage
from evanesce.model import Identity
from evanesce.protocol.fields import display_name

evanesce_api = API

PROVIDER = "guest"

FOLDER = "/guest"
"""The prefix of the path of the page's module."""

MODULE = "guest.js"
"""The path of the JavaScript module by which the web page signs in a guest."""


class GuestSettings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """`[plugins.guest]`: who may sign in as a guest."""

    allow_public: bool = False
    """Whether guests, who prove nothing, may sign in from other machines.

    Each request is checked: one that came through a proxy counts as remote, unless a proxy in `trusted_proxies` names a
    client on this machine.
    """


class GuestCredential(Confidential, msgspec.Struct, kw_only=True, frozen=True, rename="camel"):
    """The credential of a guest: a name, without a proof."""

    display_name: str


class GuestAuthenticator:
    """Accepts every client under the name that it sends."""

    def __init__(self, *, allow_public: bool) -> None:
        self._allow_public = allow_public

    @property
    def provider(self) -> str:
        """See `Authenticator.provider`."""
        return PROVIDER

    @property
    def loopback_only(self) -> bool:
        """See `Authenticator.loopback_only`."""
        return not self._allow_public

    async def __aenter__(self) -> GuestAuthenticator:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def challenge(self, request: Mapping[str, Any], caller: Caller) -> Challenge:
        """Return an empty challenge."""
        return Challenge({})

    async def authenticate(self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None) -> Identity:
        """Return a new identity. Raises `BadRequest` and `msgspec.ValidationError` for an invalid name."""
        given = msgspec.convert(credential, GuestCredential)
        name = display_name(given.display_name, "credential.displayName")
        return Identity(subject=str(uuid.uuid4()), display_name=name, guest=True)

    async def check(self) -> str:
        """See `Authenticator.check`."""
        return "any name, from any address" if self._allow_public else "any name, from this machine"


@hookimpl
def evanesce_settings() -> Settings:
    """Return the model of `[plugins.guest]`."""
    return GuestSettings


@hookimpl
def evanesce_authenticator(setup: Setup) -> Authenticator:
    """Return the authenticator for guests."""
    return GuestAuthenticator(allow_public=setup.settings.allow_public)


@hookimpl
def evanesce_http_routes() -> Sequence[HttpRoute]:
    """Return the route of the web page's module."""
    return [_module_route()]


@hookimpl
def evanesce_sign_in_page() -> SignInPage:
    """Return the sign-in page for guests."""
    return SignInPage(PROVIDER, _module_route().path)


@functools.cache
def _module_route() -> HttpRoute:
    return file_routes(FOLDER, [resources.files("evanesce_plugins.guest") / "static" / MODULE])[MODULE]
