"""The two ways to check a row: tests, run by pytest, and scripts that measure; each in a child process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]

SECONDS = 3600.0
"""After how long a check counts as hanging."""

MEASURED = "measured"
"""The name of the property in which a test reports a figure: `record_property(MEASURED, "…")`."""

NOT_RUN = 77
"""The exit code of a script that cannot be run on this machine. The last line that it prints says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check has shown. `passed` is None if it could not be run; `measured` then says why."""

    passed: bool | None
    measured: str


class Check(Protocol):
    """A way to check a row."""

    def run(self, quick: bool) -> Outcome:
        """Run it, with `quick` at the size that the tests have by themselves."""
        ...


@dataclass(frozen=True)
class PytestCheck:
    """Tests by their ids. Without `quick` they have `environment`, which sets their size."""

    ids: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    def run(self, quick: bool) -> Outcome:
        """Run the tests, and return how many passed and what they have reported."""
        with tempfile.TemporaryDirectory(prefix="withstand-") as folder:
            report = Path(folder, "report.xml")
            options = ["-q", f"--junitxml={report}", "-o", "junit_family=legacy"]
            command = [sys.executable, "-m", "pytest", *options, *self.ids]
            done = _run(command, {} if quick else self.environment)
            if not report.exists():
                return Outcome(False, f"pytest ended with {done.returncode}")
            return outcome(report.read_text(), done.returncode)


@dataclass(frozen=True)
class ScriptCheck:
    """A module that measures, run by `python -m` with `arguments`, and with `--short` if the command is quick.

    The last line that it prints has the figures. It ends with 0 if the bound was met, with 1 if not, with `NOT_RUN` if
    it cannot be run here.
    """

    module: str
    arguments: Sequence[str] = ()

    def run(self, quick: bool) -> Outcome:
        """Run the script, and return its last line."""
        done = _run([sys.executable, "-m", self.module, *self.arguments, *(["--short"] if quick else [])], {})
        lines = done.stdout.strip().splitlines() or [f"{self.module} printed nothing"]
        return Outcome({0: True, NOT_RUN: None}.get(done.returncode, False), lines[-1])


def outcome(report: str, code: int) -> Outcome:
    """Read a report of pytest in the form of JUnit. `code` is its exit code."""
    cases = list(ElementTree.fromstring(report).iter("testcase"))
    skipped = [case for case in cases if case.find("skipped") is not None]
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    if cases and len(skipped) == len(cases):
        reason = skipped[0].find("skipped")
        assert reason is not None
        return Outcome(None, reason.get("message", ""))
    figures = [
        named.get("value", "") for case in cases for named in case.iter("property") if named.get("name") == MEASURED
    ]
    seconds = sum(float(case.get("time", 0)) for case in cases)
    counted = f"{len(cases) - len(skipped) - len(failed):,} tests passed in {seconds:,.0f} s"
    if skipped:
        counted += f", {len(skipped)} skipped"
    if failed:
        counted += ", failed: " + ", ".join(dict.fromkeys(case.get("name", "") for case in failed))
    return Outcome(code == 0, "; ".join([*figures, counted]))


def _run(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program in the repository. If it fails, what it printed goes to standard error."""
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if done.returncode not in (0, NOT_RUN):
        print(done.stdout[-8000:], done.stderr[-8000:], sep="\n", file=sys.stderr, flush=True)
    return done
