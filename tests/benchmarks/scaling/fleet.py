"""Several Evanesce processes on one Valkey and one database, as a deployer has them on several machines."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.benchmarks.contenders import EVANESCE_SETTINGS, SERVER_CORE, free_ports
from tests.benchmarks.peers import Peers
from tests.benchmarks.processes import end, family, start, start_valkey

ANY_CORE = -1


@dataclass(frozen=True, slots=True)
class Place:
    """Where one connects."""

    ws_url: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """The servers by number, their ports, their Valkey, and a client that looks at it from outside."""

    servers: list[subprocess.Popen[bytes]]
    ports: list[int]
    valkey: subprocess.Popen[bytes]
    client: redis.Redis

    @property
    def places(self) -> list[Place]:
        """Where clients connect to each of the servers."""
        return [Place(f"ws://127.0.0.1:{port}/ws") for port in self.ports]

    @property
    def pids(self) -> list[int]:
        """The servers' processes, with their workers and without their Valkey."""
        return [pid for server in self.servers for pid in family(server.pid)]


@contextlib.contextmanager
def fleet(servers: int, *settings: str, core: int = SERVER_CORE, workers: int = 1) -> Generator[Fleet, None, None]:
    """Run so many servers and their Valkey, all on one core or on any; more settings may be given.

    Each server has so many workers.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scaling-")))
        socket = folder / "valkey.sock"
        valkey = start_valkey(socket, core)
        stack.callback(end, valkey)
        shared = [
            f"redis.url=unix://{socket}",
            f"plugins.sqlite.path={folder}/shared.db",
            "server.secret=" + "benchmark" * 4,
            f"server.workers={workers}",
            *EVANESCE_SETTINGS,
            *settings,
        ]
        processes: list[subprocess.Popen[bytes]] = []
        ports = free_ports(servers)
        for port in ports:
            command = [Peers.own_python(), "-m", "evanesce", "serve"]
            for setting in (*shared, f"plugins.quart.bind=127.0.0.1:{port}"):
                command += ["--set", setting]
            processes.append(start(command, folder, core, f":{port}"))
            stack.callback(end, processes[-1])
        client: redis.Redis = redis.Redis(unix_socket_path=str(socket))
        stack.callback(client.close)
        yield Fleet(processes, ports, valkey, client)
