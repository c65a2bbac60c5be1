"""The cost of an idle connection: memory, tasks and CPU time of a real server while clients in a room send nothing.

`python -m tests.benchmarks.idle [--transport NAME]… [--connections N] [--rooms N] [--seconds S]`

The server runs as a deployer starts it, and this process has the client ends. The cost of the first connections, which
load code and fill caches, is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.idle_connections import PATIENCE, IdleConnections

TRANSPORTS = ("trio_websocket", "quart")
WARM_UP = 200
"""How many connections are opened before those that are counted."""


def _port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class IdleServer:
    """`evanesce serve` with one transport for the clients, and the port of `quart` to read its metrics from."""

    def __init__(self, transport: str, folder: Path, *more: str) -> None:
        self.folder = folder
        self.address = ("127.0.0.1", _port())
        self._metrics = ("127.0.0.1", _port()) if transport != "quart" else self.address
        binds = {"quart": self._metrics, transport: self.address}
        enabled = ",".join(f"'{name}'" for name in ("guest", "sqlite", *binds))
        settings = [
            f"plugins.enabled=[{enabled}]",
            *(f"plugins.{name}.bind={host}:{port}" for name, (host, port) in binds.items()),
            f"server.public_url=http://127.0.0.1:{self.address[1]}",
            "limits.sign_ins_per_minute=1000000",
            "rooms.capacity=1000000",
            *more,
        ]
        command = [sys.executable, "-m", "evanesce", "serve"]
        command += [word for setting in settings for word in ("--set", setting)]
        self._process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, bufsize=0, start_new_session=True)
        assert self._process.stdout is not None
        for _ in binds:
            readable, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
            line = self._process.stdout.readline() if readable else b""
            if not line.startswith(b"listening on "):
                self._process.kill()
                raise RuntimeError(f"the server did not start: {line!r}")
        self.pid = self._process.pid

    def memory(self) -> int:
        """Return the bytes that are in memory and this process's own: what is shared with files is not counted."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        fields = dict(line.split(":", 1) for line in rollup.splitlines()[1:])
        return int(fields["Anonymous"].split()[0]) * 1024

    def cpu(self) -> float:
        """Return the seconds of CPU that it has taken."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def metric(self, name: str) -> float:
        host, port = self._metrics
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=PATIENCE) as answer:
            text: str = answer.read().decode()
        for line in text.splitlines():
            if line.startswith(f"evanesce_{name} "):
                return float(line.split()[1])
        raise KeyError(name)

    def wait_for(self, name: str, value: float) -> None:
        """Wait until a metric is `value`."""
        deadline = time.monotonic() + PATIENCE
        while self.metric(name) != value:
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        if self._process.stdout is not None:
            self._process.stdout.close()
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        assert code == 0, code


@contextmanager
def running(transport: str, *settings: str) -> Iterator[IdleServer]:
    """Run a server with one transport, and more settings, until the end of the context."""
    with tempfile.TemporaryDirectory() as folder:
        server = IdleServer(transport, Path(folder), *settings)
        try:
            yield server
        finally:
            server.stop()


def measure(transport: str, connections: int, *, rooms: int = 1, seconds: float = 50.0) -> dict[str, float]:
    """Measure the cost of each of `connections` idle connections in `rooms` rooms, and how many open in a second.

    The CPU time is that of `seconds`; 50 s have two heartbeats. `left_…` are the tasks and descriptors that remain when
    all connections are closed, beyond those before.
    """
    raise_limit(connections + WARM_UP + 1000)
    with running(transport) as server:
        base_tasks, base_descriptors = server.metric("tasks"), server.descriptors()
        clients = IdleConnections(server.address, rooms)
        clients.open(WARM_UP)
        clients.stay_idle(1.5)
        memory, tasks = server.memory(), server.metric("tasks")
        opening = time.monotonic()
        clients.open(connections)
        opening = time.monotonic() - opening
        clients.stay_idle(5.0)  # the write-behind queue reaches the database
        grown, grown_tasks = server.memory() - memory, server.metric("tasks") - tasks
        spent = server.cpu()
        clients.stay_idle(seconds)
        spent = server.cpu() - spent
        clients.close()
        server.wait_for("sessions", 0)
        server.wait_for("rooms", 0)
        return {
            "connections": connections,
            "rooms": rooms,
            "kib_per_connection": round(grown / connections / 1024, 1),
            "tasks_per_connection": round(grown_tasks / connections, 2),
            "cpu_us_per_connection_and_second": round(spent / seconds / (connections + WARM_UP + rooms) * 1e6, 1),
            "connections_per_second": round(connections / opening),
            "left_tasks": server.metric("tasks") - base_tasks,
            "left_descriptors": server.descriptors() - base_descriptors,
        }


def raise_limit(descriptors: int) -> None:
    """Let this process, and the servers that it starts, open so many files where the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = descriptors if hard == resource.RLIM_INFINITY else min(descriptors, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--transport", action="append", choices=TRANSPORTS)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--rooms", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=50.0)
    options = parser.parse_args()
    for transport in options.transport or TRANSPORTS:
        figures = measure(transport, options.connections, rooms=options.rooms, seconds=options.seconds)
        print(json.dumps({"transport": transport, **figures}), flush=True)


if __name__ == "__main__":
    main()
