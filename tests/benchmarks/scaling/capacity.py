"""Many small rooms over one, two and four servers: what a message costs, and how many are taken in a second.

On `one core` all servers and their Valkey share a core, and the load has the other one: so the CPU time of a message is
the servers' own, whatever the load does, and tells how many a server takes that has a core to itself. On `both cores`
servers, Valkey and load share the machine as the kernel likes. `together`: the members of a room are on one server;
`spread`: each on the next one, as a port that servers share has it.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from tests.benchmarks.contenders import SERVER_CORE
from tests.benchmarks.scaling.fleet import ANY_CORE, fleet
from tests.benchmarks.scaling.observation import observe
from tests.benchmarks.scaling.sizes import Sizes
from tests.benchmarks.scaling.tables import table as written
from tests.benchmarks.scenarios import CONTENT_BYTES

MEMBERS = 4

COLUMNS = {
    "cores": ("", ""),
    "placed": ("a room's members", ""),
    "servers": ("servers", ""),
    "messages_per_second": ("messages/s", ",.0f"),
    "server_cpu_us": ("servers' CPU µs per message", ".0f"),
    "valkey_cpu_us": ("Valkey's", ".0f"),
    "p50_ms": ("p50 ms", ".1f"),
    "p99_ms": ("p99 ms", ".1f"),
}


def measure(sizes: Sizes) -> list[dict[str, Any]]:
    """Return a row for each way to place the servers and the people, and each number of servers."""
    cases = [
        (core, together, number)
        for core in (SERVER_CORE, ANY_CORE)
        for together in (True, False)
        for number in sizes.servers
        if together or number > 1
    ]
    runs: dict[tuple[int, bool, int], list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(sizes.repeats):  # by turns, so that what disturbs one disturbs all
        for case in cases:
            runs[case].append(_run(*case, sizes))
    return [
        {
            "cores": "one core" if core == SERVER_CORE else "both cores",
            "placed": "together" if together else "spread",
            "servers": number,
        }
        | _medians(runs[core, together, number])
        for core, together, number in cases
    ]


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: median(run[name] for run in runs) for name in runs[0]}


def _run(core: int, together: bool, servers: int, sizes: Sizes) -> dict[str, float]:
    job = {
        "kind": "many_rooms",
        "name": "small rooms",
        "rooms": sizes.rooms,
        "members": MEMBERS,
        "together": together,
        "bytes": CONTENT_BYTES,
        "warm_up": sizes.warm_up,
        "seconds": sizes.seconds + 1,
    }
    with fleet(servers, core=core) as running:
        return observe(running, job | {"ports": running.ports}, sizes.warm_up, sizes.seconds)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the result of `measure` as a table."""
    return written("Small rooms, one in each always talking", COLUMNS, rows)
