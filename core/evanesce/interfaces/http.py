"""What a plugin adds to HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from evanesce.model import User


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to a plugin's route. `user` is who is signed in by its bearer token."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    user: User | None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A plugin's answer."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """A route that a plugin adds, on every transport that has HTTP. `path` is absolute and exact."""

    method: str
    path: str
    handle: Callable[[HttpRequest], Awaitable[HttpResponse]]
