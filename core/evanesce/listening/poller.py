"""Tells which sockets have received data, with one system call for many of them, and without waking a task for each."""

from __future__ import annotations

import contextlib
import select
import sys
from collections.abc import Callable, Generator

import trio

AT_ONCE = 64
"""How many sockets are handled before other tasks run. A message takes about 0.05 ms, and one may have several."""

Arrived = Callable[[bool], None]
"""Is called when data has arrived; True: the other end has also sent the end of its stream, or is gone."""


class Poller:
    """Calls a function for each socket that has received data since the last call. `run` must run meanwhile.

    Trio asks the kernel anew for each wait, and wakes the task that waits: together about a tenth of what a message in
    a small room costs. Only Linux has what this class uses (epoll, edge-triggered).
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Arrived] = {}

    def watch(self, descriptor: int, arrived: Arrived) -> None:
        """Call `arrived` when there is data, now or later. It must not wait, and not raise."""
        self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        self._watched[descriptor] = arrived

    def forget(self, descriptor: int, arrived: Arrived) -> None:
        """Stop watching. Call it before the socket is closed; it is safe to call this again."""
        if self._watched.get(descriptor) == arrived:  # else the kernel has given the number to another socket
            del self._watched[descriptor]
            with contextlib.suppress(OSError):  # it was closed before: an error must not harm other clients
                self._epoll.unregister(descriptor)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for descriptor, events in self._epoll.poll(0, AT_ONCE):
                if (arrived := self._watched.get(descriptor)) is not None:  # else an earlier call forgot it
                    arrived(events != select.EPOLLIN)
                del arrived  # it refers to a client, who may leave before the next data comes

    def close(self) -> None:
        """Close it. Nothing may be watched any more, and `run` must have ended."""
        self._epoll.close()


@contextlib.contextmanager
def open_poller() -> Generator[Poller | None, None, None]:
    """Open a poller while the context lasts; None where the system has nothing that it could use."""
    if sys.platform != "linux":
        yield None
        return
    poller = Poller()
    try:
        yield poller
    finally:
        poller.close()
