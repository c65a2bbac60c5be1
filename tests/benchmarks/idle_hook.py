"""Idle connections: `idle.py` measures them, one transport at a time."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

from tests.benchmarks.campaign import Result

SCENARIO = "idle connections in a room"


def measure(transports: Sequence[str], connections: int) -> list[Result]:
    """Give what an idle connection costs on each transport; nothing where there is no `idle.py`."""
    if find_spec("tests.benchmarks.idle") is None:
        return []
    idle = import_module("tests.benchmarks.idle")
    return [
        Result(SCENARIO, f"Evanesce ({transport})", 0, idle.measure(transport, connections)) for transport in transports
    ]
