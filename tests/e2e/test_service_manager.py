"""The server as a unit of systemd: what it tells of itself, signs of life, and sockets that it inherits."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.running import Server
from tests.patience import PATIENCE
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SECRET = f"server.secret={'s' * 32}"
WATCHDOG_SECONDS = 2.0
SINGLE: tuple[str, ...] = ()
WORKERS = ("server.workers=2",)
KINDS = pytest.mark.parametrize("kind", [SINGLE, WORKERS], ids=["single", "workers"])


class Manager:
    """A service manager's end: the socket that is in NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1_000_000))}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def next(self, seconds: float = PATIENCE) -> dict[str, str]:
        self._socket.settimeout(seconds)
        lines = self._socket.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def state(self) -> dict[str, str]:
        """Return the next message that is no sign of life."""
        while (message := self.next()) == {"WATCHDOG": "1"}:
            pass
        return message

    def sign_of_life(self) -> None:
        while self.next() != {"WATCHDOG": "1"}:
            pass

    def watchdog_fires(self) -> None:
        """Wait until no sign of life has come for as long as systemd waits before it kills a service."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                self.next(WATCHDOG_SECONDS)
            except TimeoutError:
                return
        raise AssertionError("signs of life all the time")

    def waiting(self) -> set[str]:
        """Return the names in the messages that have come by now."""
        names: set[str] = set()
        self._socket.setblocking(False)
        while True:
            try:
                names |= {line.split("=")[0] for line in self._socket.recv(4096).decode().splitlines()}
            except BlockingIOError:
                return names

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", port), backlog=128) as opened:
        yield opened


def get(server: Server) -> int:
    return server.ask("GET", "/healthz")[0]


@KINDS
def test_it_tells_that_it_serves_that_a_restart_is_refused_and_that_it_stops(
    tmp_path: Path, manager: Manager, kind: tuple[str, ...]
) -> None:
    configuration = tmp_path / "config.toml"
    with Server(tmp_path, SECRET, *kind, environment=manager.environment) as server:
        ready = manager.state()
        assert ready["READY"] == "1"
        assert ready["STATUS"].startswith(f"serving on {server.url}")
        manager.sign_of_life()

        configuration.write_text("[messages]\nttl = 'never'\n")
        server.send_signal(signal.SIGHUP)
        reloading = manager.state()
        assert reloading["RELOADING"] == "1"
        assert int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        refused = manager.state()
        assert refused["READY"] == "1"
        assert "see the log" in refused["STATUS"]

        manager.sign_of_life()
        server.stop()
        assert manager.state()["STOPPING"] == "1"


def test_a_worker_that_hangs_ends_the_signs_of_life(tmp_path: Path, manager: Manager) -> None:
    with Server(tmp_path, SECRET, *WORKERS, environment=manager.environment) as server:
        assert manager.state()["READY"] == "1"
        manager.sign_of_life()
        hangs = server.workers()[2]
        os.kill(hangs, signal.SIGSTOP)
        manager.watchdog_fires()
        os.kill(hangs, signal.SIGCONT)
        manager.sign_of_life()


@KINDS
def test_clients_of_an_inherited_socket_wait_through_start_and_restart(
    tmp_path: Path, manager: Manager, kind: tuple[str, ...]
) -> None:
    with listening(free_port()) as opened, socket.create_connection(opened.getsockname(), PATIENCE) as early:
        early.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        with Server(tmp_path, SECRET, *kind, environment=manager.environment, inherited=[opened]) as server:
            assert early.recv(12) == b"HTTP/1.1 200"
            assert server.listeners() == 1
            assert manager.state()["READY"] == "1"
            server.send_signal(signal.SIGHUP)
            assert manager.state()["RELOADING"] == "1"
            deadline = time.monotonic() + PATIENCE
            while "READY" not in manager.waiting():
                assert get(server) == 200
                assert time.monotonic() < deadline
            assert get(server) == 200
            assert server.listeners() == 1
        assert socket.create_connection(opened.getsockname(), PATIENCE).close() is None, "it waits for the next start"


@KINDS
def test_clients_of_an_inherited_unix_socket_wait_for_the_next_server(kind: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as opened:  # a short path
        path = str(Path(folder, "quart"))
        opened.bind(path)
        Path(path).chmod(0o660)
        opened.listen()
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as early:
                early.connect(path)
                early.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                early.settimeout(PATIENCE)
                with Server(Path(folder), SECRET, *kind, sockets=True, inherited=[opened]):
                    assert early.recv(12) == b"HTTP/1.1 200"


@KINDS
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_an_inherited_socket_for_operators(family: int, kind: tuple[str, ...]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        listening(free_port()) as clients,
        socket.socket(family) as operators,
    ):
        operators.bind(("127.0.0.1", 0) if family == socket.AF_INET else f"{folder}/admin.sock")
        if family == socket.AF_UNIX:
            Path(folder, "admin.sock").chmod(0o600)
        operators.listen()
        address = operators.getsockname()
        bind = f"unix:{address}" if family == socket.AF_UNIX else "{}:{}".format(*address)
        settings = (SECRET, *kind, f"admin.bind={bind}", f"admin.token={'t' * 32}")
        with Server(Path(folder), *settings, inherited=[clients, operators]), socket.socket(family) as operator:
            operator.settimeout(PATIENCE)
            operator.connect(address)
            operator.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            assert operator.recv(12) in (b"HTTP/1.1 401", b"HTTP/1.1 404")


@KINDS
def test_an_inherited_socket_that_no_transport_uses_is_refused(tmp_path: Path, kind: tuple[str, ...]) -> None:
    with listening(free_port()) as clients, listening(free_port()) as other:
        server = Server(tmp_path, SECRET, *kind, inherited=[clients, other])
        with pytest.raises(AssertionError, match="it printed"):
            server.start()
        shown = f"127.0.0.1:{other.getsockname()[1]}"
        assert (
            f"LISTEN_FDS: the service manager listens on {shown}, which is no bind of a transport or of [admin]"
            in server.errors
        )


@KINDS
def test_a_bind_that_leaves_an_inherited_socket_is_refused_before_the_restart(
    tmp_path: Path, kind: tuple[str, ...]
) -> None:
    with listening(free_port()) as opened:
        server = Server(tmp_path, SECRET, *kind, inherited=[opened])
        server.settings = [one for one in server.settings if not one.startswith("plugins.quart.bind=")]
        configuration = tmp_path / "config.toml"
        configuration.write_text(f'[plugins.quart]\nbind = "127.0.0.1:{server.port}"\n')
        with server:
            configuration.write_text(f'[plugins.quart]\nbind = "127.0.0.1:{free_port()}"\n')
            server.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + PATIENCE
            while "no restart: the configuration cannot be used" not in server.errors:
                assert time.monotonic() < deadline, server.errors
                assert get(server) == 200
            assert "LISTEN_FDS: the service manager listens on" in server.errors
            assert get(server) == 200


@KINDS
def test_an_inherited_unix_socket_that_everybody_may_use_is_refused(kind: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as opened:  # a short path
        path = Path(folder, "quart")
        opened.bind(str(path))
        path.chmod(0o666)  # the default of systemd
        opened.listen()
        server = Server(Path(folder), SECRET, *kind, sockets=True, inherited=[opened])
        with pytest.raises(AssertionError, match="it printed"):
            server.start()
        assert "set SocketMode= in its unit" in server.errors


@KINDS
def test_two_binds_with_one_address_are_refused(tmp_path: Path, kind: tuple[str, ...]) -> None:
    port = free_port()
    admin = (f"admin.bind=127.0.0.1:{port}", f"plugins.quart.bind=127.0.0.1:{port}", f"admin.token={'t' * 32}")
    server = Server(tmp_path, SECRET, *kind, *admin)
    with pytest.raises(AssertionError, match="it printed"):
        server.start()
    assert "admin.bind: is the address of plugins.quart.bind as well" in server.errors
