"""A connected client: its stream and its address."""

from __future__ import annotations

import contextlib
import os
import socket as stdlib_socket
from dataclasses import dataclass, field

import trio

from evanesce.addresses import parse_address
from evanesce.addresslimits import HeldConnection
from evanesce.errors import RateLimited
from evanesce.webaddress import UNIX

LINGER_SECONDS = 1.0
"""How long input is read and discarded from a client that goes on sending."""

_READ_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Client:
    """The address of a client, and whether it is on this machine.

    `local` is False for a client behind a proxy that is not trusted, because its address is unknown.
    """

    address: str
    local: bool


@dataclass(slots=True)
class ClientStream:
    """The connection of a client, from `accept` on. `stream` is the socket's own, or the TLS on top of it.

    `peer` is the address of the socket's other end, `unix:` for a Unix socket, or that in a PROXY header, `unknown`
    where it names none. `connected_at` is the time of the connection, in seconds of Trio's clock. `refusal` is the
    reason why this address is refused: a client that has one gets it as its only answer. `held` counts the connection;
    the listener releases it at the end.
    """

    stream: trio.abc.Stream
    socket: trio.socket.SocketType
    peer: str
    connected_at: float
    refusal: RateLimited | None = None
    held: HeldConnection | None = None
    _left: trio.Event | None = field(default=None, init=False, repr=False)

    @property
    def client(self) -> Client:
        """The client, for a transport without proxies: the other end of the socket."""
        address = parse_address(self.peer)
        return Client(self.peer, local=address is not None and address.is_loopback)

    @property
    def local_address(self) -> str:
        """The address to which the client connected; empty for a Unix socket."""
        return "" if self.socket.family == stdlib_socket.AF_UNIX else str(self.socket.getsockname()[0])

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
            try:
                while await self.stream.receive_some(_READ_BYTES):
                    pass
            except trio.BusyResourceError:
                self._left = self._left or trio.Event()
                await self._left.wait()


def peer_of(socket: trio.socket.SocketType) -> str:
    """Return the address of a socket's other end, without a port; `unix:` for a Unix socket. Raises `OSError`."""
    return UNIX if socket.family == stdlib_socket.AF_UNIX else str(socket.getpeername()[0])
