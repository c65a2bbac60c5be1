"""The plugin `guest`: sign-in for trying things out. It proves nothing, and every sign-in is a new account."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import msgspec

from evanesce.files import file_route
from evanesce.hookspecs import hookimpl
from evanesce.interfaces import Answered, Authenticator, Caller, Challenge, HttpRoute, Settings, Setup, SignInPage
from evanesce.model import Identity
from evanesce.protocol.fields import display_name

PROVIDER = "guest"

MODULE = "/guest/guest.js"
"""Where the web page finds how a guest signs in."""


class GuestSettings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """`[plugins.guest]`: `allow_public` lets guests in on addresses other than this machine's own."""

    allow_public: bool = False


class GuestCredential(msgspec.Struct, kw_only=True, frozen=True, rename="camel"):
    """What a guest says: a name, and nothing that proves it."""

    display_name: str


class GuestAuthenticator:
    """Takes everybody under the name that they give."""

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
        """Ask nothing."""
        return Challenge({})

    async def authenticate(self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None) -> Identity:
        """Make somebody new. Raises `BadRequest` and `msgspec.ValidationError` for a name that is none."""
        given = msgspec.convert(credential, GuestCredential)
        name = display_name(given.display_name, "credential.displayName")
        return Identity(subject=str(uuid.uuid4()), display_name=name, guest=True)

    async def check(self) -> str:
        """See `Authenticator.check`."""
        return "anybody, from any address" if self._allow_public else "anybody, from this machine"


@hookimpl
def evanesce_settings() -> Settings:
    """Give the model of `[plugins.guest]`."""
    return GuestSettings


@hookimpl
def evanesce_authenticator(setup: Setup) -> Authenticator:
    """Give the sign-in for guests."""
    return GuestAuthenticator(allow_public=setup.settings.allow_public)


@hookimpl
def evanesce_http_routes() -> Sequence[HttpRoute]:
    """Serve the page's module."""
    return [file_route(MODULE, resources.files("evanesce_plugins.guest") / "static" / "guest.js")]


@hookimpl
def evanesce_sign_in_page() -> SignInPage:
    """Let guests in on the web page."""
    return SignInPage(PROVIDER, MODULE)
