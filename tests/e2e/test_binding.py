"""Servers that must not share a database, as processes: refused in words, and never one that comes back by itself."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.core.cli.test_commands import run
from tests.e2e.running import Server
from tests.e2e.valkey import Valkey
from tests.ports import free_port
from tests.sqld import Sqld

pytestmark = pytest.mark.slow

Serve = Callable[..., Server]
SECRET = f"server.secret={'s' * 32}"
SECONDS = 150.0
"""A server that waits whether others live takes up to 90 s."""


def options(*settings: str) -> Sequence[str]:
    given = [*settings, f"plugins.quart.bind=127.0.0.1:{free_port()}"]
    return [word for setting in given for word in ("--set", setting)]


def refused(folder: Path, *settings: str) -> str:
    """Start a server that may not start; return the one line for its deployer."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "evanesce", "serve", *options(*settings)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("evanesce: ")]
    return line


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_second_embedded_server_on_a_file_is_refused_at_once(
    serve: Serve, tmp_path: Path, workers: int
) -> None:
    first = serve(SECRET, f"server.workers={workers}")
    link = tmp_path / "link.db"
    link.symlink_to(first.database)
    for path in (first.database, link):
        shared = f"plugins.sqlite.path={path}"
        for count in (1, 2):
            second = partial(refused, tmp_path / "second", SECRET, shared, f"server.workers={count}")
            line = await trio.to_thread.run_sync(second)
            assert line.startswith("evanesce: redis.url: another server with an embedded Valkey uses the database ")
    await trio.to_thread.run_sync(first.ready)


@pytest.mark.parametrize("workers", [1, 2])
async def test_an_embedded_server_that_was_killed_starts_again_at_once(serve: Serve, workers: int) -> None:
    server = serve(SECRET, f"server.workers={workers}")
    room = await trio.to_thread.run_sync(server.open_room)
    for _ in range(2):
        server.kill()
        began = trio.current_time()
        await trio.to_thread.run_sync(server.start)
        assert "waiting to see if it still does" not in server.errors, trio.current_time() - began
    status, found = await trio.to_thread.run_sync(server.ask, "GET", f"/api/v1/rooms/{room['roomId']}", None)
    assert status in (200, 401), found


async def test_a_server_with_another_redis_is_refused_and_adopt_changes_it(
    serve: Serve, tmp_path: Path, valkey: Valkey
) -> None:
    database = tmp_path / "shared.db"
    shared = [SECRET, f"plugins.sqlite.path={database}"]
    with Valkey() as other:
        first = serve(*shared, f"redis.url={valkey.url}")
        line = await trio.to_thread.run_sync(refused, tmp_path / "second", *shared, f"redis.url={other.url}")
        assert line.startswith("evanesce: redis.url: servers with another Redis use this database")
        assert line.endswith("run evanesce db adopt")
        assert other.client.exists("evanesce:{servers}:identity") == 0
        embedded = await trio.to_thread.run_sync(refused, tmp_path / "third", *shared)
        assert embedded == line
        there = options(*shared, f"redis.url={other.url}")
        for elsewhere in (there, options(*shared)):
            checked = await trio.to_thread.run_sync(partial(run, tmp_path, "check", *elsewhere))
            assert "| warn this Redis is empty, but a server with a Redis used the database" in checked.stdout
        # Where it is of another database, it is known at once, and by the check.
        other.client.set("evanesce:{servers}:identity", "of another database")
        assert await trio.to_thread.run_sync(refused, tmp_path / "second", *shared, f"redis.url={other.url}") == line
        checked = await trio.to_thread.run_sync(partial(run, tmp_path, "check", *there))
        assert checked.returncode == 2
        problem, _, advice = line.removeprefix("evanesce: ").partition(". ")
        assert f"| FAIL {problem} | {advice}." in checked.stdout
        here = options(*shared, f"redis.url={valkey.url}")
        assert "| ok   the database is bound to it" in run(tmp_path, "check", *here).stdout
        first.stop()
        adopted = await trio.to_thread.run_sync(partial(run, tmp_path, "db", "adopt", *there))
        assert adopted.returncode == 0, adopted.stderr
        assert adopted.stdout.startswith("the database is bound to this Redis now; it was bound to another one, ")
        again = await trio.to_thread.run_sync(partial(run, tmp_path, "db", "adopt", *there))
        assert again.stdout.startswith("the database was bound to this Redis already\n")
        serve(*shared, f"redis.url={other.url}")


async def test_a_redis_that_loses_its_memory_keeps_its_servers_running_or_restarted(
    serve: Serve, tmp_path: Path, valkey: Valkey
) -> None:
    shared = [SECRET, f"plugins.sqlite.path={tmp_path}/shared.db", f"redis.url={valkey.url}"]
    first = serve(*shared)
    valkey.client.flushall()  # the same to a server as a restart
    second = serve(*shared)  # the first one puts the identity back, or ends waiting otherwise
    assert valkey.client.exists("evanesce:{servers}:identity") == 1
    first.stop()
    second.stop()
    valkey.client.flushall()
    serve(*shared)


async def test_servers_of_one_libsql_database(serve: Serve, tmp_path: Path, sqld: Sqld) -> None:
    shared = [
        f"plugins.enabled={json.dumps(['guest', 'turso', 'quart'])}",
        f"plugins.turso.url={sqld.url()}",
        f"plugins.turso.auth_token={sqld.token()}",
    ]
    first = serve(*shared)
    line = await trio.to_thread.run_sync(refused, tmp_path / "second", *shared)
    assert line.startswith("evanesce: redis.url: servers with another Redis use this database")
    first.stop()
    third = serve(*shared)  # each start of an embedded Valkey is another Redis
    assert "waiting to see if it still does" not in third.errors
    third.send_signal(signal.SIGHUP)
    assert (await trio.to_thread.run_sync(third._next_line)).startswith("listening on "), third.errors
    assert "waiting to see if it still does" not in third.errors
