"""A third party's way to sign in, which believes everybody; its module for the page uses all that a module may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evanesce.files import file_route
from evanesce.hookspecs import hookimpl
from evanesce.interfaces import Answered, Authenticator, Caller, Challenge, HttpRoute, Setup, SignInPage
from evanesce.model import Identity


class Believer:
    provider = "scripted"
    loopback_only = True

    async def __aenter__(self) -> object:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def challenge(self, request: Mapping[str, Any], caller: Caller) -> Challenge:
        return Challenge({})

    async def authenticate(self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None) -> Identity:
        return Identity(subject=f"name {credential['name']}", display_name=credential["name"])

    async def check(self) -> str:
        return "believes everybody"


@hookimpl
def evanesce_authenticator(setup: Setup) -> Authenticator:
    return Believer()


@hookimpl
def evanesce_http_routes() -> Sequence[HttpRoute]:
    return [file_route("/scripted/scripted.js", Path(__file__).with_name("scripted.js"))]


@hookimpl
def evanesce_sign_in_page() -> SignInPage:
    return SignInPage("scripted", "/scripted/scripted.js", {"connect-src": ["http://127.0.0.1:9"]})
