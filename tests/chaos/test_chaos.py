"""The chaos command runs and measures everything. The figures themselves are not tested here."""

from __future__ import annotations

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

ROOT = Path(__file__).parents[2]


def rows(text: str) -> list[list[str]]:
    """Read the rows of the first table."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_command_of_the_page_measures_how_late_keys_are_erased() -> None:
    page = (ROOT / "docs/explanation/data-lifetime.md").read_text()
    [shown] = re.findall(r"^```sh\n(.*)\n```$", page, re.MULTILINE)
    python, *words = shlex.split(shown)
    assert python == ".venv/bin/python"
    command = [sys.executable, *words, "--short"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    measured = rows(done.stdout)
    assert len(measured) == len(rows(page)), "the page shows a row for each that is measured"
    for beside, messages, *lags in measured:
        assert int(messages.replace(",", "")) > 0, beside
        with_eraser, without = lags[:3], lags[3:]
        assert not any(lag.startswith(">") for lag in with_eraser), f"{beside}: not all was erased"
        p50, p99, worst = (int(lag.replace(",", "")) for lag in with_eraser)
        assert 0 <= p50 <= p99 <= worst
        assert all(re.fullmatch(r"(> )?[\d,]+", lag) for lag in without)
    assert len(re.findall(r"^CPU of the store and Valkey per message, .*: \d+ µs with", done.stdout, re.MULTILINE)) == 2
