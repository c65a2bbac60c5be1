"""The table has all that was promised, names tests that exist, and fails when one of them does."""

from __future__ import annotations

import ast
import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.withstand.__main__ import COLUMNS, run
from tests.withstand.checks import NOT_RUN, ROOT, Outcome, PytestCheck, ScriptCheck, outcome
from tests.withstand.rows import ROWS, Row

PROPERTIES = [
    "RFC 6455",
    "malformed frames",
    "handshake fuzz",
    "isolation",
    "sizes",
    "protocol model",
    "simulation",
    "Redis kill -9",
    "Redis SIGSTOP",
    "sqld SIGSTOP, SIGKILL",
    "server kill -9",
    "SIGTERM under load",
    "slow reader",
    "half-open",
    "slowloris",
    "idle cost",
    "memory flat",
    "nothing left, stores",
    "nothing left, memory",
    "rate limit",
    "tokens",
    "origins",
    "logs",
    "cancellation",
    "floods",
    "hostile shapes",
    "strangers",
    "revocation",
    "expiry lag",
    "Redis pauses",
    "clocks step",
    "plugins",
    "borders",
]
"""All that has to be withstood."""

IDS = sorted({test for row in ROWS for check in row.how if isinstance(check, PytestCheck) for test in check.ids})
SCRIPTS = [check for row in ROWS for check in row.how if isinstance(check, ScriptCheck)]


def test_every_property_has_its_row() -> None:
    assert [row.number for row in ROWS] == list(range(1, len(PROPERTIES) + 1))
    for row, name in zip(ROWS, PROPERTIES, strict=True):
        assert row.property.startswith(name)
        assert row.bound


def test_every_test_that_a_row_names_exists() -> None:
    for test in IDS:
        path, _, name = test.partition("::")
        if name:
            defined = ast.walk(ast.parse((ROOT / path).read_text()))
            functions = {node.name for node in defined if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert name in functions, test
        else:
            assert (ROOT / path).exists(), test


@pytest.mark.parametrize("check", SCRIPTS, ids=lambda check: check.module)
def test_every_script_that_a_row_names_takes_its_arguments(
    check: ScriptCheck, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [check.module, *check.arguments, "--short", "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(check.module).main()
    assert ended.value.code == 0
    assert "--short" in capsys.readouterr().out


def test_the_page_shows_a_row_for_each() -> None:
    page = (ROOT / "docs/explanation/resilience.md").read_text()
    _, _, section = page.partition("python -m tests.withstand\n")
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert head == list(COLUMNS)
    assert [cells[:3] for cells in rows] == [[str(row.number), row.property, row.bound] for row in ROWS]
    for row, cells in zip(ROWS, rows, strict=True):
        assert cells[3], row.number
        assert cells[4] in ("yes", "no", "not run"), row.number


PASSES = "def test_it(record_property):\n    record_property('measured', '7 of 7')\n"
FAILS = "def test_it():\n    raise AssertionError\n"
SKIPS = "import pytest\n@pytest.mark.skip(reason='no moon')\ndef test_it():\n    pass\n"


def test_a_check_with_a_test_that_fails_fails(tmp_path: Path) -> None:
    files = [tmp_path / f"test_{number}.py" for number in range(3)]
    for file, text in zip(files, (PASSES, FAILS, SKIPS), strict=True):
        file.write_text(text)
    found = PytestCheck([str(file) for file in files]).run(quick=False)
    assert found == Outcome(False, "7 of 7; 1 tests passed in 0 s, 1 skipped, failed: test_it")


def test_tests_that_were_skipped_or_broke_at_their_start_are_told() -> None:
    passed = '<testcase name="test_it" time="0.6"/>'
    skipped = '<testcase name="test_it" time="0.1"><skipped message="no moon"/></testcase>'
    broken = '<testcase name="test_it" time="0.1"><error message="x"/></testcase>'
    report = f"<testsuite>{passed}{skipped}</testsuite>"
    assert outcome(report, 0) == Outcome(True, "1 tests passed in 1 s, 1 skipped")
    assert outcome(f"<testsuite>{broken}</testsuite>", 1) == Outcome(False, "0 tests passed in 0 s, failed: test_it")
    assert outcome(f"<testsuite>{skipped}{skipped}</testsuite>", 0) == Outcome(None, "no moon")
    assert outcome("<testsuite></testsuite>", 5).passed is False


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ("0", Outcome(True, "figures")),
        ("1", Outcome(False, "figures")),
        (str(NOT_RUN), Outcome(None, "figures")),
        ("1/0", Outcome(False, "figures")),
    ],
)
def test_a_script_says_by_its_end_whether_the_bound_was_met(
    ends: str, expected: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "measuring.py").write_text(f"import sys\nprint('table')\nprint('figures')\nsys.exit({ends})\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert ScriptCheck("measuring").run(quick=False) == expected


@dataclass(frozen=True)
class Known:
    """A check with a known outcome."""

    outcome: Outcome

    def run(self, quick: bool) -> Outcome:
        assert quick
        return self.outcome


GOOD, BAD, ABSENT = Known(Outcome(True, "1 ms")), Known(Outcome(False, "9 s")), Known(Outcome(None, "no moon"))


@pytest.mark.parametrize(
    ("checks", "code", "measured", "met"),
    [
        ([GOOD], 0, "1 ms", "yes"),
        ([GOOD, BAD], 1, "1 ms; 9 s", "no"),
        ([ABSENT, BAD], 1, "no moon; 9 s", "no"),
        ([GOOD, ABSENT], 0, "1 ms; no moon", "not run"),
        ([], 0, "there is no check yet", "not run"),
    ],
)
def test_the_command_ends_with_1_where_a_bound_was_not_met(
    checks: list[Known], code: int, measured: str, met: str, capsys: pytest.CaptureFixture[str]
) -> None:
    others = [Row(number, "a property", "a bound", [GOOD]) for number in (1, 3)]
    assert run([others[0], Row(2, "a property", "a bound", checks), others[1]], quick=True) == code
    title, _, head, _, first, line, last = capsys.readouterr().out.splitlines()
    assert title.startswith("## ")
    assert head == f"| {' | '.join(COLUMNS)} |"
    assert line == f"| 2 | a property | a bound | {measured} | {met} |"
    assert first.endswith("| 1 ms | yes |")
    assert last.endswith("| 1 ms | yes |")
