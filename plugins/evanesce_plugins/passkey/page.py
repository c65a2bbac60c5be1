"""The HTTP routes of the web page's sign-in: its modules and its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import msgspec

from evanesce.files import file_route
from evanesce.interfaces import HttpRequest, HttpResponse, HttpRoute, SignInPage
from evanesce_plugins.passkey.settings import RelyingParty

PROVIDER = "passkey"

FOLDER = "/passkey"
"""The prefix of all paths here. The modules refer to each other by relative paths."""


def sign_in_page() -> SignInPage:
    """Return the sign-in page. What it needs is a part of browsers."""
    return SignInPage(PROVIDER, f"{FOLDER}/passkey.js")


def routes(party: RelyingParty) -> Sequence[HttpRoute]:
    """Return the routes that the page uses, and read their files."""
    static = resources.files("evanesce_plugins.passkey") / "static"
    modules = [file_route(f"{FOLDER}/{file.name}", file) for file in static.iterdir()]
    answer = HttpResponse(msgspec.json.encode({"origin": party.origin}), headers={"Cache-Control": "no-cache"})

    async def configure(request: HttpRequest) -> HttpResponse:
        return answer

    return [*modules, HttpRoute("GET", f"{FOLDER}/page.json", configure)]
