"""A whole server in memory, without transports: sessions, rooms, store and repository under virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

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
from evanesce.interfaces import Answered, Authenticator, Caller, Challenge
from evanesce.metrics import Metrics
from evanesce.model import Identity
from evanesce.plugins import Parts, Plugins
from evanesce.sessions.gateway import Gateway
from evanesce.sessions.services import assemble
from evanesce.testing.connection import MemoryConnection
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.memory_store import MemoryServer, MemoryStore
from evanesce.writebehind import WriteBehind


class NameAuthenticator:
    """Takes everybody for who they say they are: `{"provider": "name", "name": …}`."""

    provider = "name"
    loopback_only = True

    async def __aenter__(self) -> NameAuthenticator:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def challenge(self, request: Mapping[str, Any], caller: Caller) -> Challenge:
        """Give back what was asked, and who asks."""
        await trio.lowlevel.checkpoint()
        return Challenge({"asked": dict(request), "caller": None if caller.user is None else caller.user.user_id})

    async def authenticate(self, credential: Mapping[str, Any], caller: Caller, answered: Answered | None) -> Identity:
        """Believe it."""
        await trio.lowlevel.checkpoint()
        name = msgspec.convert(credential.get("name"), str)
        if name == "nobody":
            raise AuthFailed("Nobody is not somebody.")
        return Identity(subject=name, display_name=name)

    async def check(self) -> str:
        """Be there."""
        await trio.lowlevel.checkpoint()
        return "takes everybody"


class TestServer:
    """A server in memory, and ways in."""

    __test__ = False

    def __init__(
        self, gateway: Gateway, store: MemoryStore, repository: MemoryRepository, nursery: trio.Nursery
    ) -> None:
        self.gateway = gateway
        self.store = store
        self.repository = repository
        self._nursery = nursery

    def connect(self, *, bearer: str | None = None, **options: Any) -> MemoryConnection:
        """Open a connection that says nothing yet."""
        connection = MemoryConnection(**options)

        async def serve() -> None:
            await self.gateway.serve(connection, bearer=bearer)

        self._nursery.start_soon(serve)
        return connection

    async def sign_in(self, name: str, **options: Any) -> MemoryConnection:
        """Open a connection, signed in as `name`."""
        connection = self.connect(**options)
        welcome = await connection.ask("hello", credential={"provider": "name", "name": name})
        if welcome["type"] != "welcome":
            raise AssertionError(f"no welcome but {welcome}")
        return connection

    async def open_room(self, connection: MemoryConnection) -> str:
        """Open a room as the user of `connection`; gives its id."""
        room = await connection.ask("create_room")
        room_id: str = room["roomId"]
        return room_id


@asynccontextmanager
async def memory_server(
    *,
    plugins: Mapping[str, object] | None = None,
    authenticators: Mapping[str, Authenticator] | None = None,
    memory: MemoryServer | None = None,
    repository: MemoryRepository | None = None,
    server: ServerTable | None = None,
    messages: MessagesTable | None = None,
    rooms: RoomsTable | None = None,
    limits: LimitsTable | None = None,
    retention: RetentionTable | None = None,
) -> AsyncGenerator[TestServer, None]:
    """Run a server in memory. Several on one `memory` and one `repository` are several servers."""
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
    store = MemoryStore(ttl=config.messages.ttl, server=memory)
    metrics = Metrics()
    records = WriteBehind(repository, metrics)
    parts = Parts(repository, authenticators or {"name": NameAuthenticator()}, {}, ())
    services = assemble(config, loaded, parts, store, records, metrics)
    gateway = Gateway(services, parts)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(records.run)
        await nursery.start(loaded.run_observers)
        await nursery.start(services.hub.run)
        nursery.start_soon(gateway.watch)
        async with trio.open_nursery() as connections:
            yield TestServer(gateway, store, repository, connections)
            connections.cancel_scope.cancel()
        await services.hub.drain()
        await records.flush()
        nursery.cancel_scope.cancel()
