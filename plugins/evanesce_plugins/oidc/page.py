"""The HTTP routes of the web page's sign-in: modules, configuration, and the page to which the issuer returns."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib import resources

import msgspec

from evanesce.files import file_routes
from evanesce.interfaces import HttpRequest, HttpResponse, HttpRoute, SignInPage
from evanesce_plugins.oidc.settings import OidcSettings

PROVIDER = "oidc"

FOLDER = "/oidc"
"""The prefix of all paths here. The modules are in a folder below it, and refer to each other by relative paths."""

CALLBACK = f"{FOLDER}/callback"
"""The path to which the issuer sends a browser back."""

_STATIC = resources.files("evanesce_plugins.oidc") / "static"

MODULES = ("oidc.js", "callback.js", "pending.js", "texts.js")


def sign_in_page() -> SignInPage:
    """Return the sign-in page. It leaves this origin by navigation alone, so that it needs no more sources."""
    return SignInPage(PROVIDER, _modules()["oidc.js"].path)


@functools.cache
def _modules() -> Mapping[str, HttpRoute]:
    return file_routes(FOLDER, [_STATIC / name for name in MODULES])


def routes(settings: OidcSettings) -> Sequence[HttpRoute]:
    """Return the routes that the page uses, and read their files."""
    modules = _modules()
    configuration = HttpResponse(
        msgspec.json.encode({"issuer": settings.issuer}), headers={"Cache-Control": "no-cache"}
    )
    # Without a Cache-Control of its own: the address of this page contains a code, and is not to be stored.
    module = modules["callback.js"].path.removeprefix(f"{FOLDER}/").encode()  # relative to the path of this page
    page = (_STATIC / "callback.html").read_bytes().replace(b'src="callback.js"', b'src="%s"' % module)
    callback = HttpResponse(page, content_type="text/html; charset=utf-8")

    async def configure(request: HttpRequest) -> HttpResponse:
        return configuration

    async def come_back(request: HttpRequest) -> HttpResponse:
        return callback

    return [
        *modules.values(),
        HttpRoute("GET", f"{FOLDER}/page.json", configure),
        HttpRoute("GET", CALLBACK, come_back),
    ]
