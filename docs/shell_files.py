"""The completions for shells and the manual page of the command `evanesce`, made from its parsers.

`python -m docs.generate` writes them into `docs/command-line`; the wheel installs them where shells and `man` look.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

import shtab
from argparse_manpage.manpage import Manpage

from evanesce.cli import main

FOLDER = Path(__file__).parent / "command-line"
SHELLS = ("bash", "zsh", "fish")


def files() -> dict[Path, str]:
    """Return the text of each file."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"  # argparse breaks its lines for the terminal that it finds
    try:
        found = {FOLDER / f"evanesce.{shell}": shtab.complete(_parser(), shell) for shell in SHELLS}
        found[FOLDER / "evanesce.1"] = _manual()
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before
    return {path: _stripped(text) for path, text in found.items()}


def _parser() -> argparse.ArgumentParser:
    parser = main.command_parser()
    _complete_files(parser)
    return parser


def _complete_files(parser: argparse.ArgumentParser) -> None:
    """Complete the names of files where an argument is a path."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _complete_files(command)
        elif action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]


def _manual() -> str:
    manual = Manpage(_parser())
    manual.manual = "Evanesce"
    text = str(manual)
    # Without the day, so that the page changes only with the commands.
    heading = '.TH EVANESCE "1" "" "evanesce" "Evanesce"'
    return re.sub(r"^\.TH .*$", heading, text, count=1, flags=re.MULTILINE)


def _stripped(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).strip() + "\n"
