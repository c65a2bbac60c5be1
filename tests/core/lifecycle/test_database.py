"""The lock on a database file: one server with an embedded Valkey at a time, even if it is killed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from evanesce.errors import ConfigurationError
from evanesce.lifecycle.database import locked

HOLDER = """
import sys
from pathlib import Path
from evanesce.lifecycle.database import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_file_is_locked_once_and_free_again_afterwards(tmp_path: Path) -> None:
    database = tmp_path / "evanesce.db"
    for _ in range(2):
        with locked(database):
            problem = r"redis\.url: another server with an embedded Valkey"
            with pytest.raises(ConfigurationError, match=problem), locked(database):
                pytest.fail("it is locked")
            with locked(tmp_path / "another.db"):
                pass
    assert stat.S_IMODE((tmp_path / "evanesce.db.lock").stat().st_mode) == 0o600
    assert not database.exists()


def test_a_process_that_is_killed_leaves_no_lock(tmp_path: Path) -> None:
    database = tmp_path / "evanesce.db"
    command = [sys.executable, "-c", HOLDER, str(database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(ConfigurationError), locked(database):
            pytest.fail("another process has it")
        holder.kill()
        holder.wait(60)
        with locked(database):
            pass


def test_a_lock_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    for database in (tmp_path / "none" / "evanesce.db", tmp_path / "linked.db"):
        if database.parent == tmp_path:
            os.symlink(
                "/dev/null", f"{database}.lock"
            )  # another user who may write to the folder must not choose the file
        with pytest.raises(ConfigurationError, match="cannot be created"), locked(database):
            pytest.fail("there is no lock")
