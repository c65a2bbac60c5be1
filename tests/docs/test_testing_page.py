"""The guide to the testing kit works as it is written: its files, run by pytest."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs/how-to/test-a-plugin.md"
FILES = dict(re.findall(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S))
SIGN_IN_PAGE = PAGE.with_name("write-a-sign-in-plugin.md").read_text("utf-8")
[FILES["evanesce_accounts.py"]] = re.findall(r"^<!-- accounts -->\n```python\n(.*?)^```$", SIGN_IN_PAGE, re.M | re.S)
TESTS = [name for name in FILES if name.startswith("test_")]


def test_every_example_is_a_file_that_is_run() -> None:
    blocks = re.findall(r"^```(?:python|toml)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(blocks) == len(FILES) - 1, "one of them is on another page"
    assert len(TESTS) >= 4


@pytest.mark.parametrize("name", TESTS)
def test_the_tests_of_the_page_pass(tmp_path: Path, name: str) -> None:
    for file, text in FILES.items():
        (tmp_path / file).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [passed] = re.findall(r"^(\d+) passed", done.stdout, re.MULTILINE)
    written = FILES[name].count("async def test_")
    assert int(passed) == written if written else int(passed) >= 10, "those of a contract"
