"""Idle connections: `idle.py` measures them, one transport at a time."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.campaign import Result
from tests.benchmarks.idle import measure as measure_idle
from tests.benchmarks.scenarios import IDLE_NAME


def measure(transports: Sequence[str], connections: int, seconds: float) -> list[Result]:
    """Return what an idle connection costs on each transport; the CPU is that of `seconds`."""
    results: list[Result] = []
    for transport in transports:
        figures = measure_idle(transport, connections, seconds=seconds)
        values = {name: float(value) for name, value in figures.items() if isinstance(value, int | float)}
        results.append(Result(IDLE_NAME, f"Evanesce ({transport})", 0, values))
    return results
