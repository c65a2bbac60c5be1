"""A real `evanesce serve` process in a folder of its own, and what can be seen of it from outside."""

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

SCHEMES = {"quart": "http", "trio_websocket": "ws"}
TRANSPORTS = list(SCHEMES)
START_SECONDS = 40.0
END_SECONDS = 15.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Server:
    """Started by `with`, or `start`. It blocks: from Trio, call it in a thread.

    `settings` are given as `--set`; many people sign in from one address here, so that limit is far off. The public
    address is that of the first of `transports`; only `quart` has HTTP.
    """

    def __init__(
        self,
        folder: Path,
        *settings: str,
        transports: Sequence[str] = ("quart",),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.ports = {transport: free_port() for transport in transports}
        self.port = self.ports[transports[0]]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = environment or {}
        self._settings = [
            *(f"plugins.{transport}.bind=127.0.0.1:{port}" for transport, port in self.ports.items()),
            f"server.public_url={self.url}",
            "limits.sign_ins_per_minute=100000",
        ]
        if list(transports) != ["quart"]:
            self._settings.append("plugins.enabled=" + json.dumps(["guest", "sqlite", *transports]))
        self._settings += settings

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def errors(self) -> str:
        """All that it wrote to its standard error."""
        return (self.folder / "stderr.log").read_text()

    @property
    def database(self) -> Path:
        return self.folder / "evanesce.db"

    def start(self) -> None:
        command = [sys.executable, "-m", "evanesce", "serve"]
        for setting in self._settings:
            command += ["--set", setting]
        with (self.folder / "stderr.log").open("ab") as errors:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=os.environ | self._environment,
                start_new_session=True,
            )
        for transport, port in self.ports.items():
            line = self._next_line()
            expected = f"listening on {SCHEMES[transport]}://127.0.0.1:{port}"
            assert line == expected, f"it said {line!r} and wrote:\n{self.errors}"

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
        """Wait for its end; gives the exit code."""
        assert self.process is not None
        with self.process:
            return self.process.wait(seconds)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it as a deployer does."""
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

    # What is seen from outside

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Ask over HTTP; gives the status and the answer, read as JSON where it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
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
        """Find the embedded Valkey among the server's children: its process id and its socket."""
        assert self.process is not None
        for child in children(self.process.pid):
            arguments = arguments_of(child)
            if "--unixsocket" in arguments:
                return child, arguments[arguments.index("--unixsocket") + 1]
            # Valkey writes its title over its arguments: then the socket stands in the title.
            for part in arguments:
                if "unixsocket:" in part:
                    return child, part.split("unixsocket:")[1].split()[0]
        raise AssertionError("the server has no Valkey")

    def workers(self) -> dict[int, int]:
        """Find its workers among its children: process ids by number."""
        assert self.process is not None
        found: dict[int, int] = {}
        for child in children(self.process.pid):
            arguments = arguments_of(child)
            if "evanesce.cli.worker" in arguments:
                found[int(arguments[-1])] = child
        return found

    def listeners(self) -> int:
        """Count the sockets that listen on its port: one for each worker that takes clients in."""
        port = f":{self.port:04X}"
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(fields[1].endswith(port) and fields[3] == "0A" for fields in lines)  # 0A: TCP_LISTEN

    def redis(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=self.valkey()[1], socket_timeout=5)


def children(pid: int) -> list[int]:
    """Give the process ids of a process's children, on whichever of its threads they were started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += map(int, (task / "children").read_text().split())
        except FileNotFoundError:  # a thread that has ended meanwhile
            continue
    return found


def arguments_of(pid: int) -> list[str]:
    """Give what a process was started with; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
    except FileNotFoundError:
        return []


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and was not waited for yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"
