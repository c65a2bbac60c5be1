"""A real `evanesce serve` process in a folder of its own, with its HTTP interface and its child processes."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from tests.patience import PATIENCE
from tests.ports import free_port

SCHEMES = {"quart": "http", "trio_websocket": "ws"}
TRANSPORTS = list(SCHEMES)
START_SECONDS = 90.0
"""How long a start may take. After a kill it may wait 30 s for other servers that use its database."""

END_SECONDS = 60.0

PASS_ON = """
import os, sys
passed = [os.dup2(int(number), index) for index, number in enumerate(sys.argv[1].split(","), 100)]
for target, source in enumerate(passed, 3):
    os.dup2(source, target)
os.closerange(3 + len(passed), 200)
os.environ |= {"LISTEN_FDS": str(len(passed)), "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Starts a program with descriptors from 3 on, as systemd does."""


class Server:
    """A server, started by `with` or `start`. The methods block: from Trio, call them in a thread.

    `settings` are the values of `--set`. The limit of sign-ins is high, because all clients have one address. The
    public address is that of the first of `transports`; only `quart` has HTTP. `descriptors` is the hard limit of open
    files, if it differs from that of this process. With `sockets`, all listen on Unix sockets, whose names are those of
    the transports. `inherited` are listening sockets that it gets as from a service manager, the first one for the
    first transport.
    """

    def __init__(
        self,
        folder: Path,
        *settings: str,
        transports: Sequence[str] = ("quart",),
        environment: dict[str, str] | None = None,
        options: Sequence[str] = (),
        descriptors: int | None = None,
        sockets: bool = False,
        inherited: Sequence[socket.socket] = (),
    ) -> None:
        self.folder = folder
        self._sockets = sockets
        self._options = options
        self.ports = {transport: free_port() for transport in transports}
        if inherited and not sockets:
            self.ports[transports[0]] = inherited[0].getsockname()[1]
        self.port = self.ports[transports[0]]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = environment or {}
        self._descriptors = descriptors
        self._inherited = [one.fileno() for one in inherited]
        self.settings = [
            *(f"plugins.{transport}.bind={self._address(transport)}" for transport in self.ports),
            f"server.public_url={self.url}",
            "limits.sign_ins_per_minute=100000",
        ]
        if list(transports) != ["quart"]:
            self.settings.append("plugins.enabled=" + json.dumps(["guest", "sqlite", *transports]))
        self.settings += settings

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def errors(self) -> str:
        """The server's standard error so far."""
        return (self.folder / "stderr.log").read_text()

    @property
    def database(self) -> Path:
        return self.folder / "evanesce.db"

    def _address(self, transport: str) -> str:
        return f"unix:{transport}" if self._sockets else f"127.0.0.1:{self.ports[transport]}"

    def start(self) -> None:
        command = [sys.executable, "-m", "evanesce", "serve", *self._options]
        for setting in self.settings:
            command += ["--set", setting]
        if self._descriptors is not None:
            command = ["/bin/sh", "-c", 'ulimit -n "$0" && exec "$@"', str(self._descriptors), *command]
        if self._inherited:
            command = [sys.executable, "-c", PASS_ON, ",".join(map(str, self._inherited)), *command]
        with (self.folder / "stderr.log").open("ab") as errors:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=os.environ | self._environment,
                pass_fds=self._inherited,
                start_new_session=True,
            )
        for transport in self.ports:
            line = self._next_line()
            scheme = "" if self._sockets else f"{SCHEMES[transport]}://"
            expected = f"listening on {scheme}{self._address(transport)}"
            assert line == expected, f"it printed {line!r} and wrote:\n{self.errors}"

    def _next_line(self) -> str:
        assert self.process is not None
        assert self.process.stdout is not None
        line = b""
        deadline = time.monotonic() + START_SECONDS
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            byte = os.read(self.process.stdout.fileno(), 1) if readable else b""
            if not byte:
                self.kill()
                break
            line += byte
        return line.decode().strip()

    def send_signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, seconds: float = END_SECONDS) -> int:
        """Wait for the end of the process, and return its exit code."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            with self.process:  # closes the pipes
                pass

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop the server as a deployer does, and check its exit code."""
        self.send_signal(number)
        code = self.wait()
        assert code == 0, f"it ended with {code} and wrote:\n{self.errors}"

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.wait()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        if self.process.poll() is not None:
            assert self.process.returncode is not None
            self.wait()
        elif error is None:
            self.stop()
        else:
            self.kill()
            sys.stderr.write(f"the server wrote:\n{self.errors}")

    # Requests and processes

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Send an HTTP request, and return the status and the body, decoded if it is JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        if self._sockets:
            connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.sock.settimeout(PATIENCE)
            connection.sock.connect(str(self.folder / "quart"))
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None:
            sent["Content-Type"] = "application/json"
        try:
            connection.request(
                method, path, body if body is None or isinstance(body, bytes) else json.dumps(body), sent
            )
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.getheader("Content-Type", "").startswith("application/json"):
            return response.status, json.loads(answer)
        return response.status, answer

    def ready(self) -> dict[str, Any]:
        """Wait until it says that it is ready, and return its answer: on a busy machine a check may take too long."""
        deadline = time.monotonic() + PATIENCE
        while True:
            status, answer = self.ask("GET", "/readyz")
            if (status, answer["status"]) == (200, "ready"):
                assert isinstance(answer, dict)
                return answer
            assert time.monotonic() < deadline, answer
            time.sleep(0.1)  # nothing tells of it

    def sign_in(self, name: str) -> dict[str, Any]:
        status, answer = self.ask("POST", "/api/v1/session", {"provider": "guest", "displayName": name})
        assert status == 201, answer
        assert isinstance(answer, dict)
        return answer

    def open_room(self, token: str | None = None) -> dict[str, Any]:
        token = token or str(self.sign_in("Room owner")["token"])
        status, answer = self.ask("POST", "/api/v1/rooms", token=token)
        assert status == 201, answer
        assert isinstance(answer, dict)
        return answer

    def valkey(self) -> tuple[int, str]:
        """Return the process id and the socket of the embedded Valkey, which is a child of the server."""
        assert self.process is not None
        return valkey_of(self.process.pid)

    def workers(self) -> dict[int, int]:
        """Return the process ids of the workers, by number."""
        assert self.process is not None
        found: dict[int, int] = {}
        for child in children(self.process.pid):
            arguments = arguments_of(child)
            if "evanesce.cli.worker" in arguments:
                found[int(arguments[-1])] = child
        return found

    def listeners(self) -> int:
        """Return the number of sockets that listen on the server's port: one for each worker that accepts clients."""
        port = f":{self.port:04X}"
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(fields[1].endswith(port) and fields[3] == "0A" for fields in lines)  # 0A: TCP_LISTEN

    def redis(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=self.valkey()[1], socket_timeout=PATIENCE)


def children(pid: int) -> list[int]:
    """Return the process ids of the children of a process, for all of its threads."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += map(int, (task / "children").read_text().split())
        except FileNotFoundError:  # a thread that has ended meanwhile
            continue
    return found


def valkey_of(pid: int) -> tuple[int, str]:
    """Return the process id and the socket of the Valkey that a server runs."""
    for child in children(pid):
        arguments = arguments_of(child)
        if "--unixsocket" in arguments:
            return child, arguments[arguments.index("--unixsocket") + 1]
        # Valkey overwrites its arguments with a title, which contains the socket.
        for part in arguments:
            if "unixsocket:" in part:
                return child, part.split("unixsocket:")[1].split()[0]
    raise AssertionError("the server has no Valkey")


def arguments_of(pid: int) -> list[str]:
    """Return the arguments of a process, or none if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def alive(pid: int) -> bool:
    """Return whether a process is running. A zombie is not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
