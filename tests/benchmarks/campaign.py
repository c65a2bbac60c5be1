"""Runs the stages: each as often as asked, the contenders by turns, so that what disturbs one disturbs all."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.contenders import LOAD_CORE, Contender, Running
from tests.benchmarks.peers import Peers
from tests.benchmarks.processes import on_core
from tests.benchmarks.scenarios import Stage

LOAD_SECONDS = 400
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Result:
    """What one contender did in one scenario, once; with `failure` it did not."""

    scenario: str
    contender: str
    repeat: int
    values: dict[str, float]
    failure: str = ""


def run(stages: Sequence[Stage], peers: Peers, repeats: int) -> Iterator[Result]:
    """Give every result as it comes."""
    for stage in stages:
        for repeat in range(repeats):
            for contender in stage.contenders:
                yield from _measure(stage, contender, repeat, peers)


def _measure(stage: Stage, contender: Contender, repeat: int, peers: Peers) -> Iterator[Result]:
    try:
        with contender.serve(peers) as running:
            results = _load(stage.job, running)
            if stage.job["kind"] == "storm" and running.metrics_port is not None:
                results["joins"]["largest_inbox"] = _metric(running.metrics_port, "evanesce_inbox_largest")
    except (RuntimeError, OSError) as failure:
        for name in stage.names:
            yield Result(_scenario(stage, name), contender.name, repeat, {}, str(failure))
        return
    for name in stage.names:
        yield Result(_scenario(stage, name), contender.name, repeat, results[name])


def _scenario(stage: Stage, name: str) -> str:
    return f"{stage.job['people']} {name} at once" if stage.job["kind"] == "storm" else name


def _load(job: dict[str, Any], running: Running) -> dict[str, dict[str, float]]:
    whole = job | {"port": running.port, "pids": running.pids, "dialect": running.dialect}
    with on_core(LOAD_CORE):
        load = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.load"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        said, errors = load.communicate(json.dumps(whole), timeout=LOAD_SECONDS)
    except subprocess.TimeoutExpired:
        load.kill()
        load.communicate()
        raise RuntimeError(f"the load took more than {LOAD_SECONDS} s") from None
    if load.returncode:
        raise RuntimeError(f"the load failed: {errors.strip().splitlines()[-1]}")
    results: dict[str, dict[str, float]] = json.loads(said)
    return results


def _metric(port: int, name: str) -> float:
    """Read one of Evanesce's metrics; -1 where there is none of that name."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
    return -1.0
