"""How workers pass connections to each other: descriptors over Unix sockets, which the supervisor makes.

Each worker has an inbox, a Unix datagram socket. The supervisor and all other workers have the other end of it. One
message is one connection: its descriptor, the time at which it was accepted, and the name of its transport. Where an
inbox is full, the connection is served by the worker that accepted it.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress

import msgspec
import trio

from evanesce.interfaces import TakeConnection
from evanesce.process import client_descriptors, descriptor_limit, lowest_free_descriptor
from evanesce.workers.placement import LoadBoard, choose_worker

logger = logging.getLogger(__name__)

INBOX_BYTES = 64 * 1024
"""The size of an inbox: about 170 connections, because the kernel counts 768 bytes for one."""

_AT_ONCE = 32
_BUSY_SECONDS = 0.1
_MESSAGE_BYTES = 256
_DESCRIPTOR = struct.Struct("=i")
_ACCEPTED_AT = struct.Struct("=d")  # seconds of the system's monotonic clock, which all processes share


class HandoverDescriptors(msgspec.Struct, frozen=True):
    """The descriptors that a worker inherits: of the load board, of its inbox, and of the ends of the other inboxes."""

    board: int
    inbox: int
    ends: Mapping[int, int]

    @property
    def all(self) -> tuple[int, ...]:
        """All of them."""
        return self.board, self.inbox, *self.ends.values()


class HandoverSockets:
    """The load board and the inboxes of all workers. The supervisor owns them, so restarted workers get the same."""

    def __init__(self, workers: int) -> None:
        self._inboxes: dict[int, socket.socket] = {}
        self._ends: dict[int, socket.socket] = {}
        with ExitStack() as stack:  # where one of them is refused, the others are closed
            self._memory = os.memfd_create("evanesce-workers", os.MFD_CLOEXEC)
            stack.callback(os.close, self._memory)
            os.ftruncate(self._memory, LoadBoard.size(workers))
            self._board = LoadBoard(self._memory, workers)
            stack.callback(self._board.close)
            for worker in range(1, workers + 1):
                inbox, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._inboxes[worker] = stack.enter_context(inbox)
                self._ends[worker] = stack.enter_context(end)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, INBOX_BYTES)
            self._opened = stack.pop_all()

    def descriptors(self, worker: int) -> HandoverDescriptors:
        """Return what a worker inherits."""
        ends = {number: end.fileno() for number, end in self._ends.items() if number != worker}
        return HandoverDescriptors(self._memory, self._inboxes[worker].fileno(), ends)

    def clear(self, worker: int) -> None:
        """Close the connections that were passed to a worker that has ended, and see that it gets no others.

        Their clients notice that at once and connect again, instead of waiting until the worker is started again.
        """
        self._board.withdraw(worker)
        while (message := _receive(self._inboxes[worker])) is not None:
            if message[1] is not None:
                os.close(message[1])

    def close(self) -> None:
        """Close all of it."""
        self._opened.close()


def open_handover_sockets(workers: int) -> HandoverSockets | None:
    """Return the sockets for so many workers.

    Return None on systems other than Linux, or where this one refuses: then each worker serves what it accepts.
    """
    if sys.platform != "linux":
        return None
    try:
        return HandoverSockets(workers)
    except OSError as error:
        logger.warning("the members of a room may be on several workers, which costs more (%s)", error.strerror)
        return None


class RoomHandover:
    """A worker's part: an `evanesce.interfaces.Handover`."""

    def __init__(self, worker: int, board: LoadBoard, inbox: socket.socket, ends: Mapping[int, socket.socket]) -> None:
        self._worker = worker
        self._board = board
        self._inbox = inbox
        self._ends = ends
        self._connections = 0
        self._joined = False
        self._full = False  # no descriptors are left for clients
        self._takers: dict[str, TakeConnection] = {}
        self._most_descriptors = client_descriptors(descriptor_limit())
        self.passed = 0
        """How many connections were passed to other workers."""

    @classmethod
    def inherit(cls, worker: int, workers: int, descriptors: HandoverDescriptors) -> RoomHandover:
        """Open the descriptors that the supervisor has passed to this process. Its own children do not get them."""
        for descriptor in descriptors.all:
            os.set_inheritable(descriptor, False)
        board = LoadBoard(descriptors.board, workers)
        os.close(descriptors.board)  # the memory stays
        ends = {number: socket.socket(fileno=end) for number, end in descriptors.ends.items()}
        return cls(worker, board, socket.socket(fileno=descriptors.inbox), ends)

    def count(self, change: int) -> None:
        """Count connections of this worker that have begun, or (negative) that have ended."""
        self._connections += change
        self._publish()

    def pass_on(self, transport: str, room_id: str, connection: int, age: float) -> bool:
        """Pass the descriptor of a connection to the worker of a room, where that is another one that takes it."""
        chosen = choose_worker(room_id, self._board.loads())
        if chosen is None or chosen == self._worker:
            return False
        if not self.pass_to(chosen, transport, connection, age):
            return False
        self.passed += 1
        return True

    def pass_to(self, worker: int, name: str, connection: int, age: float = 0.0) -> bool:
        """Pass a descriptor to what another worker has under `name`; return False where that is not possible now."""
        message = _ACCEPTED_AT.pack(time.monotonic() - age) + name.encode()
        try:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _DESCRIPTOR.pack(connection))]
            self._ends[worker].sendmsg([message], rights, socket.MSG_DONTWAIT)
        except OSError:  # the inbox is full, or too many descriptors are under way
            return False
        return True

    @contextmanager
    def receiving(self, transport: str, take: TakeConnection) -> Generator[None, None, None]:
        """Call `take` with each connection that another worker passes on, as long as the context lasts."""
        self._takers[transport] = take
        try:
            yield
        finally:
            del self._takers[transport]

    async def run(self) -> None:
        """Take over connections until cancelled."""
        self._joined = True
        self._publish()
        try:
            while True:
                await trio.lowlevel.wait_readable(self._inbox)
                if not (self._descriptors_left() and self._take_waiting()):
                    await self._wait_for_descriptors()
        finally:
            self._joined = False
            self._publish()

    def leave(self) -> None:
        """Take over no more connections, except those that others have passed on already.

        Those for which no descriptor is free are closed, so that their clients connect again at once.
        """
        self._joined = False
        self._publish()
        while (message := _receive(self._inbox)) is not None:
            self._take(*message)

    def _publish(self) -> None:
        if self._joined and not self._full:
            self._board.publish(self._worker, self._connections)
        else:
            self._board.withdraw(self._worker)

    def _take_waiting(self) -> bool:
        """Take over connections that wait in the inbox. Return False where too few descriptors are left for more."""
        for _ in range(_AT_ONCE):
            message = _receive(self._inbox)
            if message is None:
                break
            self._take(*message)
            if message[1] is None or message[1] >= self._most_descriptors:
                return False
        return True

    def _take(self, data: bytes, connection: int | None) -> None:
        if connection is None:  # no descriptor was free, so the kernel has closed the connection
            return
        take = self._takers.get(data[_ACCEPTED_AT.size :].decode())
        if take is None:  # the transport has stopped listening
            os.close(connection)
            return
        [accepted_at] = _ACCEPTED_AT.unpack_from(data)
        take(connection, max(0.0, time.monotonic() - accepted_at))

    def _descriptors_left(self) -> bool:
        free = lowest_free_descriptor(self._inbox.fileno())
        return free is not None and free < self._most_descriptors

    async def _wait_for_descriptors(self) -> None:
        """Wait until the reserved descriptors are free. Meanwhile other workers keep their connections.

        Those that were passed on already wait in the inbox.
        """
        self._full = True
        self._publish()
        left = False
        while not left:
            await trio.sleep(_BUSY_SECONDS)
            left = self._descriptors_left()
        self._full = False
        self._publish()


def _receive(inbox: socket.socket) -> tuple[bytes, int | None] | None:
    """Return the next message in an inbox and its descriptor, if any; None where the inbox is empty."""
    flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC  # which `socket.recv_fds` of Python 3.11 ignores
    with suppress(BlockingIOError):
        data, ancillary, _, _ = inbox.recvmsg(_MESSAGE_BYTES, socket.CMSG_LEN(_DESCRIPTOR.size), flags)
        for level, kind, packed in ancillary:
            if (level, kind, len(packed)) == (socket.SOL_SOCKET, socket.SCM_RIGHTS, _DESCRIPTOR.size):
                return data, _DESCRIPTOR.unpack(packed)[0]
        return data, None
    return None
