"""A real server on Unix sockets: from its start over a kill and a reload to its end, alone and with workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from tests.e2e.clients import until
from tests.e2e.running import START_SECONDS, Server

ALONE = ('plugins.quart.trusted_proxies=["unix:"]',)
WORKERS = (*ALONE, "server.workers=2", f"server.secret={'s' * 32}")
LOCAL = {"X-Forwarded-For": "127.0.0.1"}
GUEST = {"provider": "guest", "displayName": "Ada"}


@pytest.fixture
def on_socket(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*settings: str) -> Server:
        server = Server(tmp_path, *settings, sockets=True)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        assert server.process is not None
        if server.process.poll() is None:
            server.stop()
        else:
            server.wait()


def test_who_comes_over_it_is_a_stranger_unless_its_proxy_says_otherwise(on_socket: Callable[..., Server]) -> None:
    server = on_socket(*ALONE)
    assert server.ask("POST", "/api/v1/session", GUEST)[0] == 403
    assert server.ask("GET", "/metrics")[0] == 403
    assert server.ask("POST", "/api/v1/session", GUEST, headers={"X-Forwarded-For": "203.0.113.9"})[0] == 403
    assert server.ask("POST", "/api/v1/session", GUEST, headers=LOCAL)[0] == 201
    assert server.ask("GET", "/metrics", headers=LOCAL)[0] == 200
    assert server.ask("GET", "/healthz", headers={"Host": "other.example"})[0] == 421
    server.stop()
    assert not (server.folder / "quart").exists()


@pytest.mark.slow
async def test_killed_started_again_and_reloaded(on_socket: Callable[..., Server]) -> None:
    killed = await trio.to_thread.run_sync(on_socket, *ALONE)
    await trio.to_thread.run_sync(killed.kill)
    assert (killed.folder / "quart").is_socket()
    killed.database.unlink()  # otherwise the next one waits half a minute for the Redis of the killed one
    server = await trio.to_thread.run_sync(on_socket, *ALONE)
    first = (server.folder / "quart").stat().st_ino
    assert (await trio.to_thread.run_sync(server.ask, "GET", "/healthz"))[0] == 200
    server.send_signal(signal.SIGHUP)
    await until(lambda: (server.folder / "quart").exists() and inode(server) != first, START_SECONDS)
    assert (await trio.to_thread.run_sync(server.ask, "GET", "/healthz"))[0] == 200
    await trio.to_thread.run_sync(server.stop)
    assert not (server.folder / "quart").exists()


@pytest.mark.slow
async def test_workers_share_it_and_a_reload_of_them_refuses_nobody(on_socket: Callable[..., Server]) -> None:
    server = await trio.to_thread.run_sync(on_socket, *WORKERS)
    first, before = inode(server), server.workers()

    def replaced() -> bool:
        assert server.ask("GET", "/healthz")[0] == 200  # also in the middle of the restart
        now = server.workers()
        return sorted(now) == [1, 2] and not set(now.values()) & set(before.values())

    server.send_signal(signal.SIGHUP)
    await until(replaced, START_SECONDS)
    await until(lambda: "all workers were restarted" in server.errors, START_SECONDS)
    assert inode(server) == first
    os.kill(server.workers()[1], signal.SIGKILL)
    assert (await trio.to_thread.run_sync(server.ask, "GET", "/healthz"))[0] == 200
    await trio.to_thread.run_sync(server.stop)
    assert not (server.folder / "quart").exists()


def test_it_needs_a_public_address(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "evanesce", "serve", "--set", "plugins.quart.bind=unix:chat.sock"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "server.public_url: must be set with plugins.quart.bind = unix:chat.sock" in ended.stderr
    assert not (tmp_path / "chat.sock").exists()


def inode(server: Server) -> int:
    return (server.folder / "quart").stat().st_ino
