"""What a deployer of several workers has to correct: exit code 2 and one line, however many they are; and the check."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.e2e.running import START_SECONDS, Server
from tests.ports import free_port

pytestmark = pytest.mark.slow

SECRET = "s" * 32


async def run(folder: Path, command: str, *settings: str) -> tuple[int, str, str]:
    """Run a command for three workers; return its exit code, and what it printed and wrote."""
    arguments = [sys.executable, "-m", "evanesce", command]
    for setting in ("server.workers=3", f"server.secret={SECRET}", *settings):
        arguments += ["--set", setting]
    with trio.fail_after(START_SECONDS):
        done = await trio.run_process(
            arguments, cwd=folder, capture_stdout=True, capture_stderr=True, check=False, stdin=b""
        )
    assert done.returncode is not None
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def refusal(folder: Path, *settings: str) -> str:
    """Start a server that cannot start; return what it wrote."""
    code, printed, told = await run(folder, "serve", *settings)
    assert (code, printed) == (2, "")
    return told


async def test_a_port_that_others_share_is_taken(serve: Callable[..., Server], tmp_path: Path) -> None:
    other = serve("server.workers=2", f"server.secret={SECRET}")
    told = await refusal(tmp_path, f"plugins.quart.bind=127.0.0.1:{other.port}")
    assert told.startswith(f"evanesce: plugins.quart.bind: cannot listen on 127.0.0.1:{other.port} (Address already")
    assert told.count("\n") == 1
    assert other.listeners() == 2


async def test_a_port_that_something_else_has_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        told = await refusal(tmp_path, f"plugins.quart.bind=127.0.0.1:{port}")
    assert "cannot listen on" in told
    assert told.count("\n") == 1


async def test_a_port_that_the_system_would_choose(tmp_path: Path) -> None:
    told = await refusal(tmp_path, "plugins.quart.bind=127.0.0.1:0")
    assert told.startswith("evanesce: plugins.quart.bind: with more than one worker")
    assert told.count("\n") == 1


async def test_what_a_worker_finds_is_told_once(tmp_path: Path) -> None:
    told = await refusal(tmp_path, f"plugins.quart.bind=127.0.0.1:{free_port()}", "plugins.sqlite.path=none/such.db")
    assert told.startswith("evanesce: plugins.sqlite.path: ")
    assert told.count("\n") == 1


async def test_the_check_takes_several_workers(tmp_path: Path) -> None:
    bind = f"127.0.0.1:{free_port()}"
    code, printed, _ = await run(tmp_path, "check", f"plugins.quart.bind={bind}")
    assert code == 0, printed
    assert f"{bind} is free" in printed
