"""The list of changes is well-formed, also after two changes to it were merged."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

CHANGES = (Path(__file__).parents[2] / "CHANGELOG.md").read_text("utf-8")
RELEASES = re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", CHANGES, re.MULTILINE | re.DOTALL)
SECTIONS = ["To do when you upgrade", "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def test_the_first_release_is_the_next_one_and_the_others_have_a_day() -> None:
    assert RELEASES[0][0] == "[Unreleased]"
    for heading, _ in RELEASES[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", heading)


def test_no_section_is_there_twice_and_all_are_in_order() -> None:
    for heading, text in RELEASES:
        found = re.findall(r"^### (.*)$", text, re.MULTILINE)
        assert [SECTIONS.index(section) for section in found] == sorted({SECTIONS.index(one) for one in found}), heading


def test_no_change_is_there_twice_and_none_is_cut() -> None:
    lines = CHANGES.splitlines()
    items = [line for line in lines if line.startswith("- ")]
    assert len(items) > 100
    assert sorted(items) == sorted(set(items))
    for before, line in pairwise(lines):
        if line.startswith("  "):
            assert not before or before.startswith(("- ", "  ")), f"nothing begins what goes on with {line!r}"
    assert not re.search(r"^(<{7}|={7}|>{7})", CHANGES, re.MULTILINE)
