"""A real Redis Cluster for the tests: three primaries with a replica each."""

from __future__ import annotations

import os
import shutil
import signal as signals
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.crc import key_slot

from tests.ports import free_port
from tests.redis_versions import server_binary

PRIMARIES = 3
SLOTS = 16_384
START_SECONDS = 60.0

OWN_TALK = 10_000
"""The distance between the port of a node and its cluster bus port."""


@dataclass(slots=True)
class ClusterNode:
    """A process of the cluster, and a client that is connected to it."""

    port: int
    process: subprocess.Popen[bytes]
    client: redis.Redis

    @property
    def id(self) -> str:
        return str(self.client.execute_command("CLUSTER", "MYID").decode())

    @property
    def role(self) -> str:
        return str(self.client.info("replication")["role"])


class ValkeyCluster:
    """A cluster, started by `start`, which may be called again. It writes only what a cluster must write to disk."""

    def __init__(self, node_timeout: int = 15_000, binary: Path | None = None) -> None:
        """Set after how many milliseconds without an answer a primary counts as failed, and the server that is run."""
        self._node_timeout = node_timeout
        self._binary = binary or server_binary()
        self.nodes: list[ClusterNode] = []
        self._folder = Path()

    @property
    def url(self) -> str:
        """Return the URL of all nodes."""
        return "redis://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> None:
        if self.nodes:
            return
        self._folder = Path(tempfile.mkdtemp(prefix="cluster-"))
        self.nodes = [self._node(port) for port in [free_port(OWN_TALK) for _ in range(2 * PRIMARIES)]]
        _until(lambda: all(_answers(node) for node in self.nodes))
        primaries, replicas = self.nodes[:PRIMARIES], self.nodes[PRIMARIES:]
        share = SLOTS // PRIMARIES + 1
        for number, node in enumerate(primaries):
            first, last = number * share, min((number + 1) * share, SLOTS) - 1
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            node.client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        _until(lambda: all(_knows(node, len(self.nodes)) for node in self.nodes))
        for primary, replica in zip(primaries, replicas, strict=True):
            replica.client.execute_command("CLUSTER", "REPLICATE", primary.id)
        _until(lambda: all(_follows(replica) for replica in replicas))
        _until(lambda: all(_is_ok(node) for node in self.nodes))

    def _node(self, port: int) -> ClusterNode:
        folder = self._folder / str(port)
        folder.mkdir(exist_ok=True)
        options = {
            "port": str(port),
            "bind": "127.0.0.1",
            "dir": str(folder),
            "save": "",
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(self._node_timeout),
            "cluster-require-full-coverage": "no",
            "cluster-replica-validity-factor": "0",
            "repl-diskless-sync-delay": "0",
            "repl-diskless-load": "swapdb",
        }
        command = [str(self._binary), *(word for name, value in options.items() for word in (f"--{name}", value))]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        return ClusterNode(port, process, redis.Redis(port=port, socket_timeout=5))

    def stop(self) -> None:
        for node in self.nodes:
            node.client.close()
            node.process.kill()
            node.process.wait()
        if self.nodes:
            shutil.rmtree(self._folder)
        self.nodes = []

    # What tests do to it

    @property
    def primaries(self) -> list[ClusterNode]:
        return [node for node in self.nodes if node.process.poll() is None and node.role == "master"]

    def primary_of(self, key: str) -> ClusterNode:
        """Return the node of a key."""
        slot = key_slot(key.encode())
        for first, last, primary, *_ in self.primaries[0].client.execute_command("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == primary[1])
        raise AssertionError("nobody has it")

    def replica_of(self, primary: ClusterNode) -> ClusterNode:
        told = primary.client.info("replication")["slave0"]
        return next(node for node in self.nodes if node.port == told["port"])

    def empty(self) -> None:
        """Delete all keys."""
        for node in self.primaries:
            node.client.flushall()

    def forget(self) -> None:
        """Delete all data, and close all connections."""
        for node in self.primaries:
            with node.client.pipeline() as at_once:
                at_once.flushall()
                at_once.client_kill_filter(_type="normal", skipme=True)
                at_once.client_kill_filter(_type="pubsub")
                at_once.execute()

    def signal(self, number: int) -> None:
        """Send a signal to all nodes."""
        for node in self.nodes:
            os.kill(node.process.pid, number)

    def kill(self, node: ClusterNode) -> None:
        os.kill(node.process.pid, signals.SIGKILL)
        node.process.wait()

    def restart(self, node: ClusterNode) -> None:
        """Start a node that was killed: it knows the cluster, and has lost all else."""
        node.client.close()
        started = self._node(node.port)
        node.process, node.client = started.process, started.client


def _answers(node: ClusterNode) -> bool:
    try:
        return bool(node.client.ping())
    except redis.ConnectionError:
        return False


def _knows(node: ClusterNode, nodes: int) -> bool:
    return f"cluster_known_nodes:{nodes}\r\n".encode() in node.client.execute_command("CLUSTER", "INFO")


def _is_ok(node: ClusterNode) -> bool:
    told = node.client.execute_command("CLUSTER", "INFO")
    return b"cluster_state:ok" in told and f"cluster_slots_ok:{SLOTS}\r\n".encode() in told


def _follows(replica: ClusterNode) -> bool:
    return bool(replica.client.info("replication").get("master_link_status") == "up")


def _until(condition: Callable[[], bool]) -> None:
    """Poll until `condition` returns true."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the cluster does not come up"
        time.sleep(0.02)
