"""Many small rooms on the port that the workers of one server share: what a message costs, with and without the hint.

All processes share a core, and the load has the other one. `ratio` is how many messages the workers take, with a core
to each, in relation to a single process: the CPU time of a message with one process, divided by that with the workers,
times their number. With the hint, each connection names its room in its address, as the page and `evanesce chat` do.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from tests.benchmarks.scaling.capacity import MEMBERS
from tests.benchmarks.scaling.fleet import fleet
from tests.benchmarks.scaling.observation import observe
from tests.benchmarks.scaling.sizes import Sizes
from tests.benchmarks.scaling.tables import table as written
from tests.benchmarks.scenarios import CONTENT_BYTES

COLUMNS = {
    "hint": ("rooms in the addresses", ""),
    "workers": ("workers", ""),
    "server_cpu_us": ("servers' CPU µs per message", ".0f"),
    "ratio": ("times one", ".2f"),
    "valkey_cpu_us": ("Valkey's", ".0f"),
    "p50_ms": ("p50 ms", ".1f"),
    "p99_ms": ("p99 ms", ".1f"),
}


def measure(sizes: Sizes) -> list[dict[str, Any]]:
    """Return a row for each number of workers, without and with the hint."""
    cases = [(hint, workers) for workers in sizes.servers for hint in (False, True) if hint or workers > 1]
    runs: dict[tuple[bool, int], list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(sizes.repeats):  # by turns, so that what disturbs one disturbs all
        for case in cases:
            runs[case].append(_run(*case, sizes))
    medians = {case: {name: median(run[name] for run in made) for name in made[0]} for case, made in runs.items()}
    single = medians[True, 1]["server_cpu_us"]
    return [
        {"hint": "yes" if hint else "no", "workers": workers, "ratio": single / row["server_cpu_us"] * workers} | row
        for (hint, workers), row in medians.items()
    ]


def _run(hint: bool, workers: int, sizes: Sizes) -> dict[str, float]:
    job = {
        "kind": "many_rooms",
        "name": "small rooms",
        "rooms": sizes.rooms,
        "members": MEMBERS,
        "hint": hint,
        "bytes": CONTENT_BYTES,
        "warm_up": sizes.warm_up,
        "seconds": sizes.seconds + 1,
    }
    with fleet(1, workers=workers) as running:
        return observe(running, job | {"ports": running.ports}, sizes.warm_up, sizes.seconds)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the result of `measure` as a table."""
    return written("Small rooms on the workers of one server", COLUMNS, rows)
