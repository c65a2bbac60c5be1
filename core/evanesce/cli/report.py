"""The output of `evanesce check`: a table with a line for each check as soon as it is made, or one JSON object."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from itertools import zip_longest
from typing import Literal, NamedTuple

from evanesce import logs
from evanesce.cli.exit_status import deployer_error
from evanesce.errors import ConfigurationError, Unavailable

Status = Literal["ok", "warn", "fail"]

PART_WIDTH = 22
"""The width of the first column: no part of Evanesce itself has a longer name."""

LEAST_WIDTH = 80
"""The width from which on a terminal shows the table in columns with wrapped lines."""

_SEPARATOR = " | "
_SHOWN: dict[Status, str] = {"ok": "ok", "warn": "warn", "fail": "FAIL"}


class Check(NamedTuple):
    """The check of one part: its result, and what to do about it (empty if there is nothing to do)."""

    part: str
    status: Status
    detail: str
    advice: str


class Report:
    """Collect and print the checks. `failed`: a part cannot be used; `refused`: a setting is the reason.

    The table is printed check by check: in columns on a terminal, elsewhere as one line each. With `as_json`, `finish`
    prints everything.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.failed = self.refused = False
        self._as_json = as_json
        self._checks: list[Check] = []
        self._finished = False

    def ok(self, part: str, text: str) -> None:
        """Add a check that passed."""
        self._add(Check(part, "ok", text, ""))

    def warn(self, part: str, text: str, advice: str = "") -> None:
        """Add a check with a warning, and what to do about it."""
        self._add(Check(part, "warn", text, advice))

    def fail(self, part: str, text: str, advice: str = "", *, setting: bool = False) -> None:
        """Add a check that failed, and what to do. `setting`: the reason is a setting that `serve` refuses too."""
        self.failed = True
        self.refused |= setting
        self._add(Check(part, "fail", text, advice))

    def fault(self, part: str, error: BaseException) -> None:
        """Add a check that raised. The text of the error is shown only where it is known to contain no secrets."""
        known = deployer_error(error)
        match known:
            case ConfigurationError():
                self.fail(part, f"{known.path}: {known.problem}", known.hint, setting=True)
            case Unavailable():
                self.fail(part, known.message, known.advice)
            case None:
                self.fail(part, logs.folded(error))
            case _:
                self.fail(part, str(known))

    def finish(self) -> None:
        """Print the JSON object, if `as_json` is set. A second call does nothing."""
        if self._as_json and not self._finished:
            print(json.dumps({"ok": not self.failed, "checks": [check._asdict() for check in self._checks]}))
            sys.stdout.flush()
        self._finished = True

    def refuse(self, error: BaseException) -> None:
        """Finish where an error prevented all checks: the JSON object has the one check `configuration`.

        The table is empty then, because the command prints the error itself.
        """
        if self._as_json and not self._finished:
            self.fault("configuration", error)
        self.finish()

    def _add(self, check: Check) -> None:
        first = not self._checks
        self._checks.append(check)
        if self._as_json:
            return
        if first:
            _print("part", "result", "what to do")
        _print(check.part, f"{_SHOWN[check.status]:<4} {check.detail}", check.advice)


def _print(*cells: str) -> None:
    shown = [logs.escaped(cell) for cell in cells]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    if width < LEAST_WIDTH:
        print(_row(shown[0].ljust(PART_WIDTH), *shown[1:]), flush=True)
        return
    left = width - PART_WIDTH - 2 * len(_SEPARATOR)
    widths = (PART_WIDTH, left * 3 // 5, left - left * 3 // 5)
    # Not at hyphens, which paths and settings contain.
    columns = [textwrap.wrap(cell, wide, break_on_hyphens=False) for cell, wide in zip(shown, widths, strict=True)]
    for lines in zip_longest(*columns, fillvalue=""):
        print(_row(*(line.ljust(wide) for line, wide in zip(lines, widths, strict=True))), flush=True)


def _row(*cells: str) -> str:
    return _SEPARATOR.join(cells).rstrip(" |")
