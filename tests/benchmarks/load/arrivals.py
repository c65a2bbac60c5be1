"""Many people connect and join at once: how long it takes until each of them is served, and what it costs.

All set off at the same moment, and each one's time counts from then. At most `OPENING` handshakes wait for their answer
at a time, so that none is lost because the kernel's queue of a listener is full.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.load.dialects import Resuming, Step
from tests.benchmarks.load.figures import milliseconds
from tests.benchmarks.load.usage import Meter
from tests.benchmarks.load.wire import MARK

OPENING = 400

PATIENCE = 60.0
"""How long nothing may be received, in seconds."""

MOST_SECONDS = 600.0
"""How long all may take together: a server that sends somebody away again and again never stays silent."""

RETRY_SECONDS = 1.0
"""After what time somebody tries again whom the server has sent away."""

LATE_SECONDS = 3.0
"""The same when everybody has an answer to each step, and only messages are missing."""


class Arrival:
    """One person: the steps to take, of which the first is the handshake, and what was received since it began."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._all_steps = steps
        self._steps = deque(steps)
        self._begin = 0  # where in `heard` the answer to the present step begins
        self.connection = socket.socket()
        self.heard = b""
        self.attempts = 0
        self.served_at = 0.0

    @property
    def opened(self) -> bool:
        """Whether the handshake is complete."""
        return len(self._steps) < len(self._all_steps)

    @property
    def answered(self) -> bool:
        """Whether all steps are complete."""
        return not self._steps

    @property
    def messages(self) -> int:
        """How many messages were received."""
        return self.heard.count(MARK)

    def begin(self, port: int) -> None:
        """Connect, and ask for a WebSocket; again if the connection before was closed."""
        self.attempts += 1
        self._steps = deque(self._all_steps)
        self._begin = 0
        self.heard = b""
        self.connection.close()
        self.connection = socket.create_connection(("127.0.0.1", port))
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.setblocking(False)
        self.connection.send(self._steps[0].sent)

    def receive(self) -> bool:
        """Receive, and take the steps that have become possible. Return whether the connection is still open."""
        try:
            data = self.connection.recv(262_144)
            self.heard += data
            while self._steps and self.heard.find(self._steps[0].awaited, self._begin) >= 0:
                self._steps.popleft()
                if self._steps and self._steps[0].sent:
                    self._begin = len(self.heard)
                    self.connection.send(self._steps[0].sent)
        except (ConnectionResetError, BrokenPipeError):
            return False
        return bool(data)


class Arrivals:
    """People who arrive at a server, at once, or at most `under_way` at a time.

    `messages` is how many each of them missed, and has to receive.
    """

    def __init__(
        self,
        port: int,
        dialect: Resuming,
        people: Sequence[Sequence[Step]],
        messages: int,
        pids: Sequence[int],
        under_way: int = 1_000_000,
    ) -> None:
        self._port = port
        self._dialect = dialect
        self._under_way = under_way
        self._messages = messages
        self._pids = pids
        self._poll = select.epoll()
        self._arriving: dict[int, Arrival] = {}  # by the descriptors of their connections
        self._to_come: deque[Arrival] = deque()
        self._later: deque[tuple[float, Arrival]] = deque()  # whose connection was closed, and when they try again
        self.people = [Arrival(steps) for steps in people]

    @property
    def connections(self) -> list[socket.socket]:
        """The connection of each."""
        return [one.connection for one in self.people]

    def measure(self) -> dict[str, Any]:
        """Let them arrive, and return the figures. Their connections stay open.

        The figure `missed` is the number of messages that the server calls lost, and of those that did not arrive;
        `retries`, how often somebody was sent away: the connection was closed too early, or a command was refused.
        """
        meter = Meter(self._pids)
        begun = time.perf_counter()
        self._serve()
        usage = meter.read()
        times = [one.served_at - begun for one in self.people]
        return {
            "seconds": max(times),
            **milliseconds(times),
            "cpu_us_per_person": usage.server_cpu * 1e6 / len(self.people),
            "missed": sum(max(0, self._messages - one.messages) + self._dialect.lost(one.heard) for one in self.people),
            "retries": sum(one.attempts - 1 for one in self.people),
            "server_share": usage.server_share,
            "load_share": usage.load_share,
            "others_share": usage.others_share,
        }

    def _serve(self) -> None:
        """Receive until each is served: has an answer to each step, and its messages, unless those stay away."""
        self._to_come.extend(self.people)
        opening = 0
        begun = last = time.perf_counter()
        while self._arriving or self._to_come or self._later:
            now = time.perf_counter()
            while self._later and self._later[0][0] <= now:
                self._to_come.append(self._later.popleft()[1])
            while self._to_come and opening < OPENING and len(self._arriving) < self._under_way:
                self._begin(self._to_come.popleft())
                opening += 1
            ready = self._poll.poll(0.05, len(self.people))
            for descriptor, _ in ready:
                one = self._arriving[descriptor]
                was_opened = one.opened
                is_open = one.receive()
                opening -= not was_opened and (one.opened or not is_open)
                refused = not one.answered and self._dialect.refused and self._dialect.refused in one.heard
                if not is_open or refused:
                    self._end(descriptor)
                    self._later.append((now + RETRY_SECONDS, one))
                elif one.answered:
                    one.served_at = time.perf_counter()
                    if one.messages >= self._messages:
                        self._end(descriptor)
            if ready:
                last = now
            elif now - last > (LATE_SECONDS if all(one.answered for one in self.people) else PATIENCE):
                break
            if now - begun > MOST_SECONDS:
                break
        self._poll.close()
        unserved = [one for one in self.people if not one.answered]
        if unserved:
            one = max(unserved, key=lambda one: one.attempts)
            raise RuntimeError(
                f"{len(unserved)} of {len(self.people)} were not served within {time.perf_counter() - begun:.0f} s;"
                f" one of them tried {one.attempts} times, and received last {one.heard[-300:]!r}"
            )

    def _begin(self, one: Arrival) -> None:
        one.begin(self._port)
        self._arriving[one.connection.fileno()] = one
        self._poll.register(one.connection, select.EPOLLIN)

    def _end(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        del self._arriving[descriptor]
