"""The measured servers: how each is started, which processes count as its own, and which protocol it speaks."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peer_servers import (
    Centrifugo,
    Ejabberd,
    Nats,
    Nchan,
    NodeServer,
    PeerServer,
    Place,
    PythonServer,
    Store,
)
from tests.benchmarks.peers import Peers
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
    """A server by name: a peer's, perhaps with a `store`, or Evanesce with a transport, perhaps with `settings`."""

    name: str
    server: PeerServer | None = None
    transport: str = ""
    store: bool = False
    settings: Sequence[str] = ()

    def prepare(self, peers: Peers) -> None:
        """Fetch what it needs. Raises `RuntimeError` if that cannot be had."""
        if self.server is not None:
            self.server.program(peers)

    @contextlib.contextmanager
    def serve(self, peers: Peers) -> Generator[Running, None, None]:
        """Run it, on the servers' core, in a folder of its own."""
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
            port, other_port = free_ports(2)
            if self.server is None:
                metrics_port = port if self.transport == "quart" else other_port
                yield from _evanesce(self.transport, folder, port, metrics_port, self.settings)
                return
            store = Store(folder / "valkey.sock", other_port) if self.store else None
            pids: list[int] = []
            if store is not None:
                valkey = start_valkey(store.path, SERVER_CORE, store.port)
                stack.callback(end, valkey)
                pids.append(valkey.pid)
            command = [*self.server.program(peers), *self.server.arguments(peers, Place(folder, port, store))]
            process = start(command, folder, SERVER_CORE, self.server.says or port)
            stack.callback(end, process)
            yield Running(port, [*family(process.pid), *pids], self.server.dialect)


def evanesce(transport: str) -> Contender:
    """Evanesce by one of its transports."""
    return Contender(f"Evanesce ({transport})", transport=transport)


ENCRYPTED = Contender("Evanesce, encrypted at rest", transport="quart", settings=("messages.encrypt_at_rest=true",))

_SOCKETIO = NodeServer("socketio_node.js", "socketio")
_PYTHON_SOCKETIO = PythonServer("python_socketio.py", "socketio")

SOCKETIO = Contender("Socket.IO on Node", _SOCKETIO)
SOCKETIO_REDIS = Contender("Socket.IO, Redis adapter", _SOCKETIO, store=True)
SOCKETIO_RECOVERY = Contender(
    "Socket.IO, state recovery", NodeServer("socketio_node.js", "socketio-recovery", ("recovery",))
)
PYTHON_SOCKETIO = Contender("python-socketio", _PYTHON_SOCKETIO)
PYTHON_SOCKETIO_REDIS = Contender("python-socketio, Redis", _PYTHON_SOCKETIO, store=True)
NCHAN = Contender("Nchan", Nchan())
NCHAN_REDIS = Contender("Nchan, Redis", Nchan(), store=True)
CENTRIFUGO = Contender("Centrifugo", Centrifugo())
CENTRIFUGO_REDIS = Contender("Centrifugo, Redis", Centrifugo(), store=True)
NATS = Contender("NATS over WebSocket", Nats())
EJABBERD = Contender("ejabberd", Ejabberd())
WS = Contender("ws, bare broadcast", NodeServer("ws_broadcast.js", "bare"))
PICOWS = Contender("picows, bare broadcast", PythonServer("picows_broadcast.py", "bare"))
FLOOR = Contender("bare loop of send", PythonServer("floor.py", "bare", ("1",), own=True))
LIMIT = Contender("the load's own limit", PythonServer("floor.py", "bare", ("50",), own=True))


def _evanesce(
    transport: str, folder: Path, port: int, metrics_port: int, more: Sequence[str]
) -> Generator[Running, None, None]:
    """Start it as a deployer does, with its embedded Valkey. `quart` runs in any case: it has the metrics."""
    transports = sorted({"quart", transport})
    settings = [
        f"plugins.enabled={['guest', 'sqlite', *transports]}",
        f"plugins.{transport}.bind=127.0.0.1:{port}",
        f"plugins.quart.bind=127.0.0.1:{metrics_port}",
        *EVANESCE_SETTINGS,
        *more,
    ]
    command = [Peers.own_python(), "-m", "evanesce", "serve"]
    for setting in settings:
        command += ["--set", setting]
    process = start(command, folder, SERVER_CORE, f":{port}")
    try:
        yield Running(port, family(process.pid), "evanesce", metrics_port)
    finally:
        end(process)


def free_ports(number: int) -> list[int]:
    """Return ports that no process listens on."""
    return [free_port() for _ in range(number)]
