"""The bounded way out of one connection: at once where the network takes it, else queued, in order, until it does."""

from __future__ import annotations

import contextlib
import math
import os
import socket as stdlib_socket
import struct
from collections import deque

import trio

from evanesce.frame import Frame, Framing, without_expired

STALL_SECONDS = 60.0
"""How long a client may take nothing at all while something waits for it; then its connection is aborted."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: what the kernel still holds is thrown away


class Outbox:
    """What one connection still has to send: `limit` bytes at most, in the order in which it was written.

    Everything goes through here: frames, and what the transport's library writes (handshake, control frames, close).
    `socket` is written to directly, unless there is a `stream` above it (TLS): then everything goes through that.
    While nothing waits there is no task; while something does, one in `nursery`, which has to outlive the outbox
    (`discard` it before the nursery ends).
    """

    __slots__ = (
        "_direct",
        "_first_expires_at",
        "_flushing",
        "_framing",
        "_idle",
        "_limit",
        "_nursery",
        "_open",
        "_rest",
        "_rest_expires_at",
        "_socket",
        "_stream",
        "_waiting",
        "_waiting_bytes",
        "skipped",
    )

    def __init__(
        self,
        nursery: trio.Nursery,
        socket: trio.socket.SocketType,
        framing: Framing,
        *,
        limit: int,
        stream: trio.abc.SendStream | None = None,
    ) -> None:
        self._nursery = nursery
        self._socket = socket
        self._framing = framing
        self._limit = limit
        self._stream = stream
        self._waiting: deque[Frame | bytes] | None = None  # while nothing waits: an empty one takes 760 bytes
        self._rest: memoryview | None = None  # of an entry that the kernel took in part
        self._rest_expires_at = math.inf
        self._first_expires_at = math.inf  # no later than anything in `_waiting` does
        self._waiting_bytes = 0
        self._flushing = False
        self._idle: trio.Event | None = None
        self._open = True
        self._direct = stream is None  # open, and nothing waits: a frame goes to the socket at once
        self.skipped = 0
        """How many messages expired before the network took them."""

    @property
    def waiting_bytes(self) -> int:
        """How much waits, in bytes as framed for the wire."""
        return self._waiting_bytes

    def write(self, frame: Frame) -> bool:
        """Send `frame`, at once or as soon as the network takes it; False where it does not fit: nothing is queued.

        Never waits and never raises. What has expired is not sent: `skipped` goes out in its place. Once the client
        is gone, or `finish` was called, whatever is written disappears.
        """
        now = trio.current_time()
        if frame.expires_at <= now:
            return all(self.write(part) for part in self._unexpired([frame], now))
        wire = frame.wire(self._framing)
        if self._direct:
            # What nearly every delivery is; `_put` does the same with two calls more, where it is a tenth of the cost.
            try:
                sent = os.write(self._socket.fileno(), wire)
            except OSError:
                sent = -1
            if sent == len(wire):
                return True
            if sent > 0:
                self._keep(frame, wire, frame.expires_at, sent)
                return True
        return self._put(frame, wire, frame.expires_at, limit=self._limit)

    def write_raw(self, data: bytes) -> bool:
        """Send what a library made for the wire, in order with the frames; otherwise as `write`."""
        return self._put(data, data, math.inf, limit=self._limit)

    def finish(self, data: bytes) -> None:
        """Send `data` as the last thing of this connection, even where the outbox is full."""
        self._put(data, data, math.inf, limit=math.inf)
        self._open = self._direct = False

    async def drained(self) -> None:
        """Wait until nothing waits: the kernel has everything, or the client is gone."""
        if not self._flushing:
            await trio.lowlevel.checkpoint()
            return
        if self._idle is None:
            self._idle = trio.Event()
        await self._idle.wait()

    def discard(self) -> None:
        """Throw away what waits; whatever is written from now on disappears."""
        self._open = self._direct = False
        self._waiting = None
        self._rest = None
        self._waiting_bytes = 0

    def abort(self) -> None:
        """End the connection at once, with a reset: neither side gets what is still on its way."""
        self.discard()
        with contextlib.suppress(OSError):  # it was closed or lost before
            self._socket.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, _RESET_ON_CLOSE)
        self._socket.close()

    def _put(self, entry: Frame | bytes, wire: bytes, expires_at: float, *, limit: float) -> bool:
        if not self._open:
            return True
        if self._flushing or self._stream is not None:
            if self._waiting_bytes + len(wire) > limit:
                self._drop_expired(trio.current_time())
                if self._waiting_bytes + len(wire) > limit:
                    return False
            self._queue(entry)
            self._waiting_bytes += len(wire)
            self._first_expires_at = min(self._first_expires_at, expires_at)
        else:
            try:
                sent = self._send(wire)
            except trio.BrokenResourceError:
                self.discard()  # the reader of this connection finds out by itself
                return True
            if sent < len(wire):
                self._keep(entry, wire, expires_at, sent)
            return True
        self._start()
        return True

    def _keep(self, entry: Frame | bytes, wire: bytes, expires_at: float, sent: int) -> None:
        """Keep what the kernel did not take, where nothing else waits."""
        if sent:
            self._set_rest(memoryview(wire)[sent:], expires_at)
        else:
            self._queue(entry)
            self._first_expires_at = expires_at
        self._waiting_bytes = len(wire) - sent
        self._start()

    def _start(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._direct = False
            self._nursery.start_soon(self._flush)

    def _queue(self, entry: Frame | bytes) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(entry)

    def _send(self, data: bytes | memoryview) -> int:
        """Give `data` to the kernel, and say how much it took. Raises `BrokenResourceError` where the client is gone.

        Trio's sockets have no send that does not wait, but are non-blocking themselves: write(2) on one is send(2)
        without flags (Python ignores SIGPIPE). The descriptor is asked for each time: a closed socket gives -1, so
        that this never writes to a descriptor that was given away since.
        """
        try:
            return os.write(self._socket.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError as error:  # reset, broken pipe, closed
            raise trio.BrokenResourceError from error

    def _set_rest(self, rest: memoryview, expires_at: float) -> None:
        self._rest, self._rest_expires_at = (rest, expires_at) if rest else (None, math.inf)

    def _wire(self, entry: Frame | bytes) -> bytes:
        return entry.wire(self._framing) if isinstance(entry, Frame) else entry

    def _unexpired(self, frames: list[Frame], now: float) -> list[Frame]:
        kept, dropped = without_expired(frames, now)
        self.skipped += dropped
        return kept

    def _drop_expired(self, now: float) -> None:
        """Put `skipped` in the place of frames that expired; the library's writes keep their places among them."""
        if now < self._first_expires_at or self._waiting is None:
            return
        kept: deque[Frame | bytes] = deque()
        run: list[Frame] = []
        for entry in self._waiting:
            if isinstance(entry, Frame):
                run.append(entry)
                continue
            kept.extend(self._unexpired(run, now))
            kept.append(entry)
            run = []
        kept.extend(self._unexpired(run, now))
        self._waiting = kept
        self._first_expires_at = min((entry.expires_at for entry in kept if isinstance(entry, Frame)), default=math.inf)
        self._waiting_bytes = sum(len(self._wire(entry)) for entry in kept) + (len(self._rest) if self._rest else 0)

    def _head(self) -> tuple[deque[Frame | bytes], bytes, float] | None:
        """Give what waits, where anything may be sent now; the wire bytes of its first entry, and when that expires."""
        self._drop_expired(trio.current_time())
        if not self._waiting:
            return None
        head = self._waiting[0]
        return self._waiting, self._wire(head), head.expires_at if isinstance(head, Frame) else math.inf

    async def _flush(self) -> None:
        """Send what waits until nothing does."""
        try:
            if self._stream is None:
                await self._flush_to_socket()
            else:
                await self._flush_to_stream(self._stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.discard()
        finally:
            if self._rest is not None or self._waiting:
                self.discard()  # cancelled: what is half sent can never be made whole
            self._waiting = None
            self._flushing = False
            self._direct = self._open and self._stream is None
            if self._idle is not None:
                self._idle.set()
                self._idle = None

    async def _flush_to_socket(self) -> None:
        while True:
            if self._rest is not None:
                sent = self._send(self._rest)
                self._waiting_bytes -= sent
                self._set_rest(self._rest[sent:], self._rest_expires_at)
            elif head := self._head():
                waiting, wire, expires_at = head
                sent = self._send(wire)
                if sent:
                    waiting.popleft()
                    self._waiting_bytes -= sent
                    self._set_rest(memoryview(wire)[sent:], expires_at)
            else:
                return
            if not sent:
                # A frame that is half sent cannot be taken back, and must not be finished after it expires.
                with trio.move_on_at(min(self._rest_expires_at, trio.current_time() + STALL_SECONDS)) as stalled:
                    await trio.lowlevel.wait_writable(self._socket)
                if stalled.cancelled_caught:
                    self.abort()

    async def _flush_to_stream(self, stream: trio.abc.SendStream) -> None:
        while head := self._head():
            waiting, wire, expires_at = head
            waiting.popleft()
            self._set_rest(memoryview(wire), expires_at)
            with trio.move_on_at(min(expires_at, trio.current_time() + STALL_SECONDS)) as sending:
                await stream.send_all(wire)
            if sending.cancelled_caught:  # nobody knows how much of it was sent
                self.abort()
            elif self._rest is not None:  # else what waits was discarded meanwhile
                self._waiting_bytes -= len(wire)
                self._rest = None
