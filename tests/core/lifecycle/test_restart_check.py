"""The check before a restart: it passes, is refused, fails, hangs, or cannot be started."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import trio

from evanesce.lifecycle import restart_check as module
from evanesce.lifecycle.restart_check import RestartCheck, RestartCheckRequest
from evanesce.unixsockets import unix_socket

REQUEST = RestartCheckRequest(file=None, settings=["server.secret=S3CR3T"])
TIMEOUT = 60.0


def restart_check(program: str) -> RestartCheck:
    return RestartCheck([sys.executable, "-c", program], REQUEST)


def test_what_is_given_shows_no_secrets() -> None:
    assert "S3CR3T" not in repr(REQUEST)


async def test_it_is_told_what_was_given_and_where_the_server_listens(tmp_path: Path) -> None:
    received = tmp_path / "received"
    program = f"import sys; open({str(received)!r}, 'w').write(sys.stdin.read())"
    assert await restart_check(program).passes(["http://127.0.0.1:8000"])
    request = json.loads(received.read_text())
    assert (request["settings"], request["urls"]) == (["server.secret=S3CR3T"], ["http://127.0.0.1:8000"])


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit(2)", "for the reason given above"),
        ("raise SystemExit(1)", "the check of the configuration ended with exit code 1"),
        ("import os; os.kill(os.getpid(), 9)", "the check of the configuration ended with exit code -9"),
        ("import time; time.sleep(3600)", "the check of the configuration took more than 0.2 s"),
    ],
)
async def test_one_that_does_not_succeed_restarts_nothing_and_says_why(
    program: str, reason: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "sleep" in program:
        monkeypatch.setattr(module, "CHECK_SECONDS", 0.2)
    with trio.fail_after(TIMEOUT):
        assert not await restart_check(program).passes([])
    [record] = caplog.records
    assert record.getMessage().startswith("no restart: ")
    assert reason in record.getMessage()


async def test_one_that_cannot_be_made_restarts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert not await RestartCheck(["/nowhere/python"], REQUEST).passes([])
    assert "no restart: the check of the configuration could not be started" in caplog.text


def test_a_check_that_no_server_starts_says_what_to_use(tmp_path: Path) -> None:
    for given in (b"", b"nonsense"):
        done = subprocess.run(
            [sys.executable, "-m", "evanesce.cli.preflight"],
            cwd=tmp_path,
            input=given,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, b"")
        assert done.stderr == (
            b"evanesce: evanesce.cli.preflight: only a running server may start this program. Use evanesce check\n"
        )


def preflight(folder: Path, bind: str, *more: str, workers: bool, urls: list[str]) -> tuple[int, str]:
    """Return the exit code of the check for a server that listens on `urls`, and what it wrote."""
    settings = [f"plugins.quart.bind={bind}", "server.public_url=http://127.0.0.1:8000", *more]
    request = RestartCheckRequest(
        file=None, settings=settings, urls=urls, kept={"server.workers": 1} if workers else {}
    )
    done = subprocess.run(
        [sys.executable, "-m", "evanesce.cli.preflight"],
        cwd=folder,
        input=msgspec.json.encode(request),
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    return done.returncode, done.stderr.decode()


def test_the_unix_socket_of_the_server_is_free_at_the_restart_and_another_is_opened_without_workers_alone(
    tmp_path: Path,
) -> None:
    with unix_socket(tmp_path / "chat.sock", mode=0o600, backlog=1):
        for workers in (False, True):
            code, written = preflight(tmp_path, "unix:chat.sock", workers=workers, urls=["unix:chat.sock"])
            assert code == 0, written
        assert preflight(tmp_path, "unix:other.sock", workers=False, urls=["unix:chat.sock"])[0] == 0
        code, written = preflight(tmp_path, "unix:other.sock", workers=True, urls=["unix:chat.sock"])
        assert code == 2
        assert "nothing would serve unix:chat.sock" in written
        code, written = preflight(tmp_path, "unix:other.sock", workers=True, urls=["http://127.0.0.1:8000"])
        assert code == 2
        assert "plugins.quart.bind: is another Unix socket now" in written
        code, written = preflight(tmp_path, "127.0.0.1:8000", workers=True, urls=["unix:chat.sock"])
        assert code == 2
        assert "nothing would serve unix:chat.sock" in written
        code, written = preflight(tmp_path, "unix:chat.sock", workers=False, urls=["http://127.0.0.1:8000"])
        assert code == 2
        assert "cannot listen on unix:chat.sock (Address already in use)" in written


def test_the_unix_socket_for_operators_is_free_at_the_restart(tmp_path: Path) -> None:
    admin = ("admin.bind=unix:admin.sock", f"admin.token={'t' * 32}")
    with unix_socket(tmp_path / "admin.sock", mode=0o600, backlog=1):
        for workers in (False, True):
            urls = ["http://127.0.0.1:8000", "unix:admin.sock"]
            assert preflight(tmp_path, "127.0.0.1:8000", *admin, workers=workers, urls=urls) == (0, "")
        code, written = preflight(tmp_path, "127.0.0.1:8000", *admin, workers=False, urls=urls[:1])
        assert code == 2
        assert "admin.bind: cannot listen on unix:admin.sock (Address already in use)" in written
