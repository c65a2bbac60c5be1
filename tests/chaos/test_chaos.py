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


PAGE = (ROOT / "docs/explanation/data-lifetime.md").read_text()


def tables(text: str) -> list[list[list[str]]]:
    """Read the rows of each table."""
    found: list[list[list[str]]] = []
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        lines = block.splitlines()[2:]
        found.append([[cell.strip() for cell in line.strip("|").split("|")] for line in lines])
    return found


def run(stage: str) -> str:
    """Run the command of the page for a stage, in short, and return what it prints."""
    [shown] = [line for line in re.findall(r"^```sh\n(.*)\n```$", PAGE, re.MULTILINE) if line.endswith(f" {stage}")]
    python, *words = shlex.split(shown)
    assert python == ".venv/bin/python"
    command = [sys.executable, *words, "--short"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_of_the_page_measures_how_late_keys_are_erased() -> None:
    printed = run("expiry")
    [measured] = tables(printed)
    assert len(measured) == len(tables(PAGE)[0]), "the page shows a row for each that is measured"
    for beside, messages, *lags in measured:
        assert int(messages.replace(",", "")) > 0, beside
        with_eraser, without = lags[:3], lags[3:]
        assert not any(lag.startswith(">") for lag in with_eraser), f"{beside}: not all was erased"
        p50, p99, worst = (int(lag.replace(",", "")) for lag in with_eraser)
        assert 0 <= p50 <= p99 <= worst
        assert all(re.fullmatch(r"(> )?[\d,]+", lag) for lag in without)
    assert len(re.findall(r"^CPU of the store and Valkey per message, .*: \d+ µs with", printed, re.MULTILINE)) == 2


def test_the_command_of_the_page_measures_each_version_and_failovers() -> None:
    """On the installed version alone: the others would have to be fetched."""
    [measured] = tables(run("expiry_versions"))
    assert [row[0] for row in measured] == [row[0] for row in tables(PAGE)[1]], "the page shows what is measured"
    for row, figures in measured:
        assert re.match(r"none|[\d,]+ / [\d,]+ / [\d,]+", figures), f"{row}: {figures}"


def test_the_command_of_the_page_counts_what_is_left_in_memory() -> None:
    [measured] = tables(run("memory"))
    assert [row[:3] for row in measured] == [row[:3] for row in tables(PAGE)[2]], "the page shows what is measured"
    for beside, ended_by, process, messages, *counts in measured:
        before, *after = map(float, counts)
        if (ended_by, process) == ("expiry", "Valkey"):
            assert before >= float(messages), f"{beside}: the messages are found while they live"
        assert len(after) == 2
