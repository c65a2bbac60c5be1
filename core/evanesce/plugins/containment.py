"""Components of plugins as the server uses them: each call is limited in time, contained, and its result checked."""

from __future__ import annotations

import functools
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, nullcontext
from typing import Any, TypeVar, cast

import msgspec
import trio

from evanesce import tracing
from evanesce.errors import AuthUnavailable, CommandError, ErrorCode, EvanesceError, PersistenceUnavailable
from evanesce.interfaces import (
    Answered,
    Authenticator,
    Caller,
    Challenge,
    HttpRequest,
    HttpResponse,
    HttpRoute,
    Repository,
)
from evanesce.model import Identity, KnownUser
from evanesce.plugins.calls import PluginCalls
from evanesce.plugins.contracts import check_challenge, check_identity, check_report, check_response
from evanesce.plugins.database_calls import DatabaseCalls
from evanesce.plugins.faults import PluginFailed, place

OPEN_SECONDS = 60.0
"""How long an authenticator may take to open."""

ROUTE_SECONDS = 10.0
"""How long a route may take for one request."""

REPOSITORY_SECONDS = 5.0
"""How long a repository may take for a call that a client waits for.

That is twice what its contract says, and less than a new connection has for `hello`.
"""

MAINTENANCE_SECONDS = 60.0
"""How long a repository may take for a call that no client waits for."""

T = TypeVar("T")

_MAINTENANCE = frozenset(
    {"record", "servers_in_sessions", "end_sessions", "active_rooms", "delete_sessions", "delete_rooms"}
    | {"renew_links", "unused_guests", "delete_guests", "delete_ended_rules", "inspect"}
)
"""The methods of a repository that no client waits for."""

_ANSWERS = (CommandError, msgspec.ValidationError)


class ContainedAuthenticator:
    """An `Authenticator` whose calls end within `timeout` seconds, and raise `AuthUnavailable` where they fail."""

    def __init__(self, authenticator: Authenticator, calls: PluginCalls, timeout: float) -> None:
        self.provider = authenticator.provider
        self.loopback_only = authenticator.loopback_only
        self.timeout = timeout
        self._authenticator = authenticator
        self._calls = calls
        self._open = AsyncExitStack()

    async def __aenter__(self) -> ContainedAuthenticator:
        opened = self._calls.opened("authenticator", self._authenticator, seconds=OPEN_SECONDS)
        await self._open.enter_async_context(opened)
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._open.__aexit__(*error)

    async def challenge(self, request: Mapping[str, Any], caller: Caller) -> Challenge:
        """See `Authenticator.challenge`."""
        function = functools.partial(self._authenticator.challenge, request, caller)
        return await self._call("challenge", function, check_challenge)

    async def authenticate(
        self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None
    ) -> Identity | KnownUser:
        """See `Authenticator.authenticate`."""
        function = functools.partial(self._authenticator.authenticate, credential, caller, answered)
        return await self._call("authenticate", function, check_identity)

    async def check(self) -> str:
        """See `Authenticator.check`."""
        return await self._call("check", self._authenticator.check, check_report)

    async def _call(self, method: str, function: Callable[[], Awaitable[Any]], accept: Callable[[object], T]) -> T:
        name = f"Authenticator.{method} ({place(function)})"
        try:
            return await self._calls.call(name, function, accept, seconds=self.timeout, passing=_ANSWERS)
        except PluginFailed:
            raise AuthUnavailable from None


def contained_route(route: HttpRoute, calls: PluginCalls) -> HttpRoute:
    """Return a route whose handler ends within `ROUTE_SECONDS`, and raises `internal` where it fails."""
    name = f"{route.method} {route.path} ({place(route.handle)})"

    async def handle(request: HttpRequest) -> HttpResponse:
        function = functools.partial(route.handle, request)
        try:
            return await calls.call(name, function, check_response, seconds=ROUTE_SECONDS, passing=(CommandError,))
        except PluginFailed:
            raise CommandError(ErrorCode.INTERNAL, "Something went wrong here. Try again in a moment.") from None

    return HttpRoute(route.method.upper(), route.path, handle, route.file)


class _ContainedRepository:
    """A `Repository` whose methods raise Evanesce's errors, `PluginFailed` and the caller's cancellation alone.

    Its calls run in the caller's task: the caller has to know when a write that it cancels has ended.
    """

    def __init__(self, repository: Repository, calls: PluginCalls, measured: DatabaseCalls) -> None:
        self._repository = repository
        self._calls = calls
        self._measured = measured
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Repository:
        # Without a time limit, because it may migrate a large database. A signal ends it.
        await self._open.enter_async_context(self._calls.opened("repository", self._repository, seconds=math.inf))
        return cast(Repository, self)

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._open.__aexit__(*error)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._repository, name)
        if name.startswith("_") or not hasattr(Repository, name):
            return method
        call = f"Repository.{name} ({place(method)})"
        seconds = MAINTENANCE_SECONDS if name in _MAINTENANCE else REPOSITORY_SECONDS

        async def contained(*arguments: Any, **named: Any) -> Any:
            def function() -> Any:
                return getattr(self._repository, name)(*arguments, **named)

            began = trio.current_time()
            try:
                with nullcontext() if tracing.active is None else tracing.active.child("database", name):
                    late = PersistenceUnavailable
                    result = await self._calls.call_in_task(call, function, seconds=seconds, late=late)
            except (PersistenceUnavailable, PluginFailed):
                self._measured.count(trio.current_time() - began, failed=True)
                raise
            except EvanesceError:  # an answer, such as that a registration is taken
                self._measured.count(trio.current_time() - began, failed=False)
                raise
            self._measured.count(trio.current_time() - began, failed=False)
            return result

        setattr(self, name, contained)
        return contained


def contained_repository(
    repository: Repository, calls: PluginCalls, measured: DatabaseCalls | None = None
) -> Repository:
    """Return a repository whose faults are contained, and whose calls are `measured`."""
    return cast(Repository, _ContainedRepository(repository, calls, measured or DatabaseCalls()))
