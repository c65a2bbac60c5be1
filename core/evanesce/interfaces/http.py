"""HTTP routes of plugins, their requests and responses."""

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


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """A route that a plugin adds, on every transport that has HTTP.

    `path` is absolute and exact: without patterns and percent-encoding, and not one that a transport serves itself.
    `handle` may take 10 s for a request.
    """

    method: str
    path: str
    handle: Callable[[HttpRequest], Awaitable[HttpResponse]]
