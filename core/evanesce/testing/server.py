"""A complete server in memory, without transports, for tests in virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from evanesce.application import Application
from evanesce.config.model import (
    Config,
    LimitsTable,
    MessagesTable,
    RedisTable,
    RetentionTable,
    RoomsTable,
    ServerTable,
)
from evanesce.errors import AuthFailed
from evanesce.interfaces import Answered, Authenticator, Caller, Challenge, HttpRoute
from evanesce.model import Identity
from evanesce.plugins import Components, Plugins
from evanesce.plugins.calls import CallNursery, PluginCalls
from evanesce.plugins.components import DEFAULT_TIMEOUT
from evanesce.plugins.containment import ContainedAuthenticator, contained_repository, contained_route
from evanesce.protocol.fields import display_name
from evanesce.store.memory import MemoryServer, MemoryStore, memory_store
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.running import running_application


class NameAuthenticator:
    """An authenticator that accepts every name: the credential `{"provider": "name", "name": …}`."""

    provider = "name"
    loopback_only = False

    async def __aenter__(self) -> NameAuthenticator:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def challenge(self, request: Mapping[str, Any], caller: Caller) -> Challenge:
        """Return the request and the caller as the fields of the challenge."""
        await trio.lowlevel.checkpoint()
        return Challenge({"asked": dict(request), "caller": None if caller.user is None else caller.user.user_id})

    async def authenticate(self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None) -> Identity:
        """Accept the name. Raises `AuthFailed` for the name `nobody`, and `BadRequest` for what is no name."""
        await trio.lowlevel.checkpoint()
        name = display_name(msgspec.convert(credential.get("name"), str), "credential.displayName")
        if name == "nobody":
            raise AuthFailed("The name nobody is refused.")
        return Identity(subject=name, display_name=name)

    async def check(self) -> str:
        """Return a text."""
        await trio.lowlevel.checkpoint()
        return "accepts every name"


class TestServer:
    """A server in memory, with methods to connect to it."""

    __test__ = False

    def __init__(
        self,
        application: Application,
        store: MemoryStore,
        repository: MemoryRepository,
        nursery: trio.Nursery,
    ) -> None:
        self.gateway = application.gateway
        self.hub = application.hub
        self.cleanup = application.cleanup
        self.bans = application.bans
        self.admin = application.admin
        self.store = store
        self.repository = repository
        self._nursery = nursery

    def connect(self, *, bearer: str | None = None, **options: Any) -> MemoryConnection:
        """Open a connection that has not sent anything."""
        connection = MemoryConnection(**options)
        self.serve(connection, bearer=bearer)
        return connection

    def serve(self, connection: MemoryConnection, *, bearer: str | None = None) -> None:
        """Serve a connection of the test's own."""

        async def serve() -> None:
            await self.gateway.serve(connection, bearer=bearer)

        self._nursery.start_soon(serve)

    async def sign_in(self, name: str, **options: Any) -> MemoryConnection:
        """Open a connection and sign in as `name`."""
        connection = self.connect(**options)
        welcome = await connection.ask("hello", credential={"provider": "name", "name": name})
        if welcome["type"] != "welcome":
            raise AssertionError(f"no welcome but {welcome}")
        return connection

    async def open_room(self, connection: MemoryConnection) -> str:
        """Create a room as the user of `connection`, and return its id."""
        room = await connection.ask("create_room")
        room_id: str = room["roomId"]
        return room_id


def _contained(
    owner: CallNursery,
    repository: MemoryRepository,
    authenticators: Mapping[str, Authenticator],
    routes: Sequence[HttpRoute],
) -> Components:
    """Return components that are contained like those of plugins, each as if it belonged to a plugin of its own."""
    return Components(
        repository=contained_repository(repository, PluginCalls("repository", owner)),
        authenticators={
            name: ContainedAuthenticator(one, PluginCalls(name, owner), getattr(one, "timeout", DEFAULT_TIMEOUT))
            for name, one in authenticators.items()
        },
        transports={},
        routes=[contained_route(route, PluginCalls("routes", owner)) for route in routes],
    )


@asynccontextmanager
async def memory_server(
    *,
    plugins: Mapping[str, object] | None = None,
    authenticators: Mapping[str, Authenticator] | None = None,
    memory: MemoryServer | None = None,
    store: MemoryStore | None = None,
    repository: MemoryRepository | None = None,
    server: ServerTable | None = None,
    messages: MessagesTable | None = None,
    rooms: RoomsTable | None = None,
    limits: LimitsTable | None = None,
    retention: RetentionTable | None = None,
    routes: Sequence[HttpRoute] = (),
) -> AsyncGenerator[TestServer, None]:
    """Run a server in memory. Several on one `memory` and one `repository` are several servers.

    `store` is one of the test's own on a `MemoryServer`, instead of `memory`.
    """
    config = Config(
        plugins={},
        server=server or ServerTable(secret="a secret for tests, of 32 characters"),
        redis=RedisTable(),
        messages=messages or MessagesTable(),
        rooms=rooms or RoomsTable(),
        limits=limits or LimitsTable(),
        retention=retention or RetentionTable(),
    )
    loaded = Plugins(plugins or {})
    repository = repository or MemoryRepository()
    store = store or memory_store(ttl=config.messages.ttl, server=memory)
    owner = CallNursery()
    components = _contained(owner, repository, authenticators or {"name": NameAuthenticator()}, routes)
    running = running_application(config, loaded, components, store, owner=owner)
    async with running as application, trio.open_nursery() as connections:
        yield TestServer(application, store, repository, connections)
        connections.cancel_scope.cancel()
