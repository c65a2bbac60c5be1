"""Run each stage as often as requested, with the contenders by turns, so that disturbances affect all of them."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tests.benchmarks.contenders import Contender
from tests.benchmarks.load_process import begin, finish
from tests.benchmarks.peers import Peers
from tests.benchmarks.scenarios import Stage


@dataclass(frozen=True, slots=True)
class Result:
    """What one contender did in one scenario, once; with `failure` it did not."""

    scenario: str
    contender: str
    repeat: int
    values: dict[str, float]
    failure: str = ""


def prepare(stages: Sequence[Stage], peers: Peers) -> tuple[list[Stage], dict[str, str]]:
    """Fetch all contenders. Return the stages without those that cannot be had, and why, by their names."""
    left_out: dict[str, str] = {}
    for contender in dict.fromkeys(contender for stage in stages for contender in stage.contenders):
        try:
            contender.prepare(peers)
        except (RuntimeError, OSError) as failure:
            left_out[contender.name] = str(failure)
    return [_without(stage, left_out) for stage in stages], left_out


def _without(stage: Stage, left_out: Mapping[str, str]) -> Stage:
    return replace(stage, contenders=[one for one in stage.contenders if one.name not in left_out])


def run(stages: Sequence[Stage], peers: Peers, repeats: int) -> Iterator[Result]:
    """Yield every result as it comes."""
    for stage in stages:
        for repeat in range(repeats):
            for contender in stage.contenders:
                yield from _measure(stage, contender, repeat, peers)


def _measure(stage: Stage, contender: Contender, repeat: int, peers: Peers) -> Iterator[Result]:
    try:
        with contender.serve(peers) as running:
            job = stage.job | {"ports": [running.port], "pids": running.pids, "dialect": running.dialect}
            results = finish(begin(job))
            if stage.job["kind"] == "storm" and running.metrics_port is not None:
                results["joins"]["largest_inbox"] = _metric(running.metrics_port, "evanesce_inbox_largest")
    except (RuntimeError, OSError) as failure:
        for name in stage.names:
            yield Result(_scenario(stage, name), contender.name, repeat, {}, str(failure))
        return
    for name in stage.names:
        yield Result(_scenario(stage, name), contender.name, repeat, results[name])


def _scenario(stage: Stage, name: str) -> str:
    return f"{stage.job['connections']} {name} at once" if stage.job["kind"] == "storm" else name


def _metric(port: int, name: str) -> float:
    """Read one of Evanesce's metrics; -1 where there is none of that name."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
    return -1.0
