"""Deployments that run for one audit, in a folder of their own: a server that logs everything, and a Valkey."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from evanesce.audit.conversation import AuditFailed
from evanesce.audit.processes import Process, deployment
from evanesce.store.embedded import valkey_binary

START_SECONDS = 60.0
"""How long a server, or a Valkey, may take to start."""

TTL = 4
"""The TTL of messages in the deployments, in seconds."""

_SERVER = "import sys; from evanesce.cli.main import main; sys.exit(main(log_everything=True))"
"""A server that logs everything: records of the level DEBUG must hold no content either."""


@dataclass
class Throwaway:
    """A deployment that runs for one audit, in a folder of its own."""

    folder: Path
    port: int

    def processes(self) -> list[Process]:
        """Return its processes."""
        return deployment([self.port])


def throwaway_settings(url: str) -> dict[str, str]:
    """Return the settings of a server on a free port, with the Redis at `url`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        bind = f"127.0.0.1:{free.getsockname()[1]}"
    return {
        "plugins.enabled": json.dumps(["guest", "sqlite", "quart"]),
        "plugins.quart.bind": bind,
        "messages.ttl": str(TTL),
        "redis.url": url,
        "server.secret": os.urandom(24).hex(),
    }


@asynccontextmanager
async def valkey(folder: Path, options: Sequence[str] | None) -> AsyncGenerator[str, None]:
    """Run a Valkey with `options` in a folder below `folder`, and yield its URL; `embedded` where there are none."""
    if options is None:
        yield "embedded"
        return
    data = folder / "redis"
    data.mkdir()
    path = data / "s"
    command = [str(valkey_binary()), "--port", "0", "--unixsocket", str(path), "--dir", str(data), *options]
    with _running(command, folder, None, data / "log") as running:
        await _started(running, path.is_socket, "a Valkey")
        yield f"unix://{path}"


@asynccontextmanager
async def logging_server(
    folder: Path, options: Sequence[str], environment: Mapping[str, str]
) -> AsyncGenerator[None, None]:
    """Run a server that logs everything to a file."""
    log = folder / "server.log"
    command = [sys.executable, "-c", _SERVER, "serve", *options]
    with _running(command, folder, environment, log) as server:
        await until(
            lambda: server.poll() is not None or b"listening on " in log.read_bytes(), "a server does not start"
        )
        if server.poll() is not None:
            raise AuditFailed(f"a server ended with {server.returncode}: evanesce serve says why, with {options}")
        yield


class _running:
    """Run a program, and kill it at the end. What it prints goes to `log`."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None, log: Path) -> None:
        self._command = command
        self._folder = folder
        self._environment = environment
        self._log = log

    def __enter__(self) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self._process

    def __exit__(self, *error: object) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


async def _started(process: subprocess.Popen[bytes], ready: Callable[[], bool], name: str) -> None:
    await until(lambda: process.poll() is not None or ready(), f"{name} does not start")
    if process.poll() is not None:
        raise AuditFailed(f"{name} ended with {process.returncode} instead of starting. Run evanesce check here")


async def until(happened: Callable[[], bool], problem: str) -> None:
    """Wait for what another process does. Raises `AuditFailed`, with `problem`, after `START_SECONDS`."""
    with trio.move_on_after(START_SECONDS) as patience:
        while not happened():  # noqa: ASYNC110  there is no event for what another process does
            await trio.sleep(0.02)
    if patience.cancelled_caught:
        raise AuditFailed(f"{problem} within {START_SECONDS:g} s")
