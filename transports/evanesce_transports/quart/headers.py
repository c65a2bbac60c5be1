"""What every response says beside its own: to any browser, and to a page of another origin."""

from __future__ import annotations

from collections.abc import Iterable

from werkzeug.datastructures import Headers

from evanesce.interfaces import Gateway, SignInPage
from evanesce_transports.quart.api import PREFIX

_DIRECTIVES = {
    "default-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}


def policy(pages: Iterable[SignInPage] = ()) -> str:
    """Give the Content-Security-Policy, with what `pages` must load beside what is this origin's."""
    directives = {name: [value] for name, value in _DIRECTIVES.items()}
    for page in pages:
        for name, sources in page.sources.items():
            allowed = directives.setdefault(name, ["'self'"])
            allowed += [source for source in sources if source not in allowed]
    return "; ".join(" ".join((name, *allowed)) for name, allowed in directives.items())


_HEADERS = {
    "Content-Security-Policy": policy(),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""What every response says where it does not say otherwise."""


def complete(headers: Headers, path: str, origin: str | None, gateway: Gateway) -> None:
    """Add what all responses have in common, and below `/api/v1/` what lets a page of `origin` read this one."""
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    if path.startswith(f"{PREFIX}/"):
        headers.add("Vary", "Origin")
        if origin is not None and gateway.admits_origin(origin):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = "Retry-After"
