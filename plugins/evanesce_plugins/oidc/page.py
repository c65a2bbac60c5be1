"""The HTTP routes of the web page's sign-in: modules, configuration, and the page to which the issuer returns."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import msgspec

from evanesce.files import file_route
from evanesce.interfaces import HttpRequest, HttpResponse, HttpRoute, SignInPage
from evanesce_plugins.oidc.settings import OidcSettings

PROVIDER = "oidc"

FOLDER = "/oidc"
"""The prefix of all paths here. The modules refer to each other by relative paths."""

CALLBACK = f"{FOLDER}/callback"
"""The path to which the issuer sends a browser back."""

MODULES = ("oidc.js", "callback.js", "pending.js")


def sign_in_page() -> SignInPage:
    """Return the sign-in page. It leaves this origin by navigation alone, so that it needs no more sources."""
    return SignInPage(PROVIDER, f"{FOLDER}/oidc.js")


def routes(settings: OidcSettings) -> Sequence[HttpRoute]:
    """Return the routes that the page uses, and read their files."""
    static = resources.files("evanesce_plugins.oidc") / "static"
    configuration = HttpResponse(
        msgspec.json.encode({"issuer": settings.issuer}), headers={"Cache-Control": "no-cache"}
    )
    # Without a Cache-Control of its own: the address of this page contains a code, and is not to be stored.
    callback = HttpResponse((static / "callback.html").read_bytes(), content_type="text/html; charset=utf-8")

    async def configure(request: HttpRequest) -> HttpResponse:
        return configuration

    async def come_back(request: HttpRequest) -> HttpResponse:
        return callback

    return [
        *(file_route(f"{FOLDER}/{name}", static / name) for name in MODULES),
        HttpRoute("GET", f"{FOLDER}/page.json", configure),
        HttpRoute("GET", CALLBACK, come_back),
    ]
