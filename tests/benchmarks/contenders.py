"""The measured servers: how each is started, which processes count as its own, and which protocol it speaks."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peers import SERVERS, Peers
from tests.benchmarks.processes import end, family, start, start_valkey
from tests.ports import free_port

SERVER_CORE = 0
LOAD_CORE = 1

UNLIMITED = 1_000_000  # the largest that these take

EVANESCE_SETTINGS = (
    # What one person may do is raised to what a benchmark does; a day's heartbeat, as the load answers no pings.
    f"limits.messages_per_second={UNLIMITED}",
    f"limits.burst={UNLIMITED}",
    f"limits.commands_per_second={UNLIMITED}",
    f"limits.joins_per_second={UNLIMITED}",
    f"limits.rooms_per_hour={UNLIMITED}",
    f"limits.sign_ins_per_minute={UNLIMITED}",
    f"limits.rooms_per_user={UNLIMITED}",
    "limits.heartbeat_seconds=86400",
)


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs: its port, its processes (its store's too), its dialect, and where its metrics are, if any."""

    port: int
    pids: list[int]
    dialect: str
    metrics_port: int | None = None


@dataclass(frozen=True, slots=True)
class Contender:
    """A server by name. `transport` is Evanesce's; `redis`: a peer that crosses one; `group`: of the bare loop."""

    name: str
    kind: str
    transport: str = ""
    redis: bool = False
    group: int = 1

    @property
    def rooms(self) -> bool:
        """Whether it has rooms, with events for joins and leaves."""
        return self.kind not in ("picows", "floor")

    @contextlib.contextmanager
    def serve(self, peers: Peers) -> Generator[Running, None, None]:
        """Run it, on the servers' core, in a folder of its own."""
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
            port, other_port = free_ports(2)
            if self.kind == "evanesce":
                yield from _evanesce(self.transport, folder, port, port if self.transport == "quart" else other_port)
                return
            address = [stack.enter_context(_redis(folder))] if self.redis else []
            commands = {
                "socketio-node": lambda: [*peers.node(), str(port), *address],
                "python-socketio": lambda: [peers.python(), str(SERVERS / "python_socketio.py"), str(port), *address],
                "picows": lambda: [peers.python(), str(SERVERS / "picows_broadcast.py"), str(port)],
                "floor": lambda: [peers.own_python(), str(SERVERS / "floor.py"), str(port), str(self.group)],
            }
            process = start(commands[self.kind](), folder, SERVER_CORE, "listening")
            stack.callback(end, process)
            pids = [*family(process.pid), *(_pid(folder) if self.redis else [])]
            yield Running(port, pids, "socketio" if "socketio" in self.kind else "bare")


def evanesce(transport: str) -> Contender:
    """Evanesce by one of its transports."""
    return Contender(f"Evanesce ({transport})", "evanesce", transport=transport)


SOCKETIO = Contender("Socket.IO on Node", "socketio-node")
SOCKETIO_REDIS = Contender("Socket.IO, Redis adapter", "socketio-node", redis=True)
PYTHON_SOCKETIO = Contender("python-socketio", "python-socketio")
PYTHON_SOCKETIO_REDIS = Contender("python-socketio, Redis", "python-socketio", redis=True)
PICOWS = Contender("picows, bare broadcast", "picows")
FLOOR = Contender("bare loop of send", "floor")
LIMIT = Contender("the load's own limit", "floor", group=50)

PEERS = (SOCKETIO, SOCKETIO_REDIS, PYTHON_SOCKETIO, PYTHON_SOCKETIO_REDIS, PICOWS, FLOOR, LIMIT)


def _evanesce(transport: str, folder: Path, port: int, metrics_port: int) -> Generator[Running, None, None]:
    """Start it as a deployer does, with its embedded Valkey. `quart` runs in any case: it has the metrics."""
    transports = sorted({"quart", transport})
    settings = [
        f"plugins.enabled={['guest', 'sqlite', *transports]}",
        f"plugins.{transport}.bind=127.0.0.1:{port}",
        f"plugins.quart.bind=127.0.0.1:{metrics_port}",
        *EVANESCE_SETTINGS,
    ]
    command = [Peers.own_python(), "-m", "evanesce", "serve"]
    for setting in settings:
        command += ["--set", setting]
    process = start(command, folder, SERVER_CORE, f":{port}")
    try:
        yield Running(port, family(process.pid), "evanesce", metrics_port)
    finally:
        end(process)


@contextlib.contextmanager
def _redis(folder: Path) -> Generator[str, None, None]:
    """Run the Valkey that Evanesce embeds, with its settings, for a peer."""
    path = folder / "valkey.sock"
    process = start_valkey(path, SERVER_CORE)
    (folder / "valkey.pid").write_text(str(process.pid))
    try:
        yield str(path)
    finally:
        end(process)


def _pid(folder: Path) -> list[int]:
    return [int((folder / "valkey.pid").read_text())]


def free_ports(number: int) -> list[int]:
    """Return ports that no process listens on."""
    return [free_port() for _ in range(number)]
