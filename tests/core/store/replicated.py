"""A Redis and its replica, each a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import redis

from tests.core.store.backends import answers, eventually
from tests.ports import free_port
from tests.redis_versions import server_binary

REPLICATED = ("--save", "", "--repl-diskless-sync-delay", "0", "--repl-diskless-load", "swapdb")
"""The options of a Redis that has replicas or is one, and writes nothing to disk."""


class ReplicatedPair:
    """A primary and its replica, which can be held back and then takes the primary's place, port included.

    `options` are those of both, in addition to `REPLICATED`.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self.port, self._replica_port = free_port(), free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.primary, self.replica = redis.Redis(port=self.port), redis.Redis(port=self._replica_port)

    def __enter__(self) -> ReplicatedPair:
        for port in (self.port, self._replica_port):
            command = [server_binary(), "--port", str(port), *REPLICATED, *self._options]
            folder = self._folder / str(port)
            folder.mkdir()
            self._processes.append(subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL))
        return self

    async def ready(self) -> None:
        """Wait until the replica has all that the primary has."""
        await eventually(lambda: answers(self.primary) and answers(self.replica))
        self.replica.replicaof("127.0.0.1", str(self.port))
        await eventually(lambda: self.replica.info("replication")["master_link_status"] == "up")

    async def hold_back(self) -> None:
        """Wait until the replica has all that the primary has, and let nothing more arrive there."""
        assert self.primary.execute_command("WAIT", 1, 60_000) == 1
        os.kill(self._processes[1].pid, signal.SIGSTOP)
        self.primary.client_kill_filter(_type="replica")

    def fail_over(self) -> None:
        """Kill the primary, and put the replica in its place, with what it had."""
        self._processes[0].kill()
        self._processes[0].wait()
        os.kill(self._processes[1].pid, signal.SIGCONT)
        self.replica.replicaof("NO", "ONE")
        self.replica.config_set("port", self.port)

    def files(self, content: bytes) -> list[str]:
        """Return the names of the files of both that have some content."""
        found = [file for file in self._folder.rglob("*") if file.is_file()]
        return [file.name for file in found if content in file.read_bytes()]

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        for client in (self.primary, self.replica):
            client.close()
