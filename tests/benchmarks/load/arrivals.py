"""Many people connect and join at once: how long it takes until each of them is served, and what it costs.

All set off at the same moment, and each one's time counts from then. At most `OPENING` handshakes wait for their answer
at a time, so that none is lost because the kernel's queue of a listener is full.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from tests.benchmarks.load.dialects import Step
from tests.benchmarks.load.figures import milliseconds
from tests.benchmarks.load.usage import Meter
from tests.benchmarks.load.wire import MARK

OPENING = 400

PATIENCE = 60.0
"""How long nothing may be received, in seconds."""

LATE_SECONDS = 3.0
"""The same when everybody has an answer to each step, and only messages are missing."""


class Arrival:
    """One person: the steps to take, of which the first is the handshake, and all that was received meanwhile."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = deque(steps)
        self._begin = 0  # where in `heard` the answer to the present step begins
        self.connection = socket.socket()
        self.heard = b""
        self.opened = False
        self.served_at = 0.0

    @property
    def answered(self) -> bool:
        """Whether all steps are complete."""
        return not self._steps

    @property
    def messages(self) -> int:
        """How many messages were received."""
        return self.heard.count(MARK)

    def begin(self, port: int) -> None:
        """Connect, and ask for a WebSocket."""
        self.connection.connect(("127.0.0.1", port))
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.setblocking(False)
        self.connection.send(self._steps[0].sent)

    def receive(self) -> None:
        """Receive, and take the steps that have become possible."""
        data = self.connection.recv(262_144)
        if not data:
            raise RuntimeError(f"the server closed a connection, after {self.heard[-300:]!r}")
        self.heard += data
        while self._steps and self.heard.find(self._steps[0].awaited, self._begin) >= 0:
            self._steps.popleft()
            self.opened = True
            if self._steps and self._steps[0].sent:
                self._begin = len(self.heard)
                self.connection.send(self._steps[0].sent)


class Arrivals:
    """People who arrive at a server at once. `messages` is how many each of them missed, and has to receive."""

    def __init__(self, port: int, people: Sequence[Sequence[Step]], messages: int, pids: Sequence[int]) -> None:
        self._port = port
        self._messages = messages
        self._pids = pids
        self.people = [Arrival(steps) for steps in people]

    @property
    def connections(self) -> list[socket.socket]:
        """The connection of each."""
        return [one.connection for one in self.people]

    def measure(self, lost: Callable[[bytes], int]) -> dict[str, Any]:
        """Let them arrive, and return the figures. Their connections stay open.

        `lost` reads in what a person heard how many messages the server calls lost. The figure `missed` is the number
        of those, and of the messages that did not arrive.
        """
        meter = Meter(self._pids)
        begun = time.perf_counter()
        self._serve(begun)
        usage = meter.read()
        times = [one.served_at - begun for one in self.people]
        return {
            "seconds": max(times),
            **milliseconds(times),
            "cpu_us_per_person": usage.server_cpu * 1e6 / len(self.people),
            "missed": sum(max(0, self._messages - one.messages) + lost(one.heard) for one in self.people),
            "server_share": usage.server_share,
            "load_share": usage.load_share,
            "others_share": usage.others_share,
        }

    def _serve(self, begun: float) -> None:
        """Receive until each is served: has an answer to each step, and its messages, unless those stay away."""
        poll = select.epoll()
        arriving: dict[int, Arrival] = {}
        to_come = deque(self.people)
        opening = unanswered = len(to_come)
        last = begun
        while arriving or to_come:
            while to_come and opening - len(to_come) < OPENING:
                one = to_come.popleft()
                one.begin(self._port)
                arriving[one.connection.fileno()] = one
                poll.register(one.connection, select.EPOLLIN)
            ready = poll.poll(0.1, len(self.people))
            now = time.perf_counter()
            for descriptor, _ in ready:
                one = arriving[descriptor]
                before = one.opened, one.answered
                one.receive()
                opening -= one.opened - before[0]
                unanswered -= one.answered - before[1]
                if one.answered:
                    one.served_at = time.perf_counter()
                    if one.messages >= self._messages:
                        del arriving[descriptor]
                        poll.unregister(descriptor)
            if ready:
                last = now
            elif now - last > (PATIENCE if unanswered else LATE_SECONDS):
                break
        poll.close()
        if unanswered:
            raise RuntimeError(f"{unanswered} of {len(self.people)} were not served")
