"""A connected client: its stream and its address."""

from __future__ import annotations

import contextlib
import os
import socket as stdlib_socket
from collections.abc import Callable
from dataclasses import dataclass, field

import trio
from outcome import Error, Value

from evanesce.addresses import parse_address
from evanesce.addresslimits import HeldConnection
from evanesce.errors import RateLimited
from evanesce.listening.poller import Poller
from evanesce.webaddress import UNIX

LINGER_SECONDS = 1.0
"""How long input is read and discarded from a client that goes on sending."""

_READ_BYTES = 16 * 1024

Take = Callable[[bytes], bool]
"""Takes data that has arrived, or none where the client has left, and returns whether the waiting task has to go on."""


@dataclass(frozen=True, slots=True)
class Client:
    """The address of a client, and whether it is on this machine.

    `local` is False for a client behind a proxy that is not trusted, because its address is unknown.
    """

    address: str
    local: bool


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A task that waits for data, and what takes it, at most `most` bytes at once."""

    task: trio.lowlevel.Task
    take: Take
    most: int


@dataclass(slots=True)
class ClientStream:
    """The connection of a client, from `accept` on. `stream` is the socket's own, or the TLS on top of it.

    `peer` is the address of the socket's other end, `unix:` for a Unix socket, or that in a PROXY header, `unknown`
    where it names none. `connected_at` is the time of the connection, in seconds of Trio's clock. `refusal` is the
    reason why this address is refused: a client that has one gets it as its only answer. `held` counts the connection;
    the listener releases it at the end. `poller` tells of data without waking a task; None: Trio does.
    """

    stream: trio.abc.Stream
    socket: trio.socket.SocketType
    peer: str
    connected_at: float
    refusal: RateLimited | None = None
    held: HeldConnection | None = None
    poller: Poller | None = None
    _left: trio.Event | None = field(default=None, init=False, repr=False)
    _watched: int | None = field(default=None, init=False, repr=False)  # the descriptor that the poller watches
    _unread: bool = field(default=False, init=False, repr=False)  # something may be there that was not read
    _hung_up: bool = field(default=False, init=False, repr=False)  # nothing will arrive any more
    _waiting: _Waiting | None = field(default=None, init=False, repr=False)

    @property
    def client(self) -> Client:
        """The client, for a transport without proxies: the other end of the socket."""
        address = parse_address(self.peer)
        return Client(self.peer, local=address is not None and address.is_loopback)

    @property
    def local_address(self) -> str:
        """The address to which the client connected; empty for a Unix socket."""
        name: tuple[str, int] | str = self.socket.getsockname()
        return name[0] if isinstance(name, tuple) else ""

    @property
    def tls(self) -> trio.abc.Stream | None:
        """The TLS stream, where there is one: then nothing may be written to the socket directly."""
        return None if isinstance(self.stream, trio.SocketStream) else self.stream

    async def receive(self, most: int) -> bytes:
        """Wait for data, and return at most `most` bytes; none where the client has left."""
        try:
            if not isinstance(self.stream, trio.SocketStream):
                return self._received(bytes(await self.stream.receive_some(most)))
            while (descriptor := self.socket.fileno()) >= 0:  # -1: a frame that was sent in part has expired
                # Trio's stream tries to read before it waits, and does a dozen things more for each message.
                await trio.lowlevel.wait_readable(descriptor)
                try:
                    return self._received(os.read(self.socket.fileno(), most))
                except BlockingIOError:
                    continue
            return self._received(b"")
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            return self._received(b"")

    async def wait(self, most: int, take: Take) -> None:
        """Wait for data, and call `take` with it as it arrives, at most `most` bytes at once, until it returns True.

        `take` may be called by another task, while this one goes on waiting. It must not wait. What it raises is raised
        here. A cancellation loses no data. It may return earlier, where more data is there than was read.
        An outbox of this connection needs `before_close` as its `on_abort`.
        """
        if self.poller is None or self.tls is not None:
            while not take(await self.receive(most)):
                pass
            return
        if self._watched is None:
            if (descriptor := self.socket.fileno()) < 0:  # a frame that was sent in part has expired
                take(self._received(b""))
                return
            try:
                self.poller.watch(descriptor, self._arrived)
            except OSError:  # the kernel bounds how many sockets a user may watch
                self.poller = None
                return await self.wait(most, take)
            self._watched = descriptor
        while self._unread:  # it arrived while nobody waited, or there was more than `most` bytes
            await trio.lowlevel.checkpoint()
            if self._pass(most, take):
                return
        self._waiting = _Waiting(trio.lowlevel.current_task(), take, most)
        await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _arrived(self, hung_up: bool) -> None:
        """Take note that data has arrived, and pass it on where a task waits."""
        self._unread, self._hung_up = True, hung_up
        if (waiting := self._waiting) is None:
            return
        try:
            # Where more is there than was read, the task goes on with it: constant input must not delay other clients.
            # It logs as the waiting task does, whose context has the number of the connection.
            done = waiting.task.context.run(self._pass, waiting.most, waiting.take) or self._unread
        except BaseException as error:  # it belongs to this connection: others must not end
            self._go_on(Error(error))
        else:
            if done:
                self._go_on(Value(None))

    def _go_on(self, outcome: Error | Value[None]) -> None:
        if (waiting := self._waiting) is not None:  # else it was cancelled, or the socket closed, meanwhile
            self._waiting = None
            trio.lowlevel.reschedule(waiting.task, outcome)

    def _pass(self, most: int, take: Take) -> bool:
        """Read once, and return what `take` returns; False where nothing had arrived."""
        try:
            data = os.read(self.socket.fileno(), most)
        except BlockingIOError:
            self._unread = False
            return False
        except OSError:  # reset or closed
            data = b""
        # The kernel tells again of what arrives from now on. That there is nothing left shows by a read of less. Of the
        # end it tells only once.
        self._unread = not data or len(data) == most or self._hung_up
        return take(self._received(data))

    def before_close(self) -> None:
        """Have a task that waits for data, now or later, go on as if the client had left. Then close the socket.

        The poller would not notice that it is closed, and must forget its number before another socket gets it.
        """
        if self._watched is not None and self.poller is not None:
            self.poller.forget(self._watched, self._arrived)
            self._unread = True  # reading from the closed socket fails, where a task waits later
        if (waiting := self._waiting) is not None:
            waiting.take(self._received(b""))
            self._go_on(Value(None))

    def _received(self, data: bytes) -> bytes:
        if not data and self._left is not None:
            self._left.set()
        return data

    def receive_waiting(self, most: int) -> bytes:
        """Return the data that has arrived already, at most `most` bytes; none where there is TLS on top."""
        if self.tls is None:
            with contextlib.suppress(OSError):  # nothing has arrived, or the client has left
                return os.read(self.socket.fileno(), most)
        return b""

    async def linger(self) -> None:
        """Send the end of the stream, and discard input until the client leaves, for `LINGER_SECONDS` at most.

        The kernel sends a reset for a socket that is closed with unread input, and the reset may overtake the last
        response (RFC 9112, section 9.6). Where another task is receiving, the input is left to that task.
        """
        with (
            trio.move_on_after(LINGER_SECONDS),
            contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError),  # the client left
        ):
            self.socket.shutdown(stdlib_socket.SHUT_WR)
            if self._waiting is None:
                with contextlib.suppress(trio.BusyResourceError):
                    while await self.stream.receive_some(_READ_BYTES):
                        pass
                    return
            self._left = self._left or trio.Event()
            await self._left.wait()


def peer_of(socket: trio.socket.SocketType) -> str:
    """Return the address of a socket's other end, without a port; `unix:` for a Unix socket. Raises `OSError`."""
    name: tuple[str, int] | str = socket.getpeername()
    return name[0] if isinstance(name, tuple) else UNIX
