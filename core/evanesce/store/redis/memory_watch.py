"""Watches how much memory Redis uses."""

from __future__ import annotations

from typing import Any

import trio

from evanesce.errors import StoreUnavailable
from evanesce.store.redis.cluster_client import ClusterClient
from evanesce.store.redis.node_client import NodeClient
from evanesce.store.statistics import StoreStatistics

MEMORY_SECONDS = 10.0
"""How often it is read, in seconds."""


async def watch_memory(client: NodeClient | ClusterClient, statistics: StoreStatistics) -> None:
    """Read the memory of all primaries again and again, until cancelled.

    While one does not answer, or refuses INFO to this user, the last values stay.
    """
    while True:
        clients = [client] if isinstance(client, NodeClient) else list(client.clients.values())
        try:
            found = [_memory(*await one.run(("INFO", "memory"))) for one in clients]
        except StoreUnavailable:  # the client has logged it
            found = []
        if found:
            statistics.memory = sum(used for used, _ in found)
            limits = [limit for _, limit in found]
            statistics.memory_limit = sum(limits) if all(limits) else 0
        await trio.sleep(MEMORY_SECONDS)


def _memory(answer: Any) -> tuple[int, int]:
    """Return the used memory and its limit, in bytes, of an answer to INFO."""
    pairs = (line.split(":", 1) for line in answer.decode().splitlines() if ":" in line)
    told = {name: value.strip() for name, value in pairs}
    used, limit = told.get("used_memory", ""), told.get("maxmemory", "")
    return int(used) if used.isdigit() else 0, int(limit) if limit.isdigit() else 0
