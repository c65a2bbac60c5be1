"""What the responses of this transport have in common: their headers, and errors in the form that a request prefers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import msgspec
from quart import Response
from werkzeug.datastructures import Headers

from evanesce.errors import CommandError
from evanesce.interfaces import Gateway, HttpResponse, SignInPage
from evanesce_transports.request import PublicPath, Refused
from evanesce_transports.response import encode_refusal, encode_response, error_body, parse_partial

API_PREFIX = "/api/v1"
"""The beginning of the paths of the API."""

FAULT = "Something went wrong here. Try again in a moment."
"""The message of the error for a request that failed."""

_DIRECTIVES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "manifest-src": "'self'",
    "worker-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "evanesce",
}
"""What a page may load: nothing that is not named here. `evanesce` is the policy for the page's service worker."""

_DENIED = (
    *("accelerometer", "browsing-topics", "camera", "display-capture", "encrypted-media"),
    *("fullscreen", "geolocation", "gyroscope", "hid", "idle-detection", "local-fonts", "magnetometer", "microphone"),
    *("midi", "payment", "serial", "storage-access", "usb", "window-management", "xr-spatial-tracking"),
)
"""The features of a browser that a page and its sign-ins do not use."""


def policy(pages: Iterable[SignInPage] = ()) -> str:
    """Return the Content-Security-Policy, which names what the page needs, and the sources that `pages` need."""
    directives = {name: [value] for name, value in _DIRECTIVES.items()}
    for page in pages:
        for name, sources in page.sources.items():
            allowed = directives.setdefault(name, ["'self'"])
            allowed += [source for source in sources if source not in allowed]
    return "; ".join(" ".join((name, *allowed)) for name, allowed in directives.items())


def document_headers(pages: Iterable[SignInPage]) -> Mapping[str, str]:
    """Return the headers of the page, on which `pages` sign people in."""
    return {
        "Content-Security-Policy": policy(pages),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _DENIED),
    }


_HEADERS = {
    "Content-Security-Policy": policy(),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""The headers of every response that does not set them itself."""


def accept_for_error(path: str, accept: Sequence[str]) -> Sequence[str]:
    """Return the Accept headers that choose the form of an error: none for the API, whose errors are always JSON."""
    return [] if path.startswith(f"{API_PREFIX}/") else accept


def add_common_headers(headers: Headers, path: str, origin: str | None, gateway: Gateway) -> None:
    """Add the headers of all responses, and below `API_PREFIX` those that let a page of `origin` read the response."""
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    if path.startswith(f"{API_PREFIX}/"):
        headers.add("Vary", "Origin")
        if origin is not None and gateway.admits_origin(origin):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = "Retry-After"


def json_reply(value: Any, status: int = 200) -> Response:
    """Return a response with `value` as JSON."""
    return Response(msgspec.json.encode(value), status=status, content_type="application/json")


def encode_file(answer: HttpResponse, method: bytes, *, keep_seconds: float | None) -> bytes:
    """Return the bytes of a response of the site. `keep_seconds`: how long the connection waits for another request."""
    headers = Headers(dict(answer.headers))
    headers["Date"] = formatdate(usegmt=True)
    if answer.body:
        headers["Content-Type"] = answer.content_type
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    return encode_response(answer.status, encoded, answer.body, method=method.decode(), keep_seconds=keep_seconds)


def error_reply(
    error: CommandError, status: int, accept: Sequence[str], languages: Sequence[str], *, home: str
) -> Response:
    """Return a response with `error`, in the form and the language that the headers Accept and Accept-Language prefer.

    `home` is the start page's path.
    """
    headers, body = error_body(error, status, accept, languages, home=home)
    return Response(body, status=status, headers=dict(headers))


def refusal_response(refused: Refused, head: bytes, gateway: Gateway, public_path: PublicPath) -> bytes:
    """Return the bytes of the response to a request that was refused. `head` is what was read of its head."""
    headers = Headers()
    request = parse_partial(head)
    path = public_path.strip_text(request.path)
    add_common_headers(headers, path, request.origin, gateway)
    request = replace(request, accept=accept_for_error(path, request.accept))
    return encode_refusal(refused, headers, request, home=public_path.home)
