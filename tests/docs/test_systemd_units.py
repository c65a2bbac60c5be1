"""The units of systemd are valid, their sandbox is tight, and they fit the shipped configuration and the page."""

from __future__ import annotations

import re
import subprocess
import tomllib
from configparser import RawConfigParser
from pathlib import Path

import pytest

from evanesce.config.model import ServerTable
from tests.programs import find_program

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "docs/examples/systemd"
PAGE = (ROOT / "docs/how-to/run-under-systemd.md").read_text("utf-8")
MOST_EXPOSED = 1.5
"""Of 10, as `systemd-analyze security` counts; from 2 on it no longer calls a service well protected."""


def unit(name: str) -> RawConfigParser:
    # systemd adds up lines with the same key, which no test here reads.
    parser = RawConfigParser(strict=False, delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNITS / name)
    return parser


@pytest.fixture
def analyze() -> Path:
    return find_program("systemd-analyze", "systemd")


@pytest.fixture
def installed(tmp_path: Path) -> list[Path]:
    """The units, with a program that exists here."""
    program = tmp_path / "evanesce"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    files: list[Path] = []
    for file in sorted(UNITS.iterdir()):
        text = file.read_text()
        files.append(tmp_path / file.name)
        files[-1].write_text(text.replace("/opt/evanesce/bin/evanesce", str(program)))
    assert [file.name for file in files] == ["evanesce.service", "evanesce.socket"]
    return files


def test_systemd_finds_no_fault_in_the_units(analyze: Path, installed: list[Path]) -> None:
    command = [analyze, "verify", "--recursive-errors=no", *installed]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    # Other units of the machine, which systemd reads as well, may have faults.
    ours = [line for line in done.stderr.splitlines() if "evanesce" in line]
    assert (done.returncode, ours) == (0, [])


def test_systemd_finds_a_seeded_fault(analyze: Path, installed: list[Path]) -> None:
    installed[0].write_text(installed[0].read_text().replace("Type=notify", "Type=notified"))
    command = [analyze, "verify", "--recursive-errors=no", *installed]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "notified" in done.stderr


def test_the_sandbox_is_tight_and_the_page_says_how_tight(analyze: Path) -> None:
    command = [analyze, "security", "--offline=true", "--no-pager", UNITS / "evanesce.service"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    [rating] = re.findall(r"Overall exposure level for evanesce.service: ([\d.]+)", done.stdout)
    assert float(rating) <= MOST_EXPOSED
    [shown] = re.findall(r"rates it ([\d.]+) of 10", PAGE)
    assert float(shown) <= MOST_EXPOSED


def test_the_socket_is_that_of_the_shipped_configuration() -> None:
    configuration = tomllib.loads((ROOT / "config.toml").read_text())
    assert unit("evanesce.socket")["Socket"]["ListenStream"] == configuration["plugins"]["quart"]["bind"]


def test_a_stop_may_take_as_long_as_the_default_drain() -> None:
    defaults = ServerTable()
    service = unit("evanesce.service")["Service"]
    assert float(service["TimeoutStopSec"]) > defaults.lame_duck_seconds + defaults.drain_seconds + 5
    assert service["Type"] == "notify"
    assert float(service["WatchdogSec"]) >= 10
