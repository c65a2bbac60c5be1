"""A `Store` in memory for one of several servers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from evanesce.store import Store
from evanesce.store.health import CheckResult, ExpiryReport, Severity
from evanesce.store.memory.control_bus import MemoryControlBus
from evanesce.store.memory.events import MemoryRoomEvents
from evanesce.store.memory.message_log import MemoryMessageLog
from evanesce.store.memory.presence import MemoryPresence
from evanesce.store.memory.rate_limits import MemoryRateLimits
from evanesce.store.memory.rules import MemoryRules
from evanesce.store.memory.server import MemoryServer
from evanesce.store.memory.server_registry import MemoryServerRegistry


class MemoryOneTimeValues:
    """See `OneTimeValues`."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        """See `OneTimeValues.put`."""

        def act() -> None:
            self._server.one_time_values[key] = value, trio.current_time() + seconds

        await self._server.ask(act)

    async def take(self, key: str) -> bytes | None:
        """See `OneTimeValues.take`."""

        def act() -> bytes | None:
            value, deadline = self._server.one_time_values.pop(key, (b"", -math.inf))
            return value if deadline > trio.current_time() else None

        return await self._server.ask(act)


class MemoryHealth:
    """See `Health`. Nothing can be wrong with a memory but that its server is down."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    @property
    def healthy(self) -> bool:
        """Whether the server is up."""
        return self._server.up

    @property
    def subscriber_up(self) -> bool:
        """Always True: nothing can be lost between publisher and subscriber."""
        return True

    async def probe(self, seconds: float = 2.2) -> None:
        """See `Health.probe`."""
        await self._server.ask(lambda: None)

    async def check(self) -> Sequence[CheckResult]:
        """See `Health.check`."""
        found = [CheckResult("memory", Severity.OK, "in this process's memory: nothing is kept")]
        return await self._server.ask(lambda: found)

    async def content_on_disk(self) -> Sequence[CheckResult]:
        """See `Health.content_on_disk`. There is no disk."""
        return await self._server.ask(list[CheckResult])

    async def expiry_report(self) -> ExpiryReport | None:
        """Return None: an expired message is never returned, and ends with the process."""
        return await self._server.ask(lambda: None)


@dataclass(frozen=True)
class MemoryStore(Store):
    """The store of one server in memory, made by `memory_store`."""

    presence: MemoryPresence
    servers: MemoryServerRegistry
    control: MemoryControlBus
    server: MemoryServer

    def stop(self) -> None:
        """End the lease of this server and remove its users from all rooms, as when a server stops or dies."""
        self.servers.stop()
        self.control.stop()
        self.presence.leave_all()


def memory_store(*, ttl: float = 60.0, server_id: str = "memory", server: MemoryServer | None = None) -> MemoryStore:
    """Return a store for the server `server_id`; `ttl` is in seconds. Several servers share one `MemoryServer`."""
    server = MemoryServer() if server is None else server
    servers = MemoryServerRegistry(server, server_id)
    return MemoryStore(
        messages=MemoryMessageLog(server, ttl),
        events=MemoryRoomEvents(server),
        presence=MemoryPresence(server, server_id),
        rules=MemoryRules(server),
        rate_limits=MemoryRateLimits(server, servers.server_name),
        servers=servers,
        control=MemoryControlBus(server),
        one_time_values=MemoryOneTimeValues(server),
        clock=server,
        health=MemoryHealth(server),
        server=server,
    )
