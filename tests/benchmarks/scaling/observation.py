"""What messages cost while a load runs: counted in Valkey, and in the CPU time of its process and the servers'."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.load_process import begin, finish
from tests.benchmarks.processes import cpu_seconds
from tests.benchmarks.scaling.fleet import Fleet

PATIENCE = 300.0
"""How long it may take until the load sends messages, in seconds."""

_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class _Moment:
    at: float
    messages: int
    server_cpu: float
    valkey_cpu: float
    commands: int
    scripts: int
    publishes: int
    bytes_in: int
    bytes_out: int


def _look(fleet: Fleet) -> _Moment:
    client = fleet.client
    statistics: Mapping[str, Any] = client.info("stats")
    calls: dict[str, int] = {name: of["calls"] for name, of in client.info("commandstats").items()}
    return _Moment(
        at=time.perf_counter(),
        messages=calls.get("cmdstat_xadd", 0),  # each message is one entry of an index
        server_cpu=cpu_seconds(fleet.pids),
        valkey_cpu=cpu_seconds([fleet.valkey.pid]),
        commands=sum(calls.values()),
        scripts=calls.get("cmdstat_evalsha", 0),
        publishes=calls.get("cmdstat_spublish", 0),
        bytes_in=statistics["total_net_input_bytes"],
        bytes_out=statistics["total_net_output_bytes"],
    )


def observe(fleet: Fleet, job: Mapping[str, Any], warm_up: float, seconds: float) -> dict[str, float]:
    """Run a job of the load that sends for longer than `warm_up` and `seconds`; return figures for each message.

    CPU is in µs. A group is what one call of a script stores together; commands are those inside scripts too. What
    the load measured itself, `p50_ms` and `p99_ms`, is of the whole job.
    """
    whole = dict(job) | {"ports": job["ports"], "pids": fleet.pids, "dialect": "evanesce"}
    load = begin(whole)
    quiet = _look(fleet).messages
    until = time.perf_counter() + PATIENCE
    while _look(fleet).messages < quiet + 20:
        if load.poll() is not None or time.perf_counter() > until:
            finish(load)
            raise RuntimeError("the load sent no messages")
        time.sleep(_POLL_SECONDS)
    time.sleep(warm_up)
    before = _look(fleet)
    time.sleep(seconds)
    after = _look(fleet)
    [result] = finish(load).values()
    messages = after.messages - before.messages
    if not messages:
        raise RuntimeError("nothing was said while it was measured")
    return {
        "messages_per_second": messages / (after.at - before.at),
        "server_cpu_us": (after.server_cpu - before.server_cpu) * 1e6 / messages,
        "valkey_cpu_us": (after.valkey_cpu - before.valkey_cpu) * 1e6 / messages,
        "commands": (after.commands - before.commands) / messages,
        "bytes_in": (after.bytes_in - before.bytes_in) / messages,
        "bytes_out": (after.bytes_out - before.bytes_out) / messages,
        "messages_per_group": messages / max(1, after.scripts - before.scripts),
        "publishes_per_group": (after.publishes - before.publishes) / max(1, after.scripts - before.scripts),
        "p50_ms": result["p50_ms"],
        "p99_ms": result["p99_ms"],
    }
