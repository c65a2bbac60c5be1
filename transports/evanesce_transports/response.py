"""The HTTP responses that a transport writes itself: refusals as JSON or, for a browser, as a page.

The connection ends after each of them, except where it is kept for other files. The page contains its own style, so
that a browser loads nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import html
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib import resources
from string import Template
from urllib.parse import unquote

import h11
import msgspec

from evanesce.errors import CommandError
from evanesce.protocol import codec
from evanesce_transports.error_texts import error_texts
from evanesce_transports.request import HEAD_BYTES, Refused

_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)

_MOST_RANGES = 64  # in an Accept header; browsers send fewer than 10

_STYLE = (resources.files("evanesce_transports") / "errorpage.css").read_text("utf-8")
_PAGE = Template((resources.files("evanesce_transports") / "errorpage.html").read_text("utf-8"))

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

PAGE_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    (
        "Content-Security-Policy",
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
)
"""The headers of an error page. It may use only its own style, which the policy identifies by its hash."""

# The data may not be a request at all: only the form of a refusal depends on what this finds.
_START = re.compile(rb"(?P<method>[!-~]+) (?:https?://[^/ ?\r\n]*)?(?P<path>/[^ ?\r\n]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PartialRequest:
    """What is known of a request that is refused, perhaps before its whole head was read.

    `method` and `path` are empty where unknown. `accept` and `languages` are the values of the Accept and the
    Accept-Language headers.
    """

    method: str
    path: str
    origin: str | None
    accept: Sequence[str]
    languages: Sequence[str] = ()


def parse_partial(head: bytes | bytearray) -> PartialRequest:
    """Parse the head of a request, or the beginning of it."""
    data = bytes(head[:HEAD_BYTES])  # the head may be too large
    start = _START.match(data)
    lines = data.split(b"\r\n")[1:-1]  # the last line may be incomplete
    origins = _values(lines, b"origin")
    return PartialRequest(
        method=start["method"].decode("ascii") if start else "",
        path=unquote(start["path"].decode("latin-1")) if start else "",
        origin=origins[0] if origins else None,
        accept=_values(lines, b"accept"),
        languages=_values(lines, b"accept-language"),
    )


def encode_response(
    status: int,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    *,
    method: str = "GET",
    keep_seconds: float | None = None,
) -> bytes:
    """Return the bytes of a response to a request with `method`.

    The connection ends after it, or where `keep_seconds` pass without another request.
    """
    connection = h11.Connection(h11.SERVER)
    framing = [] if status in _WITHOUT_BODY else [(b"content-length", b"%d" % len(body))]
    if keep_seconds is None:
        framing.append((b"connection", b"close"))
    else:
        framing.append((b"keep-alive", b"timeout=%d" % keep_seconds))
    head = connection.send(
        h11.Response(status_code=status, headers=headers + framing, reason=HTTPStatus(status).phrase.encode())
    )
    return (head or b"") + (b"" if method == "HEAD" else body)


def encode_refusal(
    refused: Refused, headers: Iterable[tuple[str, str]], request: PartialRequest, *, home: str | None = None
) -> bytes:
    """Return the bytes of the response to a request that was refused, with `headers` in addition to its own.

    The error has the form that the request prefers. `home` is the path of the start page, where there is one.
    """
    own, body = error_body(refused.error, refused.status, request.accept, request.languages, home=home)
    names = {name.lower() for name, _ in own}
    own += [(name, value) for name, value in headers if name.lower() not in names or name == "Vary"]
    if refused.status == HTTPStatus.UPGRADE_REQUIRED:
        own += [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
    if refused.allow is not None:
        own.append(("Allow", refused.allow))
    encoded = [(name.lower().encode(), value.encode()) for name, value in own]
    return encode_response(refused.status, encoded, body, method=request.method)


def error_body(
    error: CommandError, status: int, accept: Sequence[str], languages: Sequence[str], *, home: str | None
) -> tuple[list[tuple[str, str]], bytes]:
    """Return the headers and the body for an error: a page where the request prefers HTML, otherwise JSON.

    The page is in the language that `languages`, the values of the Accept-Language headers, prefer.
    """
    headers = [("Vary", "Accept")]
    if error.retry_after is not None:
        headers.append(("Retry-After", str(math.ceil(error.retry_after))))
    if prefers_page(accept):
        # The server does not know a name that it accepts: a link would lead to the same error.
        link = None if status == HTTPStatus.MISDIRECTED_REQUEST else home
        headers[0] = ("Vary", "Accept, Accept-Language")
        return [*headers, *PAGE_HEADERS], error_page(status, error, languages, home=link)
    return [*headers, ("Content-Type", "application/json")], msgspec.json.encode(codec.bare(codec.error_reply(error)))


def encode_server_options(methods: str) -> bytes:
    """Return the bytes of the response to `OPTIONS *`. `methods` are those that the server supports."""
    return encode_response(HTTPStatus.NO_CONTENT, [(b"allow", methods.encode())], b"")


def prefers_page(accept: Iterable[str]) -> bool:
    """Return whether a request with these Accept headers prefers HTML to JSON (RFC 9110, section 12.5.1).

    Browsers prefer HTML when a person opens a URL. JSON is for requests without a preference or without the header.
    """
    qualities: dict[str, float] = {}
    for media_range in ",".join(accept).split(",", _MOST_RANGES)[:_MOST_RANGES]:
        name, *parameters = media_range.split(";")
        name = name.strip().lower()
        qualities[name] = max(qualities.get(name, 0.0), _quality(parameters))
    return _quality_of("text/html", qualities) > _quality_of("application/json", qualities)


def error_page(status: int, error: CommandError, languages: Iterable[str] = (), *, home: str | None) -> bytes:
    """Return the page for an error. `home` is the path of the start page: None for a page without a link to it."""
    texts = error_texts(languages)
    again = ""
    if error.retry_after is not None:
        again = f"<p>{texts.try_again(math.ceil(error.retry_after))}</p>"
    link = "" if home is None else f'<p><a href="{html.escape(home)}">{texts.start_page}</a></p>'
    explanation = texts.explanations.get(status)
    page = _PAGE.substitute(
        language=texts.language,
        direction=texts.direction,
        style=_STYLE,
        title=html.escape(texts.title(status)),
        text=f'<p lang="en" dir="ltr">{html.escape(error.message)}</p>'
        if explanation is None
        else f"<p>{explanation}</p>",
        again=again,
        link=link,
        status=f"{texts.error} {status}",
    )
    return page.encode()


def _values(lines: Iterable[bytes], name: bytes) -> list[str]:
    pairs = (line.partition(b":") for line in lines)
    return [value.strip().decode("latin-1") for key, _, value in pairs if key.lower() == name]


def _quality(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                quality = float(value)
            except ValueError:
                return 0.0
            return quality if 0.0 <= quality <= 1.0 else 0.0
    return 1.0


def _quality_of(media_type: str, qualities: dict[str, float]) -> float:
    """Return the quality of a media type: the most specific range that matches it counts."""
    main, _, _ = media_type.partition("/")
    for name in (media_type, f"{main}/*", "*/*"):
        if name in qualities:
            return qualities[name]
    return 0.0
