"""Many connections, signed in and in their rooms: made before anything is measured."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Sequence

from tests.benchmarks.load.dialects import Dialect, Step
from tests.benchmarks.load.wire import upgrade

AT_ONCE = 64
"""How many connections are made and signed in at the same time."""

PATIENCE = 60.0


class Crowd:
    """Connections to one server, or to several, by turns: `block` connections to each."""

    def __init__(self, ports: Sequence[int], dialect: Dialect, block: int = 1) -> None:
        self._ports = ports
        self._block = block
        self._dialect = dialect
        self.sockets: list[socket.socket] = []

    def gather(self, people: int, *, receive_buffer: int | None = None) -> None:
        """Have so many more people connect and sign in; with `receive_buffer` the kernel takes little for each."""
        while people > 0:
            numbers = range(len(self.sockets), len(self.sockets) + min(AT_ONCE, people))
            ports = [self._ports[number // self._block % len(self._ports)] for number in numbers]
            group = [self._connect(port, receive_buffer) for port in ports]
            people -= len(group)
            kept = [b""] * len(group)
            steps = [
                [Step(upgrade(port, self._dialect.path), b"\r\n\r\n"), *self._dialect.greeting(f"Guest {number}")]
                for port, number in zip(ports, numbers, strict=True)
            ]
            for number in range(len(steps[0])):
                kept = _do(group, [of_one[number] for of_one in steps], kept)
            self.sockets += group

    def new_room(self, number: int) -> str:
        """Have the first of them open a room."""
        return self._dialect.new_room(number, lambda step: _do([self.sockets[0]], [step], [b""])[0])

    def join(self, people: Sequence[socket.socket], room: str) -> None:
        """Have people come into a room."""
        command = self._dialect.join(room)
        if command:
            for start in range(0, len(people), AT_ONCE):
                group = people[start : start + AT_ONCE]
                _do(group, [Step(command, self._dialect.joined)] * len(group), [b""] * len(group))

    def _connect(self, port: int, receive_buffer: int | None) -> socket.socket:
        connection = socket.socket()
        connection.settimeout(PATIENCE)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.connect(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def quiet(self) -> None:
        """Read away what still comes of the comings of others, until nothing does for a moment."""
        for connection in self.sockets:
            connection.setblocking(False)
        silent = 0
        while silent < 3:
            silent = 0 if _read_away(self.sockets) else silent + 1

    def close(self) -> None:
        """Let go of all connections."""
        for connection in self.sockets:
            connection.close()


def _do(group: Sequence[socket.socket], steps: Sequence[Step], kept: list[bytes]) -> list[bytes]:
    """Do one step on each connection; gives what came, `kept` included where the step sends nothing."""
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


def _read_away(sockets: Sequence[socket.socket]) -> int:
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
