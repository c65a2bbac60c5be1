"""Many small rooms with one sender each: how many messages are accepted in a second.

In every room one message is in flight, until its sender has received its own copy.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.load.figures import milliseconds
from tests.benchmarks.load.usage import Meter
from tests.benchmarks.load.wire import MARK, MARK_BYTE

_BUFFER = 65_536


class _Room:
    """One room: its sender's socket and frame, when each message was sent, and how many each member has received."""

    __slots__ = ("done", "frame", "got", "moments", "sender")

    def __init__(self, sender: socket.socket, frame: bytes, members: int) -> None:
        self.sender = sender
        self.frame = frame
        self.got = [0] * members
        self.moments: list[float] = []
        self.done = 0


class ManyRooms:
    """`rooms`: the members of each, whose first is its sender, and the frame that it sends. All are non-blocking."""

    def __init__(self, rooms: Sequence[tuple[Sequence[socket.socket], bytes]], pids: Sequence[int]) -> None:
        self._pids = pids
        self._poll = select.epoll()
        self._by_descriptor: dict[int, tuple[_Room, int, socket.socket]] = {}
        self._rooms: list[_Room] = []
        for members, frame in rooms:
            room = _Room(members[0], frame, len(members))
            self._rooms.append(room)
            for place, member in enumerate(members):
                self._poll.register(member, select.EPOLLIN)
                self._by_descriptor[member.fileno()] = room, place, member
        self._buffer = bytearray(_BUFFER)
        self._latencies: list[float] = []

    def measure(self, warm_up: float, seconds: float) -> dict[str, Any]:
        """Send in all rooms, first for the warm-up, and return the figures."""
        for room in self._rooms:
            self._send(room)
        self._receive(time.perf_counter() + warm_up)
        done = len(self._latencies)
        meter = Meter(self._pids)
        self._receive(time.perf_counter() + seconds)
        usage = meter.read()
        latencies = self._latencies[done:]
        return {
            "accepted_per_second": len(latencies) / usage.seconds,
            "cpu_us_per_message": usage.server_cpu * 1e6 / len(latencies) if latencies else 0.0,
            **milliseconds(latencies),
            "server_share": usage.server_share,
            "load_share": usage.load_share,
            "others_share": usage.others_share,
        }

    def _send(self, room: _Room) -> None:
        room.moments.append(time.perf_counter())
        if room.sender.send(room.frame) < len(room.frame):
            raise RuntimeError("a socket with nothing in it took a part of a frame")

    def _receive(self, until: float) -> None:
        buffer, by_descriptor = self._buffer, self._by_descriptor
        while (now := time.perf_counter()) < until:
            for descriptor, _ in self._poll.poll(until - now, len(by_descriptor)):
                room, place, member = by_descriptor[descriptor]
                size = member.recv_into(buffer)
                if not size:
                    raise RuntimeError("the server closed a connection")
                count = buffer.count(MARK, 0, size) + (buffer[0] == MARK_BYTE)  # as in `fanout`
                if not count:
                    continue
                room.got[place] += count
                lowest = min(room.got)
                if lowest > room.done:
                    now = time.perf_counter()
                    self._latencies += [now - moment for moment in room.moments[room.done : lowest]]
                    room.done = lowest
                if place == 0:
                    self._send(room)
