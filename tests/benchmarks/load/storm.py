"""Everybody comes into one room at once, and then leaves it: how long that takes, and how much they are told of it."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.load.usage import Meter

EVENT = b'"type":"'
"""Stands once in every reply and event of Evanesce, as nobody has said anything in the room."""

AFTER_SECONDS = 2.5
"""How long what comes afterwards is counted too: a large room's size is told once a second."""

PATIENCE = 120.0


class Storm:
    """`people`, signed in and non-blocking."""

    def __init__(self, people: Sequence[socket.socket], pids: Sequence[int]) -> None:
        self._people = people
        self._pids = pids
        self._poll = select.epoll()
        self._by_descriptor = {person.fileno(): person for person in people}
        for person in people:
            self._poll.register(person, select.EPOLLIN)

    def measure(self, command: bytes, answer: bytes) -> dict[str, Any]:
        """Have all of them send a command at once, and wait until each has its answer."""
        meter = Meter(self._pids)
        for person in self._people:
            if person.send(command) < len(command):
                raise RuntimeError("a socket with nothing in it took a part of a frame")
        before = time.perf_counter()
        answers, told, size, last = self._hear(before + PATIENCE, answer, len(self._people))
        if answers < len(self._people):
            raise RuntimeError(f"{answers} of {len(self._people)} were answered")
        usage = meter.read()
        _, told_after, size_after, _ = self._hear(time.perf_counter() + AFTER_SECONDS, answer, None)
        return {
            "seconds": last - before,
            "told_per_person": (told + told_after) / len(self._people),
            "bytes_per_person": (size + size_after) / len(self._people),
            "cpu_us_per_person": usage.server_cpu * 1e6 / len(self._people),
            "load_share": usage.load_share,
            "others_share": usage.others_share,
        }

    def _hear(self, until: float, answer: bytes, enough: int | None) -> tuple[int, int, int, float]:
        answers = told = size = 0
        last = time.perf_counter()
        tails: dict[int, bytes] = {}
        while (now := time.perf_counter()) < until and (enough is None or answers < enough):
            for descriptor, _ in self._poll.poll(min(until - now, 0.1), len(self._people)):
                data = self._by_descriptor[descriptor].recv(262_144)
                if not data:
                    raise RuntimeError("the server closed a connection")
                size += len(data)
                tail = tails.get(descriptor, b"")
                told += _count(tail, data, EVENT)
                found = _count(tail, data, answer)
                tails[descriptor] = data[-len(answer) :]
                if found:
                    answers += found
                    last = time.perf_counter()
        return answers, told, size, last


def _count(tail: bytes, data: bytes, what: bytes) -> int:
    """Count `what` in data, and where a part of it was at the end of what came before."""
    reach = len(what) - 1
    before = tail[-reach:]
    return data.count(what) + (before + data[:reach]).count(what)
