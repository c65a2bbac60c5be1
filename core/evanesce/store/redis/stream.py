"""A connection to Redis that the Trio thread reads and writes. redis-py makes it in a thread, and hiredis parses it."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import hiredis
import trio
from redis.exceptions import ConnectionError, InvalidResponse

from evanesce.store.redis.connection import Address, Connection, reply_error
from evanesce.store.redis.scripts import Command

READ_BYTES = 65_536
"""How many bytes are read at once. Other tasks run between two reads."""

_INCOMPLETE = object()
_ZEROS = memoryview(bytes(READ_BYTES))

_hiredis: Any = hiredis  # the type of `pack_command` allows one argument only


class Stream:
    """A connection that is open. Discard it after any exception of `BROKEN`.

    One task may send and one may receive at a time. Neither has a deadline: the caller decides when an answer is late.
    Where TLS needs the other direction, for a new key, the connection counts as broken.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._reader: Any = hiredis.Reader(
            protocolError=InvalidResponse, replyError=reply_error, notEnoughData=_INCOMPLETE
        )
        # One buffer for all reads: where freed memory is overwritten, a new one would be filled twice for each.
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._more = False  # there may be data that the kernel does not report, or that was not read yet
        self.received_at = trio.current_time()
        """When any data arrived last, also a part of an answer, in seconds of Trio's clock; at first the beginning."""

    async def send(self, *commands: Command) -> None:
        """Send commands together."""
        left = memoryview(pack(*commands))
        while left:
            try:
                left = left[self._socket.send(left) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                await trio.lowlevel.wait_writable(self._socket)

    async def wait_readable(self) -> None:
        """Wait until something may have arrived."""
        if self._more:
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.wait_readable(self._socket)

    def receive(self) -> list[Any]:
        """Read once, and return the answers that are complete; that of a refused command is a `RedisError`."""
        try:
            count = self._socket.recv_into(self._buffer)
        except (BlockingIOError, ssl.SSLWantReadError):
            self._more = False
            return []
        if not count:
            raise ConnectionError("Connection closed by server.")
        self.received_at = trio.current_time()
        decrypted = self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0
        self._more = count == READ_BYTES or decrypted > 0
        self._reader.feed(self._buffer, 0, count)
        self._buffer[:count] = _ZEROS[:count]  # names and content must not stay in it
        return list(iter(self._reader.gets, _INCOMPLETE))

    def readable(self) -> bool:
        """Return whether something has arrived that was not received: data, or the end of the connection."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(self._more or poll.poll(0))

    def close(self) -> None:
        """Close it. Neither `send` nor `receive` may be waiting."""
        self._socket.close()


def pack(*commands: Command) -> bytes:
    """Return the bytes of commands."""
    return b"".join([_hiredis.pack_command(tuple(command)) for command in commands])


async def connect(
    address: Address, prepare: Callable[[Connection], None], *, limiter: trio.CapacityLimiter, name: str
) -> Stream:
    """Connect in a thread called `name`, as redis-py blocks, and call `prepare` there with the connection.

    Raises the exceptions of `BROKEN` and those of `prepare`. Where this is cancelled, the thread closes the connection.
    """
    attempt = _Attempt(address, prepare)
    try:
        await trio.to_thread.run_sync(attempt.run, thread_name=name, abandon_on_cancel=True, limiter=limiter)
        return Stream(attempt.take())
    finally:
        attempt.abandon()


class _Attempt:
    """An attempt to connect, whose connection is closed where nobody takes it."""

    def __init__(self, address: Address, prepare: Callable[[Connection], None]) -> None:
        self._address = address
        self._prepare = prepare
        self._lock = threading.Lock()  # a thread that was abandoned runs beside the Trio thread
        self._abandoned = False
        self._connection: Connection | None = None

    def run(self) -> None:
        """Connect. Call it on a thread."""
        connection = self._address.connection()
        try:
            connection.connect()
            connection.greet()
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        with self._lock:
            if self._abandoned:
                connection.close()
            else:
                self._connection = connection

    def take(self) -> socket.socket:
        """Return the socket. `run` must have returned."""
        assert self._connection is not None, "the attempt was successful"
        connected, self._connection = self._connection.detach(), None
        return connected

    def abandon(self) -> None:
        """Close the connection, also one that is made later, unless it was taken."""
        with self._lock:
            self._abandoned = True
            if self._connection is not None:
                self._connection.close()
