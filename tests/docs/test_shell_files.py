"""The completions and the manual page are what the parsers say, and real shells complete by them."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from docs import shell_files
from evanesce.cli.main import command_parser
from tests.patience import PATIENCE
from tests.programs import find_program

pytestmark = pytest.mark.slow  # what argparse writes into the manual page differs between versions of Python

FILES = shell_files.files()
COMPLETED = {
    "evanesce ad": "admin",
    "evanesce admin dis": "disconnect",
    "evanesce serve --work": "--workers",
    "evanesce schema open": "openapi",
    "evanesce worldid-sim": "worldid-simulator",
}
LINES = pytest.mark.parametrize(("line", "completed"), COMPLETED.items())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_is_as_the_parsers_say(file: Path) -> None:
    assert file.read_text("utf-8") == FILES[file], "run `python -m docs.generate`"


def typed_into_bash(setup: str, line: str) -> str:
    """Return what a terminal with an interactive bash shows after `line` and a tab were typed."""
    process, terminal = pty.fork()
    if process == 0:
        own = {"PS1": "READY>", "TERM": "dumb", "HISTFILE": "/dev/null", "INPUTRC": "/dev/null"}
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], os.environ | own)
    try:
        os.write(terminal, f"{setup}\n".encode())
        read_until(terminal, r"READY>.*READY>")
        os.write(terminal, f"{line}\t".encode())
        shown = read_until(terminal, re.escape(COMPLETED[line]))
        os.write(terminal, b"\x15exit\n")
        return shown
    finally:
        os.close(terminal)
        os.waitpid(process, 0)


def read_until(terminal: int, pattern: str) -> str:
    shown = ""
    deadline = time.monotonic() + PATIENCE
    while not re.search(pattern, shown, re.DOTALL):
        readable, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert readable, f"the terminal shows {shown!r}"
        shown += os.read(terminal, 4096).decode()
    return shown


@LINES
def test_a_tab_in_bash(line: str, completed: str) -> None:
    find_program("bash", "bash")
    shown = typed_into_bash(f"source {shell_files.FOLDER}/evanesce.bash", line)
    assert shown.rstrip().endswith(line.rsplit(" ", 1)[0] + " " + completed)


@LINES
def test_a_tab_in_fish(tmp_path: Path, line: str, completed: str) -> None:
    fish = find_program("fish", "fish")
    command = f"source {shell_files.FOLDER}/evanesce.fish; complete --do-complete '{line}'"
    done = subprocess.run(
        [fish, "--no-config", "-c", command],
        env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert completed in [offered.split("\t")[0] for offered in done.stdout.splitlines()], done


def test_zsh_takes_its_file_for_the_command(tmp_path: Path) -> None:
    zsh = find_program("zsh", "zsh")
    (tmp_path / "_evanesce").write_text(FILES[shell_files.FOLDER / "evanesce.zsh"])
    script = f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -D; print -r -- $_comps[evanesce]"
    done = subprocess.run([zsh, "-f", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("_evanesce\n", "")
    subprocess.run([zsh, "-f", "-n", tmp_path / "_evanesce"], check=True, timeout=60)


def test_the_manual_page_has_every_command() -> None:
    man = find_program("man", "man-db")
    done = subprocess.run(
        [man, "--warnings", "-l", shell_files.FOLDER / "evanesce.1"],
        env=os.environ | {"MANWIDTH": "100", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    [commands] = [action.choices for action in command_parser()._actions if isinstance(action.choices, dict)]
    assert {"serve", "admin", "db", "worldid-simulator"} <= commands.keys()
    for command in commands:
        assert f"evanesce {command}\n" in done.stdout
