"""Two real servers on one Valkey that are not set alike: both say so, and `evanesce check` does, before a third."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.running import Server
from tests.e2e.valkey import Valkey

pytestmark = pytest.mark.slow

SECONDS = 60.0
SECRET = "another-secret-that-is-long-enough"

CASES = {
    "secret": (f"server.secret={SECRET}", "server.secret", True),
    "TTL": ("messages.ttl=30", "messages.ttl", False),
    "database": ("plugins.sqlite.path=own.db", "the database", True),
    "limit": ("limits.rooms_per_hour=5", "limits.rooms_per_hour", False),
}


def warnings(server: Server) -> list[str]:
    return [line for line in server.errors.splitlines() if "set otherwise" in line]


def wait_for(server: Server, name: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not any(name in line for line in warnings(server)):
        assert time.monotonic() < deadline, server.errors
        time.sleep(0.05)  # nothing tells that a line was written


@pytest.mark.parametrize(("setting", "name", "fails"), CASES.values(), ids=CASES)
def test_both_say_so_and_check_too(
    serve_shared: Callable[..., Server], valkey: Valkey, setting: str, name: str, fails: bool, tmp_path: Path
) -> None:
    one = serve_shared()
    two = serve_shared(setting)
    for server in (one, two):
        wait_for(server, name)
        [line] = warnings(server)
        assert "WARNING" in line
        assert SECRET not in server.errors
    assert not any(SECRET in repr(value) for value in valkey.client.hvals("evanesce:{servers}:settings"))

    checked = check(two)
    [servers] = [one for one in checked["checks"] if one["part"] == "servers"]  # type: ignore[attr-defined]
    assert servers["status"] == ("fail" if fails else "warn")
    assert name in servers["detail"]
    assert servers["advice"]

    one.stop()
    assert check(two)["ok"], "the only one that runs is set as this one"


def test_servers_that_are_set_alike_say_nothing(serve_shared: Callable[..., Server]) -> None:
    one, two = serve_shared(), serve_shared()
    checked = check(two)
    assert {"part": "servers", "status": "ok", "detail": "2 on this Redis, with the same settings", "advice": ""} in (
        checked["checks"]
    )
    assert warnings(one) == warnings(two) == []


def check(server: Server) -> dict[str, object]:
    """Run `evanesce check --json` with the settings of a server, in its folder."""
    command = [sys.executable, "-m", "evanesce", "check", "--json"]
    for setting in server.settings:
        command += ["--set", setting]
    done = subprocess.run(command, cwd=server.folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    answer: dict[str, object] = json.loads(done.stdout)
    assert done.returncode == (0 if answer["ok"] else 1), done.stderr
    return answer
