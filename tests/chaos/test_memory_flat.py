"""A short run of the stage `memory_flat`: too short for its drift to mean anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.memory_flat import COLUMNS, MEMBERS, SHORT, Memory

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="what processes use is read from /proc"),
]

ROOT = Path(__file__).parents[2]
COMMAND = "python -m tests.chaos --only memory_flat"


def test_the_command_of_the_page_measures_the_memory_while_every_message_arrives() -> None:
    assert f"```sh\n{COMMAND}\n```" in (ROOT / "docs/explanation/resilience.md").read_text()
    command = [sys.executable, *COMMAND.split()[1:], "--short"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")][2:]
    assert [row[0] for row in rows] == ["server", "Valkey"]
    for row in rows:
        assert len(row) == len(COLUMNS)
        assert all(float(size) > 1 for size in row[1:4])
    assert f"{SHORT.messages:,} messages of 100 bytes, {SHORT.messages * MEMBERS:,} deliveries" in done.stdout


@pytest.mark.parametrize(
    ("samples", "drift"), [([50] * 20 + [100] * 80, 0.0), ([0] * 20 + [*range(100, 180)], 79 / 139.5)]
)
def test_the_drift_is_that_of_the_last_four_fifths(samples: list[int], drift: float) -> None:
    memory = Memory("server", 0, samples)
    assert memory.drift() == pytest.approx(drift)
    assert memory.row()[-1] == ("yes" if drift < 0.02 else "no")
