"""One room: what a message costs Valkey, on one server of several, and spread over all of them."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.scaling.fleet import fleet
from tests.benchmarks.scaling.observation import observe
from tests.benchmarks.scaling.sizes import Sizes
from tests.benchmarks.scaling.tables import table as written
from tests.benchmarks.scenarios import CONTENT_BYTES

COLUMNS = {
    "placed": ("the room", ""),
    "servers": ("servers", ""),
    "in_flight": ("in flight", ""),
    "commands": ("commands per message", ".2f"),
    "bytes_in": ("bytes in", ",.0f"),
    "bytes_out": ("bytes out", ",.0f"),
    "messages_per_group": ("messages per group", ".1f"),
    "publishes_per_group": ("publishes per group", ".2f"),
    "valkey_cpu_us": ("Valkey's CPU µs", ".0f"),
}


def measure(sizes: Sizes) -> list[dict[str, Any]]:
    """Return a row for each way to place the room, each number of servers, and one message in flight or fifty."""
    rows: list[dict[str, Any]] = []
    for spread in (False, True):
        for servers in sizes.servers:
            if spread and servers == 1:
                continue
            for in_flight in (1, 50):
                with fleet(servers) as running:
                    ports = running.ports if spread else running.ports[:1]
                    figures = observe(running, _job(sizes, in_flight) | {"ports": ports}, sizes.warm_up, sizes.seconds)
                placed = "spread over all" if spread else "on one of them"
                rows.append({"placed": placed, "servers": servers, "in_flight": in_flight} | figures)
    return rows


def _job(sizes: Sizes, in_flight: int) -> dict[str, Any]:
    pace = {"name": "room", "warm_up": sizes.warm_up, "seconds": sizes.seconds + 1, "in_flight": in_flight}
    return {"kind": "one_room", "members": sizes.large_room, "bytes": CONTENT_BYTES, "paces": [pace]}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the result of `measure` as a table."""
    return written("One room, one sender: what a message costs Valkey", COLUMNS, rows)
