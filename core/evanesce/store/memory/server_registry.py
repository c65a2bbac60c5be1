"""The servers that share a memory."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import trio

from evanesce.model import Timestamp, timestamp
from evanesce.store.memory.server import STARTED_AT, MemoryServer

LEASE_SECONDS = 9.0
"""How long after the data was lost it is not known which servers are running."""

SETTINGS_SECONDS = 15.0
"""How long the published settings of a server are valid."""


class MemoryServerRegistry:
    """The `ServerRegistry` of the server `server_id`."""

    def __init__(self, server: MemoryServer, server_id: str) -> None:
        self._server = server
        server.stores += 1
        self._name = f"{server_id}.{server.stores}"
        server.expiries[self._name] = math.inf

    @property
    def server_name(self) -> str:
        """See `ServerRegistry.server_name`."""
        return self._name

    def stop(self) -> None:
        """End the lease of this server and delete its settings and its status."""
        self._server.expiries[self._name] = self._server.elapsed()
        self._server.settings.pop(self._name, None)
        self._server.statuses.pop(self._name, None)

    async def expiries(self) -> Mapping[str, Timestamp] | None:
        """See `ServerRegistry.expiries`."""

        def act() -> Mapping[str, Timestamp] | None:
            elapsed = self._server.elapsed()
            if elapsed - self._server.lost_at < LEASE_SECONDS:
                return None
            ends = {name: min(until, elapsed + LEASE_SECONDS) for name, until in self._server.expiries.items()}
            return {name: timestamp(STARTED_AT + math.floor(until * 1000)) for name, until in ends.items()}

        return await self._server.ask(act)

    async def running(self) -> Collection[str]:
        """See `ServerRegistry.running`."""
        return await self._server.ask(lambda: [name for name, end in self._server.expiries.items() if end == math.inf])

    async def publish_settings(self, settings: Mapping[str, str]) -> None:
        """See `ServerRegistry.publish_settings`."""

        def act() -> None:
            self._server.settings[self._name] = dict(settings), trio.current_time()

        await self._server.ask(act)

    async def other_settings(self) -> Mapping[str, Mapping[str, str]]:
        """See `ServerRegistry.other_settings`."""

        def act() -> Mapping[str, Mapping[str, str]]:
            since = trio.current_time() - SETTINGS_SECONDS
            told = self._server.settings.items()
            return {name: settings for name, (settings, at) in told if name != self._name and at >= since}

        return await self._server.ask(act)

    async def publish_status(self, status: bytes) -> None:
        """See `ServerRegistry.publish_status`."""

        def act() -> None:
            self._server.statuses[self._name] = status, trio.current_time()

        await self._server.ask(act)

    async def statuses(self) -> Mapping[str, bytes]:
        """See `ServerRegistry.statuses`."""

        def act() -> Mapping[str, bytes]:
            since = trio.current_time() - SETTINGS_SECONDS
            return {name: status for name, (status, at) in self._server.statuses.items() if at >= since}

        return await self._server.ask(act)

    async def claim(self, duty: str, seconds: float) -> bool:
        """See `ServerRegistry.claim`."""

        def act() -> bool:
            if self._server.claimed.get(duty, -math.inf) > trio.current_time():
                return False
            self._server.claimed[duty] = trio.current_time() + seconds
            return True

        return await self._server.ask(act)

    async def identity(self, proposed: str | None = None) -> str | None:
        """See `ServerRegistry.identity`."""

        def act() -> str | None:
            self._server.identity = self._server.identity or proposed
            return self._server.identity

        return await self._server.ask(act)
