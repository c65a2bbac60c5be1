"""The pytest plugin: its clock, and what the report of a contract's test that fails says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from evanesce.testing.contracts import RepositoryContract

pytestmark = pytest.mark.slow

CLOCKS = """
import pytest
import trio
from trio.testing import MockClock

@pytest.fixture
def own_clock():
    return MockClock(autojump_threshold=0, rate=0)

async def test_the_clock_jumps(plugin_server):
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock) and clock.autojump_threshold == 0
    await trio.sleep(1_000_000)

async def test_a_clock_of_the_tests_own_is_used(plugin_server, own_clock):
    assert trio.lowlevel.current_clock() is own_clock

def test_a_test_without_trio_may_name_it(plugin_server):
    assert callable(plugin_server)
"""

FORGETFUL = """
from evanesce.testing import MemoryRepository
from evanesce.testing.contracts import RepositoryContract

class Forgetful(MemoryRepository):
    async def close_room(self, room_id, now):
        await super().close_room(room_id, now)
        return True

class TestForgetful(RepositoryContract):
    async def make_repository(self, folder):
        return Forgetful()
"""


def run(folder: Path, code: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on a file, in a folder without a configuration."""
    (folder / "test_it.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_it.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_the_fixture_brings_a_clock_that_jumps_without_a_setting(tmp_path: Path) -> None:
    done = run(tmp_path, CLOCKS)
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_a_contract_that_is_broken_says_what_it_wants_and_where_that_is_documented(tmp_path: Path) -> None:
    done = run(tmp_path, FORGETFUL, "-k", "closed_once or no_records")
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "A room is closed once." in done.stdout
    assert "See docs/reference/python-api/interfaces.md#repository" in done.stdout
    assert "assert not True" in done.stdout, "the values are shown"


async def test_a_contract_without_its_part_says_what_to_override(tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError, match="override make_repository"):
        await RepositoryContract().make_repository(tmp_path)
