"""Many connections, which sign in and join their rooms before a measurement."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Sequence

from tests.benchmarks.load.dialects import Dialect, Step
from tests.benchmarks.load.wire import upgrade

AT_ONCE = 64
"""How many connections are opened and signed in at the same time."""

PATIENCE = 60.0


class ConnectionPool:
    """Connections to one server, or to several in turn: `block` connections to each."""

    def __init__(self, ports: Sequence[int], dialect: Dialect, block: int = 1) -> None:
        self._ports = ports
        self._block = block
        self._dialect = dialect
        self._host: socket.socket | None = None
        self.sockets: list[socket.socket] = []

    def new_rooms(self, count: int) -> list[str]:
        """Create rooms, where that takes a command with a connection of its own, and return their names."""
        return [self._dialect.new_room(number, self._ask) for number in range(count)]

    def open(self, rooms: Sequence[str], *, receive_buffer: int | None = None, hint: bool = False) -> None:
        """Open and sign in one more connection for each of `rooms`, which it may join later.

        `receive_buffer` is the size of the kernel's buffer for each. With `hint`, each names its room in its address.
        """
        for start in range(0, len(rooms), AT_ONCE):
            group = rooms[start : start + AT_ONCE]
            paths = [self._dialect.path(room) + (f"?roomId={room}" if hint else "") for room in group]
            self.sockets += self._open(paths, len(self.sockets), receive_buffer)

    def _open(self, paths: Sequence[str], first: int, receive_buffer: int | None) -> list[socket.socket]:
        numbers = range(first, first + len(paths))
        ports = [self._ports[number // self._block % len(self._ports)] for number in numbers]
        group = [self._connect(port, receive_buffer) for port in ports]
        kept = [b""] * len(group)
        steps = [
            [Step(upgrade(port, path), b"\r\n\r\n"), *self._dialect.greeting(f"Guest {number}")]
            for port, path, number in zip(ports, paths, numbers, strict=True)
        ]
        for number in range(len(steps[0])):
            kept = _do(group, [of_one[number] for of_one in steps], kept)
        return group

    def _ask(self, step: Step) -> bytes:
        if self._host is None:
            [self._host] = self._open([self._dialect.path("")], 0, None)
        return _do([self._host], [step], [b""])[0]

    def join(self, connections: Sequence[socket.socket], room: str) -> None:
        """Join a room with these connections."""
        if not self._dialect.joined:
            return
        for start in range(0, len(connections), AT_ONCE):
            group = connections[start : start + AT_ONCE]
            steps = [Step(self._dialect.join(room), self._dialect.joined) for _ in group]
            _do(group, steps, [b""] * len(group))

    def _connect(self, port: int, receive_buffer: int | None) -> socket.socket:
        connection = socket.socket()
        connection.settimeout(PATIENCE)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.connect(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def discard_events(self) -> None:
        """Read and discard the events about other clients' joins, until none arrives for a moment."""
        for connection in self.sockets:
            connection.setblocking(False)
        silent = 0
        while silent < 3:
            silent = 0 if _discard(self.sockets) else silent + 1

    def close(self) -> None:
        """Close all connections."""
        for connection in [*self.sockets, *([self._host] if self._host else [])]:
            connection.close()


def _do(group: Sequence[socket.socket], steps: Sequence[Step], kept: list[bytes]) -> list[bytes]:
    """Run one step on each connection, and return what was received, with `kept` where the step sends nothing."""
    for connection, step in zip(group, steps, strict=True):
        if step.sent:
            connection.sendall(step.sent)
    answers: list[bytes] = []
    for connection, step, before in zip(group, steps, kept, strict=True):
        answer = b"" if step.sent else before
        while step.awaited not in answer:
            more = connection.recv(65_536)
            if not more:
                raise RuntimeError(f"the server closed the connection, after {answer[-300:]!r}")
            answer += more
        answers.append(answer)
    return answers


def _discard(sockets: Sequence[socket.socket]) -> int:
    poll = select.epoll()
    by_descriptor = {connection.fileno(): connection for connection in sockets}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.EPOLLIN)
    read = 0
    for descriptor, _ in poll.poll(0.1, len(sockets)):
        with contextlib.suppress(BlockingIOError):
            read += len(by_descriptor[descriptor].recv(1_048_576))
    poll.close()
    return read
