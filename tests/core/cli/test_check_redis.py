"""`evanesce check` fails for a Redis that answers and cannot carry one message, or would keep it on a disk."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checks import Row, rows
from tests.core.store.backends import SMALLEST_ACCESS
from tests.e2e.valkey import Valkey
from tests.ports import free_port

pytestmark = pytest.mark.slow

OPTIONS = ("--set", f"server.secret={'s' * 32}", "--set", "plugins.quart.bind=127.0.0.1:0")


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with Valkey() as server:
        server.client.execute_command("ACL", "SETUSER", "chat", "on", ">secret", *SMALLEST_ACCESS.split())
        yield server


def check(folder: Path, valkey: Valkey, *options: str) -> tuple[int, str]:
    url = valkey.url.replace("unix://", "unix://chat:secret@")
    command = [sys.executable, "-m", "evanesce", "check", "--set", f"redis.url={url}", *OPTIONS, *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert "secret@" not in done.stdout + done.stderr
    return done.returncode, done.stdout


def of_redis(output: str) -> dict[str, Row]:
    return {row.part: row for row in rows(output) if row.part.startswith("redis")}


def test_it_passes_with_the_documented_access(tmp_path: Path, valkey: Valkey) -> None:
    code, output = check(tmp_path, valkey)
    assert code == 0
    found = of_redis(output)
    assert {part: row.status for part, row in found.items() if row.status != "ok"} == {"redis settings": "warn"}
    assert "slowlog-log-slower-than" in output, "a Redis as it comes keeps slow commands"
    # Of the server that it was for a moment nothing has a name any more.
    assert {key.rpartition(b":")[2] for key in valkey.client.scan_iter()} <= {b"since", b"heard"}
    assert valkey.client.pubsub_shardchannels() == []


@pytest.mark.parametrize(
    ("command", "part", "detail", "advice"),
    [
        ("ACL SETUSER chat -xadd -mget", "redis rights", "may not run MGET, XADD", "ACL SETUSER USER +mget +xadd"),
        ("ACL SETUSER chat resetkeys ~other:*", "redis rights", "may not read and write the keys", "~evanesce:*"),
        ("ACL SETUSER chat resetchannels &other:*", "redis message", "could not be followed", ""),
        ("REPLICAOF 127.0.0.1 1", "redis", "it is a replica", "Name its primary"),
        ("CONFIG SET save 60", "redis persistence", "save: snapshots keep content", 'Set save to ""'),
        ("CONFIG SET appendonly yes", "redis persistence", "appendonly: the append-only file", "Set appendonly to no"),
        ("ACL SETUSER chat -config", "redis persistence", "CONFIG GET is refused", "+config|get"),
    ],
)
def test_it_fails_and_says_what_to_do(
    tmp_path: Path, valkey: Valkey, command: str, part: str, detail: str, advice: str
) -> None:
    words = ["CONFIG", "SET", "save", "60 1"] if command == "CONFIG SET save 60" else command.split()
    valkey.client.execute_command(*words)
    code, output = check(tmp_path, valkey)
    assert code == 1, output
    row = of_redis(output)[part]
    assert row.status == "FAIL"
    assert detail in row.detail
    assert advice in row.advice


def test_json_tells_the_same(tmp_path: Path, valkey: Valkey) -> None:
    valkey.client.config_set("save", "60 1")
    code, output = check(tmp_path, valkey, "--json")
    told = json.loads(output)
    assert (code, told["ok"]) == (1, False)
    [failed] = [found for found in told["checks"] if found["status"] == "fail"]
    assert failed["part"] == "redis persistence"
    assert failed["advice"] == 'Set save to "" in Redis.'


def test_a_fault_of_redis_is_told_once(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "evanesce", "check", "--set", f"redis.url={url}", *OPTIONS]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "nothing listens there" in of_redis(done.stdout)["redis"].detail
    assert done.stderr == "", "the table says it: nothing is logged between its lines"
