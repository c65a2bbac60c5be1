"""All clients join a room at once, and then leave it: how long that takes, and how many events each receives."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.load.usage import Meter

EVENT = b'"type":"'
"""Occurs once in every reply and event of Evanesce, because there are no messages in the room."""

AFTER_SECONDS = 2.5
"""How long later events are counted: a large room sends its size once a second."""

PATIENCE = 120.0


class Storm:
    """A storm of commands over `connections`, which are signed in and non-blocking."""

    def __init__(self, connections: Sequence[socket.socket], pids: Sequence[int]) -> None:
        self._connections = connections
        self._pids = pids
        self._poll = select.epoll()
        self._by_descriptor = {connection.fileno(): connection for connection in connections}
        for connection in connections:
            self._poll.register(connection, select.EPOLLIN)

    def measure(self, command: bytes, answer: bytes) -> dict[str, Any]:
        """Send a command over all connections at once, and wait until each has received its reply."""
        meter = Meter(self._pids)
        for connection in self._connections:
            if connection.send(command) < len(command):
                raise RuntimeError("a socket with nothing in it took a part of a frame")
        before = time.perf_counter()
        answers, events, size, last = self._receive(before + PATIENCE, answer, len(self._connections))
        if answers < len(self._connections):
            raise RuntimeError(f"{answers} of {len(self._connections)} were answered")
        usage = meter.read()
        _, events_after, size_after, _ = self._receive(time.perf_counter() + AFTER_SECONDS, answer, None)
        return {
            "seconds": last - before,
            "told_per_person": (events + events_after) / len(self._connections),
            "bytes_per_person": (size + size_after) / len(self._connections),
            "cpu_us_per_person": usage.server_cpu * 1e6 / len(self._connections),
            "load_share": usage.load_share,
            "others_share": usage.others_share,
        }

    def _receive(self, until: float, answer: bytes, enough: int | None) -> tuple[int, int, int, float]:
        answers = events = size = 0
        last = time.perf_counter()
        tails: dict[int, bytes] = {}
        while (now := time.perf_counter()) < until and (enough is None or answers < enough):
            for descriptor, _ in self._poll.poll(min(until - now, 0.1), len(self._connections)):
                data = self._by_descriptor[descriptor].recv(262_144)
                if not data:
                    raise RuntimeError("the server closed a connection")
                size += len(data)
                tail = tails.get(descriptor, b"")
                events += _count(tail, data, EVENT)
                found = _count(tail, data, answer)
                tails[descriptor] = data[-len(answer) :]
                if found:
                    answers += found
                    last = time.perf_counter()
        return answers, events, size, last


def _count(tail: bytes, data: bytes, what: bytes) -> int:
    """Count `what` in data, also where it begins in `tail`, the end of the data before."""
    reach = len(what) - 1
    before = tail[-reach:]
    return data.count(what) + (before + data[:reach]).count(what)
