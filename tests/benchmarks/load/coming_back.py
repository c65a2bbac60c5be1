"""People in small rooms connect and join at once, disconnect, and come back at once to what they missed meanwhile."""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.load.arrivals import RETRY_SECONDS, Arrivals
from tests.benchmarks.load.connections import AT_ONCE, ConnectionPool
from tests.benchmarks.load.dialects import Resuming, Step
from tests.benchmarks.load.usage import wait_until_quiet
from tests.benchmarks.load.wire import MARK, content, upgrade

PATIENCE = 60.0


class ComingBack:
    """So many `people`, in rooms of `members`."""

    def __init__(self, port: int, dialect: Resuming, people: int, members: int, pids: Sequence[int]) -> None:
        self._port = port
        self._dialect = dialect
        self._pids = pids
        self._members = members
        self._visitors = ConnectionPool([port], dialect)
        self._rooms = self._visitors.new_rooms(people // members)
        self._room_of = [self._rooms[number // members] for number in range(people // members * members)]
        self._heard = [b""] * len(self._room_of)
        self._connections: list[socket.socket] = []

    def measure(self, size: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the figures of the first arrival and of the second. Messages are of `size` bytes."""
        greetings = [self._dialect.greeting(f"Guest {number}") for number in range(len(self._room_of))]
        self._arrive(greetings, under_way=AT_ONCE)
        self._leave()
        known = zip(self._room_of, self._heard, strict=True)
        first = self._arrive([self._dialect.arrive(room, heard) for room, heard in known])
        self._say(self._connections[:: self._members], self._connections, size, remember=True)
        self._leave()
        self._let_visitors_say(size)
        known = zip(self._room_of, self._heard, strict=True)
        second = self._arrive([self._dialect.come_back(room, heard) for room, heard in known], missed=1)
        self._leave()
        self._visitors.close()
        return first, second

    def _arrive(self, steps: Sequence[Sequence[Step]], missed: int = 0, under_way: int = 1_000_000) -> dict[str, Any]:
        people = [
            [Step(upgrade(self._port, self._dialect.path(room)), b"\r\n\r\n"), *of_one]
            for room, of_one in zip(self._room_of, steps, strict=True)
        ]
        arrivals = Arrivals(self._port, self._dialect, people, missed, self._pids, under_way)
        figures = arrivals.measure()
        self._connections = arrivals.connections
        self._remember([one.heard for one in arrivals.people])
        return figures

    def _leave(self) -> None:
        """Close all connections without WebSocket's closing handshake, as the system does for a process that ends."""
        for connection in self._connections:
            connection.close()
        wait_until_quiet(self._pids)

    def _remember(self, heard: Sequence[bytes]) -> None:
        self._heard = [before + more for before, more in zip(self._heard, heard, strict=True)]

    def _let_visitors_say(self, size: int) -> None:
        """Say a thing in each room, by somebody who comes for that."""
        self._visitors.open(self._rooms)
        for connection, room in zip(self._visitors.sockets, self._rooms, strict=True):
            self._visitors.join([connection], room)
        self._visitors.discard_events()
        self._say(self._visitors.sockets, self._visitors.sockets, size, remember=False)
        self._visitors.close()
        wait_until_quiet(self._pids)

    def _say(
        self, senders: Sequence[socket.socket], receivers: Sequence[socket.socket], size: int, *, remember: bool
    ) -> None:
        said = [
            (sender, self._dialect.say(room, content(size))) for sender, room in zip(senders, self._rooms, strict=True)
        ]
        for sender, command in said:
            sender.send(command)
        heard = hear_one_each(receivers, said, self._dialect.refused)
        if remember:
            self._remember(heard)


def hear_one_each(
    connections: Sequence[socket.socket], said: Sequence[tuple[socket.socket, bytes]], refused: bytes
) -> list[bytes]:
    """Receive until there is a message on each connection, and return what was received.

    What was `said` on some of them is said again where the server has `refused` it: a busy server asks for that. Raises
    `RuntimeError` where somebody receives nothing all the same.
    """
    heard = {connection.fileno(): b"" for connection in connections}
    by_descriptor = {connection.fileno(): connection for connection in connections}
    commands = {connection.fileno(): command for connection, command in said}
    searched = dict.fromkeys(commands, 0)  # how much of what was received has refusals that were seen
    again: deque[tuple[float, int]] = deque()
    refusals = 0
    poll = select.epoll()
    for descriptor in heard:
        poll.register(descriptor, select.EPOLLIN)
    missing = set(heard)
    until = time.perf_counter() + PATIENCE
    while missing:
        now = time.perf_counter()
        if now > until:
            told = f", after {refusals} refusals" if refusals else ""
            raise RuntimeError(f"{len(missing)} of {len(connections)} did not receive a message{told}")
        while again and again[0][0] <= now:
            _, descriptor = again.popleft()
            if descriptor in missing:  # a command that was refused may have been carried out
                by_descriptor[descriptor].send(commands[descriptor])
        for descriptor, _ in poll.poll(0.1 if again else 1.0, len(connections)):
            data = by_descriptor[descriptor].recv(262_144)
            if not data:
                raise RuntimeError(f"the server closed the connection, after {heard[descriptor][-300:]!r}")
            heard[descriptor] += data
            if MARK in heard[descriptor]:
                missing.discard(descriptor)
            elif refused and descriptor in commands and refused in heard[descriptor][searched[descriptor] :]:
                searched[descriptor] = len(heard[descriptor])
                refusals += 1
                again.append((now + RETRY_SECONDS, descriptor))
    poll.close()
    return list(heard.values())
