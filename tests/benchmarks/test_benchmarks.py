"""The benchmark runs, and measures everything that it says. How fast anything is, is no test's business."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.campaign import run
from tests.benchmarks.contenders import LIMIT
from tests.benchmarks.peers import Peers
from tests.benchmarks.plot import panels
from tests.benchmarks.scenarios import TINY, stages

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="what processes use is read from /proc"),
]

ROOT = Path(__file__).parents[2]
EVANESCE = "Evanesce (quart)"


def test_every_scenario_is_measured_and_written(tmp_path: Path) -> None:
    page = (ROOT / "docs/explanation/benchmarks.md").read_text()
    [shown] = re.findall(r"^```sh\n(.*)\n```$", page, re.MULTILINE)
    python, *words, folder = shlex.split(shown)
    assert (python, folder) == (".venv/bin/python", "benchmark")
    command = [sys.executable, *words, str(tmp_path), "--tiny", "--evanesce-alone"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "benchmark.json").read_text())
    figures = {name: of[EVANESCE] for name, of in written["figures"].items() if EVANESCE in of}

    def value(scenario: str, name: str) -> float:
        median: float = figures[scenario][name]["median"]
        return median

    small, large = TINY.rooms_of
    for scenario in (f"{small} members, 50 in flight", f"{large} members, 50 in flight"):
        assert value(scenario, "deliveries_per_second") > 100
        assert 0 < value(scenario, "cpu_us_per_delivery") < 100_000
        assert value(scenario, "not_arrived") == 0
    for scenario in (f"{small} members, 1 in flight", f"{TINY.steady_of} members, 10 messages/s"):
        assert 0 < value(scenario, "p50_ms") <= value(scenario, "p99_ms") < 10_000
        assert value(scenario, "not_arrived") == 0
    for rooms in TINY.small_rooms:
        assert value(f"{rooms} rooms of 4, all talking", "accepted_per_second") > 10
    for what in ("connect and join", "come back"):
        scenario = f"{TINY.returning} people {what}"
        assert 0 < value(scenario, "p50_ms") <= value(scenario, "p99_ms") <= 1000 * value(scenario, "seconds")
        assert value(scenario, "cpu_us_per_person") >= 0  # so few people may take less than a tick of the system
        assert value(scenario, "missed") == 0
    for people in TINY.storms:
        assert 1 <= value(f"{people} joins at once", "largest_inbox") <= people
        assert value(f"{people} joins at once", "told_per_person") >= 1
        assert value(f"{people} leaves at once", "seconds") > 0
    for scenario in (f"{TINY.stalled_of - 1} who read alone", f"{TINY.stalled_of - 1} who read, 1 who never does"):
        assert value(scenario, "p99_ms") > 0
    assert value("idle connections in a room", "kib_per_connection") > 0
    assert written["to_reach"]
    assert written["left_out"] == {}
    drawn = (tmp_path / "benchmark.svg").read_text()
    assert drawn.startswith("<svg ")
    assert drawn.count(f">{EVANESCE}<") == len(panels(TINY))


def test_the_limit_of_the_load_is_measured_in_the_new_stages_too(tmp_path: Path) -> None:
    wanted = [
        stage
        for stage in stages(TINY, [LIMIT], peers=False)
        if "small rooms" in stage.name or stage.name == "coming back"
    ]
    results = {result.scenario: result for result in run(wanted, Peers(tmp_path), repeats=1)}
    assert not [result.failure for result in results.values() if result.failure]
    for rooms in TINY.small_rooms:
        assert results[f"{rooms} rooms of 4, all talking"].values["accepted_per_second"] > 0
    back = results[f"{TINY.returning} people come back"].values
    assert back["missed"] == 0
    assert 0 < back["p50_ms"] <= back["p99_ms"] <= back["seconds"] * 1000
