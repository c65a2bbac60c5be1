"""The measurement of several servers runs, and what it counts adds up. How fast anything is, is no test's business."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="what processes use is read from /proc"),
]

ROOT = Path(__file__).parents[3]


def test_every_part_is_measured_and_written(tmp_path: Path) -> None:
    page = (ROOT / "docs/explanation/scaling.md").read_text()
    [shown] = re.findall(r"^```sh\n(.*scaling.*)\n```$", page, re.MULTILINE)
    python, *words, folder = shlex.split(shown)
    assert (python, folder) == (".venv/bin/python", "benchmark")
    command = [sys.executable, *words, str(tmp_path), "--tiny"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "scaling.json").read_text())

    for row in written["capacity"]:
        assert row["messages_per_second"] > 1
        assert row["server_cpu_us"] > 0
    assert [(row["workers"], row["hint"]) for row in written["workers"]] == [(1, "yes"), (2, "no"), (2, "yes")]
    for row in written["workers"]:
        assert row["server_cpu_us"] > 0
        assert row["ratio"] > 0
    alone, *others = written["traffic"]
    assert (alone["placed"], alone["servers"], alone["in_flight"]) == ("on one of them", 1, 1)
    for row in (alone, *others):
        assert row["publishes_per_group"] == pytest.approx(1, abs=0.2), "one for each group, however many servers"
        assert row["commands"] < 2 * alone["commands"]
    [flood] = written["flood"]
    assert 0 < flood["accepted"] <= flood["allowed"]
    assert flood["accepted"] < flood["sent"]
    [failover] = written["failover"]
    assert failover["lost_connections"] > 0
    assert failover["acknowledged"] > 0
    assert (failover["not_heard"], failover["heard_twice"], failover["missed_unknown"]) == (0, 0, 0)
