"""Reads what `evanesce check` prints."""

from __future__ import annotations

import re
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table."""

    part: str
    status: str
    detail: str
    advice: str


def rows(output: str) -> list[Row]:
    """Read the table as it is printed where there is no terminal: a line for each check."""
    head, *lines = output.splitlines()
    assert re.split(r" +\| ", head) == ["part", "result", "what to do"]
    return [_row(line) for line in lines]


def _row(line: str) -> Row:
    part, how, advice = (*line.split(" | "), "")[:3]
    status, _, detail = how.partition(" ")
    assert status in ("ok", "warn", "FAIL"), line
    return Row(part.strip(), status, detail.strip(), advice)


def failure(output: str) -> Row:
    """Return the only check that failed."""
    [found] = [row for row in rows(output) if row.status == "FAIL"]
    return found
