"""One room, one sender: how fast all members receive a message, and how many deliveries there are in a second.

A message counts as received when every member has received it. It counts as in flight until the sender has received
its own copy. This is the same for every contender, whether it acknowledges messages or not.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from typing import Any, Protocol

from tests.benchmarks.load.figures import milliseconds
from tests.benchmarks.load.usage import Meter
from tests.benchmarks.load.wire import MARK, MARK_BYTE

STALL_SECONDS = 15.0
_BUFFER = 262_144


class Pace(Protocol):
    """When the sender sends messages."""

    def due(self, now: float, sent: int, own: int) -> list[float]:
        """Return the due times of the messages to send now. Before, `sent` were sent, and the sender received `own`."""
        ...

    def wait(self, now: float) -> float:
        """Return how long no message will be due, whatever is received."""
        ...


class InFlight:
    """Keep `most` messages in flight."""

    def __init__(self, most: int) -> None:
        self._most = most

    def due(self, now: float, sent: int, own: int) -> list[float]:
        """Return as many as are missing."""
        return [now] * (self._most - (sent - own))

    def wait(self, now: float) -> float:
        """Wait for received messages."""
        return 1.0


class Steady:
    """Send `rate` messages a second, whatever is received. The latency of a late message counts from its due time."""

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate
        self._next: float | None = None

    def due(self, now: float, sent: int, own: int) -> list[float]:
        """Return the messages that have become due."""
        if self._next is None:
            self._next = now
        moments: list[float] = []
        while self._next <= now:
            moments.append(self._next)
            self._next += self._interval
        return moments

    def wait(self, now: float) -> float:
        """Wait for the next due time."""
        return 0.0 if self._next is None else max(0.0, self._next - now)


class FanOut:
    """The `members` of a room, non-blocking, of whom `sender` sends `frame` repeatedly."""

    def __init__(self, members: Sequence[socket.socket], sender: int, frame: bytes, pids: Sequence[int]) -> None:
        self._sender = members[sender]
        self._place = sender
        self._frame = frame
        self._pids = pids
        self._poll = select.epoll()
        self._places: dict[int, int] = {}
        for place, member in enumerate(members):
            self._poll.register(member, select.EPOLLIN)
            self._places[member.fileno()] = place
        self._receive = [member.recv_into for member in members]
        self._buffer = bytearray(_BUFFER)
        self._got = [0] * len(members)  # how many messages each member has received
        self._lowest = 0  # how many all have received
        self._at_lowest = len(members)
        self._moments: list[float] = []  # when each was sent
        self._latencies: list[float] = []
        self._pending = memoryview(b"")
        self._received_at = time.perf_counter()

    def measure(self, pace: Pace, warm_up: float, seconds: float) -> dict[str, Any]:
        """Send at a pace, first for the warm-up, and return the figures. Then wait until all messages have arrived.

        `not_arrived` is the number of deliveries that were missing 15 s after the last message.
        """
        self._run(pace, time.perf_counter() + warm_up)
        delivered, done = sum(self._got), self._lowest
        meter = Meter(self._pids)
        self._run(pace, time.perf_counter() + seconds)
        usage = meter.read()
        delivered, latencies = sum(self._got) - delivered, self._latencies[done:]
        self._drain()
        return {
            "deliveries_per_second": delivered / usage.seconds,
            "messages_per_second": len(latencies) / usage.seconds,
            "cpu_us_per_delivery": usage.server_cpu * 1e6 / delivered if delivered else 0.0,
            **milliseconds(latencies),
            "server_share": usage.server_share,
            "load_share": usage.load_share,
            "others_share": usage.others_share,
            "not_arrived": len(self._moments) * len(self._got) - sum(self._got),
        }

    def _run(self, pace: Pace, until: float) -> None:
        while (now := time.perf_counter()) < until:
            moments = pace.due(now, len(self._moments), self._got[self._place])
            if moments:
                self._moments += moments
                self._pending = memoryview(bytes(self._pending) + self._frame * len(moments))
            if self._pending:
                self._send()
            self._receive_all(min(until - now, pace.wait(now), 0.001 if self._pending else 1.0))

    def _send(self) -> None:
        try:
            self._pending = self._pending[self._sender.send(self._pending) :]
        except BlockingIOError:
            return

    def _receive_all(self, timeout: float) -> None:
        """Receive for all members, and note which messages all of them have received."""
        got, places, receive, buffer = self._got, self._places, self._receive, self._buffer
        ready = self._poll.poll(timeout, len(got))
        for descriptor, _ in ready:
            place = places[descriptor]
            size = receive[place](buffer)
            if not size:
                raise RuntimeError("the server closed a connection")
            # A mark whose beginning was received before: it was not counted.
            count = buffer.count(MARK, 0, size) + (buffer[0] == MARK_BYTE)
            if count:
                if got[place] == self._lowest:
                    self._at_lowest -= 1
                got[place] += count
        now = time.perf_counter()
        if ready:
            self._received_at = now
        elif now - self._received_at > STALL_SECONDS:
            raise RuntimeError(
                f"nothing was received for {STALL_SECONDS:.0f} s; {self._lowest} of {len(self._moments)} did"
            )
        if not self._at_lowest:
            lowest = min(got)
            self._at_lowest = got.count(lowest)
            self._latencies += [now - moment for moment in self._moments[self._lowest : lowest]]
            self._lowest = lowest

    def _drain(self) -> None:
        until = time.perf_counter() + STALL_SECONDS
        while self._lowest < len(self._moments) and time.perf_counter() < until:
            if self._pending:
                self._send()
            self._receive_all(0.1)
