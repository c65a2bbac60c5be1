"""The command `evanesce client-conformance`: its output and its exit codes."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evanesce.cli.main import main
from evanesce.conformance.transcript import shipped

REFERENCE = shlex.join([sys.executable, str(Path(__file__).parents[2] / "conformance" / "reference_client.py")])


def test_it_lists_the_transcripts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["client-conformance", "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{one.name}: {one.about}" for one in shipped().values()]


def test_a_client_that_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--command", REFERENCE, "--only", "first_chat", "--only", "own_id", "--jobs", "2"]
    assert main(["client-conformance", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[1] for line in lines[:2]} == {"first_chat", "own_id"}
    assert lines[2:] == ["2 of 2 transcripts succeeded"]


def test_a_client_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--command", f"{REFERENCE} --fault sends_in_parallel", "--only", "sends_in_order", "--json"]
    assert main(["client-conformance", *arguments]) == 1
    [outcome] = json.loads(capsys.readouterr().out)
    assert outcome["name"] == "sends_in_order"
    assert outcome["failure"]["expected"] == "nothing more"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--command", "client", "--only", "nothing"], "--only: there is no transcript nothing. --list lists them."),
        (["--command", "client", "--jobs", "0"], "--jobs: it must be at least 1. Leave it out for 4."),
        (["--command", "'"], "--command: No closing quotation. Quote it as in a shell."),
        (["--command", " "], '--command: it names no program. For example "node my-client.js".'),
        (
            ["--command", "/no/such/program"],
            "--command: /no/such/program cannot be started: No such file or directory.",
        ),
    ],
)
def test_what_the_caller_has_to_correct(capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str) -> None:
    assert main(["client-conformance", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"evanesce: {problem}")


def test_it_can_be_interrupted() -> None:
    arguments = [sys.executable, "-m", "evanesce", "client-conformance", "--command", REFERENCE]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ok ")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
