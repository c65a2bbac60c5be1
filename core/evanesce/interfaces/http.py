"""HTTP routes of plugins, their requests and responses, and files that are served."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from evanesce.confidential import Confidential
from evanesce.model import User


@dataclass(frozen=True, slots=True, repr=False)
class HttpRequest(Confidential):
    """A request to a plugin's route. `user` is the user of `token`, its bearer token; None where it has none.

    Bytes above 0x7F in `headers` are decoded as ISO-8859-1. `address` is the address of the client, without a port, as
    trusted proxies report it; do not read headers for it, which a client may forge. It is empty where the transport
    does not know the address.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    user: User | None
    address: str = ""
    token: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class HttpResponse(Confidential):
    """A plugin's response. `status` is from 200 to 599; `headers` must not have any that the transport sets."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


_MOST_ELEMENTS = 64  # of a header that is a list; browsers send fewer than 10


@dataclass(frozen=True, slots=True, repr=False)
class StaticFile:
    """A file that is served as it is. `evanesce.files.static_file` makes one.

    `forms` are its bytes by content coding (RFC 9110, section 8.4.1), of which `identity` is always there. `etag` and
    `cache_control` are the values of these headers, and `headers` are others.
    """

    content_type: str
    forms: Mapping[str, bytes]
    etag: str
    cache_control: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def respond(self, headers: Mapping[str, str]) -> HttpResponse:
        """Return the response to a GET request with these headers: 304 where the client has the file already."""
        asked = {name.lower(): value for name, value in headers.items()}
        own = {**self.headers, "Cache-Control": self.cache_control, "ETag": self.etag, "Vary": "Accept-Encoding"}
        known = _elements(asked.get("if-none-match", ""))
        if "*" in known or self.etag.removeprefix("W/") in {tag.removeprefix("W/") for tag in known}:
            return HttpResponse(b"", 304, self.content_type, own)
        accepted = _accepted_codings(asked.get("accept-encoding", ""))
        coding = next((coding for coding in ("br", "gzip") if coding in accepted and coding in self.forms), "identity")
        if coding != "identity":
            own["Content-Encoding"] = coding
        return HttpResponse(self.forms[coding], 200, self.content_type, own)


def _elements(header: str) -> list[str]:
    return [element.strip() for element in header.split(",", _MOST_ELEMENTS)[:_MOST_ELEMENTS]]


def _accepted_codings(header: str) -> set[str]:
    """Return the content codings in an Accept-Encoding header, without those that it refuses by `q=0`."""
    accepted: set[str] = set()
    for element in _elements(header):
        coding, _, weight = element.partition(";")
        if weight.strip().rstrip("0.") != "q=":
            accepted.add(coding.strip().lower())
    return accepted


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """A route that a plugin adds, on every transport that has HTTP.

    `path` is absolute and exact: without patterns and percent-encoding, and not one that a transport serves itself.
    `handle` may take 10 s for a request. A transport may serve `file`, where there is one, without calling it.
    """

    method: str
    path: str
    handle: Callable[[HttpRequest], Awaitable[HttpResponse]]
    file: StaticFile | None = None
