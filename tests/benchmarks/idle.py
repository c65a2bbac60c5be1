"""What an idle connection costs: memory, tasks and CPU of a real server while people sit in a room and say nothing.

`python -m tests.benchmarks.idle [--transport NAME]… [--connections N] [--rooms N] [--seconds S]`

The server runs as a deployer starts it; this process holds the other ends, as browsers would: with their headers and
their offer of permessage-deflate. What the first connections cost, which load code and fill caches, is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TRANSPORTS = ("trio_websocket", "quart")
WARM_UP = 200
"""How many connections come before those that are counted."""

AT_ONCE = 50
"""How many come in at the same time."""

PATIENCE = 60.0
"""How long anything may take, in seconds."""

_MASK = bytes(4)
_HEADERS = """\
Connection: Upgrade
Pragma: no-cache
Cache-Control: no-cache
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36
Upgrade: websocket
Sec-WebSocket-Version: 13
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en-US;q=0.9,en;q=0.8
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits
Sec-WebSocket-Protocol: evanesce.v1

""".replace("\n", "\r\n")


def _port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _command(**fields: Any) -> bytes:
    payload = json.dumps(fields).encode()
    assert len(payload) < 126
    return bytes([0x81, 0x80 | len(payload)]) + _MASK + payload


class _Line:
    """One client: it shakes hands, signs in, joins its room, and from then on answers pings."""

    def __init__(self, address: tuple[str, int], room: str | None) -> None:
        self.socket = socket.create_connection(address, timeout=PATIENCE)
        self.joined = False
        self.room = room
        self._received = bytearray()
        self._shaken = False
        host, port = address
        self.socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: http://{host}:{port}\r\n{_HEADERS}".encode()
        )

    def hear(self) -> None:
        """Read what came, and do what is next."""
        data = self.socket.recv(65_536)
        if not data:
            raise ConnectionError(f"the server closed a connection; before that came {bytes(self._received)!r}")
        self._received += data
        if not self._shaken:
            head, end, rest = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            assert head.startswith(b"HTTP/1.1 101 "), head
            self._received = rest
            self._shaken = True
            self.socket.sendall(_command(type="hello", credential={"provider": "guest", "displayName": "Idle"}))
        for opcode, payload in self._frames():
            if opcode == 9:
                self.socket.sendall(bytes([0x8A, 0x80 | len(payload)]) + _MASK + payload)
            elif opcode == 1:
                for event in json.loads(payload):
                    self._told(event)
            else:
                raise ConnectionError(f"opcode {opcode}: {bytes(payload)!r}")

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        while len(self._received) >= 2:
            size, start = self._received[1], 2
            if size == 126:
                size, start = int.from_bytes(self._received[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(self._received[2:10], "big"), 10
            if len(self._received) < start + size:
                return
            opcode, payload = self._received[0] & 15, bytes(self._received[start : start + size])
            del self._received[: start + size]
            yield opcode, payload

    def _told(self, event: dict[str, Any]) -> None:
        if event["type"] == "welcome":
            command = _command(type="create_room") if self.room is None else _command(type="join", roomId=self.room)
            self.socket.sendall(command)
        elif event["type"] == "room":
            self.room = event["roomId"]
            self.socket.sendall(_command(type="join", roomId=self.room))
        elif event["type"] == "joined":
            self.joined = True
        elif event["type"] in ("error", "goodbye"):
            raise ConnectionError(str(event))


class _Crowd:
    """All clients of a run, in one loop."""

    def __init__(self, address: tuple[str, int], rooms: int) -> None:
        self._address = address
        self._selector = selectors.DefaultSelector()
        self._lines: list[_Line] = []
        self._rooms: list[str] = []
        for _ in range(rooms):
            [line] = self._come([None])
            assert line.room is not None
            self._rooms.append(line.room)

    def grow(self, count: int) -> None:
        """Let `count` more come in, spread over the rooms."""
        for start in range(0, count, AT_ONCE):
            places = range(len(self._lines), len(self._lines) + min(AT_ONCE, count - start))
            self._come([self._rooms[place % len(self._rooms)] for place in places])

    def _come(self, rooms: Sequence[str | None]) -> list[_Line]:
        coming = [_Line(self._address, room) for room in rooms]
        for line in coming:
            self._selector.register(line.socket, selectors.EVENT_READ, line)
        self._lines += coming
        self.hear(lambda: all(line.joined for line in coming))
        return coming

    def hear(self, done: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Answer the server until `done`."""
        deadline = time.monotonic() + seconds
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            for key, _ in self._selector.select(left):
                key.data.hear()

    def rest(self, seconds: float) -> None:
        """Do nothing but answer pings."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                key.data.hear()

    def leave(self) -> None:
        for line in self._lines:
            self._selector.unregister(line.socket)
            line.socket.sendall(bytes([0x88, 0x82]) + _MASK + struct.pack("!H", 1000))
            line.socket.close()


class _Server:
    """`evanesce serve` with one transport for the clients, and the port of `quart` to read its metrics from."""

    def __init__(self, transport: str, folder: Path) -> None:
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
        ]
        command = [sys.executable, "-m", "evanesce", "serve"]
        command += [word for setting in settings for word in ("--set", setting)]
        self._process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, start_new_session=True)
        assert self._process.stdout is not None
        for _ in binds:
            line = self._process.stdout.readline()
            assert line.startswith(b"listening on "), line
        self.pid = self._process.pid

    def memory(self) -> int:
        """Give the bytes that are in memory and this process's own: what is shared with files is not counted."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        fields = dict(line.split(":", 1) for line in rollup.splitlines()[1:])
        return int(fields["Anonymous"].split()[0]) * 1024

    def cpu(self) -> float:
        """Give the seconds of CPU that it has taken."""
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

    def wait_for_sessions(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.metric("sessions") != count:
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(PATIENCE)
        assert code == 0, code


@contextmanager
def _running(transport: str) -> Iterator[_Server]:
    with tempfile.TemporaryDirectory() as folder:
        server = _Server(transport, Path(folder))
        try:
            yield server
        finally:
            server.stop()


def measure(transport: str, connections: int, *, rooms: int = 1, seconds: float = 50.0) -> dict[str, Any]:
    """Measure `connections` idle connections; per connection there is `kib`, `tasks` and `cpu_us_per_second`.

    They sit in `rooms` rooms. The CPU is that of `seconds`, of which 50 have two heartbeats in them.
    `left_…` is what is still there when all have gone, beyond what was there before they came.
    """
    _raise_limit(connections + WARM_UP + 1000)
    with _running(transport) as server:
        base_tasks, base_descriptors = server.metric("tasks"), server.descriptors()
        crowd = _Crowd(server.address, rooms)
        crowd.grow(WARM_UP)
        crowd.rest(1.5)
        memory, tasks = server.memory(), server.metric("tasks")
        came = time.monotonic()
        crowd.grow(connections)
        came = time.monotonic() - came
        crowd.rest(5.0)  # what was written behind reaches the database
        grown, grown_tasks = server.memory() - memory, server.metric("tasks") - tasks
        spent = server.cpu()
        crowd.rest(seconds)
        spent = server.cpu() - spent
        crowd.leave()
        server.wait_for_sessions(0)
        return {
            "transport": transport,
            "connections": connections,
            "rooms": rooms,
            "kib": round(grown / connections / 1024, 1),
            "tasks": round(grown_tasks / connections, 2),
            "cpu_us_per_second": round(spent / seconds / (connections + WARM_UP + rooms) * 1e6, 1),
            "connections_per_second": round(connections / came),
            "left_tasks": server.metric("tasks") - base_tasks,
            "left_descriptors": server.descriptors() - base_descriptors,
        }


def _raise_limit(descriptors: int) -> None:
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
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
