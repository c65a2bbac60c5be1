"""The CPU time during a measurement: of the server, of the load program, and of all other processes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.contenders import LOAD_CORE, SERVER_CORE
from tests.benchmarks.processes import busy_seconds, cpu_seconds, resident_bytes

QUIET_SHARE = 0.05
"""Up to which share of a core the processes of a server count as quiet."""

_LOOK_SECONDS = 0.4


def wait_until_quiet(pids: Sequence[int], patience: float = 60.0) -> None:
    """Wait until a server has done what it was given, for at most `patience` seconds."""
    until = time.perf_counter() + patience
    before = cpu_seconds(pids)
    while time.perf_counter() < until:
        time.sleep(_LOOK_SECONDS)
        now = cpu_seconds(pids)
        if now - before <= QUIET_SHARE * _LOOK_SECONDS:
            return
        before = now


@dataclass(frozen=True, slots=True)
class Usage:
    """Shares of a core are 0 to 1; `server_cpu` is in seconds, of all the server's processes."""

    seconds: float
    server_cpu: float
    server_share: float
    load_share: float
    others_share: float


class Meter:
    """Started when it is made; `read` returns what was used since then."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._before = self._now()

    def _now(self) -> tuple[float, float, float, float, float]:
        return (
            time.perf_counter(),
            cpu_seconds(self._pids),
            cpu_seconds([os.getpid()]),
            busy_seconds(SERVER_CORE),
            busy_seconds(LOAD_CORE),
        )

    def read(self) -> Usage:
        """Return what was used, and how much of the busier core others used."""
        seconds, server, load, server_core, load_core = (
            after - before for after, before in zip(self._now(), self._before, strict=True)
        )
        return Usage(
            seconds=seconds,
            server_cpu=server,
            server_share=server / seconds,
            load_share=load / seconds,
            others_share=min(1.0, max(0.0, server_core - server, load_core - load) / seconds),
        )

    def server_bytes(self) -> int:
        """Return how much memory the server holds now."""
        return resident_bytes(self._pids)
