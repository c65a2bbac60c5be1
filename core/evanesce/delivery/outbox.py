"""The outbox of one connection: sends data at once where the kernel accepts it, otherwise queues it within a limit."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import socket as stdlib_socket
import struct
import termios
from collections import deque
from collections.abc import Callable

import trio

from evanesce.delivery.frame import Frame, Framing, without_expired

STALL_SECONDS = 60.0
"""How long a client may accept no data while some waits for it. Then its connection is aborted."""

BYTES_COST = 64
"""The memory of a queued entry in addition to its bytes: 41 by tracemalloc (object header, slot of the deque)."""

FRAME_COST = 1536
"""The memory of an entry that is queued as a frame because it may expire, in addition to its bytes on the wire.

By tracemalloc it is 670 bytes for the frame, its list, dictionary and JSON, and 850 for a small message in it. The rest
of a larger message is not counted, because the members of a room share it.
"""

CONTROL_BYTES = 4096
"""When this many bytes wait, only the latest answer to a ping is kept."""

_COUNT = struct.Struct("i")
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: the kernel discards unsent data


class Outbox:
    """The queue of data that one connection has to send, in order, `limit` bytes at most.

    The size of an entry is its memory: its bytes on the wire, plus `BYTES_COST` or `FRAME_COST`.

    All data of the connection goes through the outbox: frames, and what the transport's library writes (handshake,
    control frames, close). It is written to `socket`, or to `stream` where there is one above it (TLS). While data
    waits, one task in `nursery` sends it. The nursery has to outlive the outbox: `discard` the outbox before it ends.
    `on_abort` is called before the outbox closes the socket.
    """

    __slots__ = (
        "_clock",
        "_control",
        "_direct",
        "_first_expires_at",
        "_flushing",
        "_framing",
        "_idle",
        "_limit",
        "_nursery",
        "_on_abort",
        "_open",
        "_rest",
        "_rest_expires_at",
        "_socket",
        "_stream",
        "_waiting",
        "skipped",
        "waiting_bytes",
    )

    def __init__(
        self,
        nursery: trio.Nursery,
        socket: trio.socket.SocketType,
        framing: Framing,
        *,
        limit: int,
        stream: trio.abc.SendStream | None = None,
        on_abort: Callable[[], None] | None = None,
    ) -> None:
        self._nursery = nursery
        self._on_abort = on_abort
        self._clock = trio.lowlevel.current_clock()  # `trio.current_time` makes two calls more for each delivery
        self._socket = socket
        self._framing = framing
        self._limit = limit
        self._stream = stream
        self._waiting: deque[Frame | bytes] | None = (
            None  # None while nothing waits, because an empty deque takes 760 bytes
        )
        self._control: bytes | None = None  # goes out before `_waiting`
        self._rest: memoryview | None = None  # the unsent part of an entry that the kernel accepted in part
        self._rest_expires_at = math.inf
        self._first_expires_at = math.inf  # not later than any entry of `_waiting`
        self.waiting_bytes = 0
        """The memory of all data that waits, in bytes."""
        self._flushing = False
        self._idle: trio.Event | None = None
        self._open = True
        self._direct = stream is None  # open, and nothing waits: frames are written to the socket at once
        self.skipped = 0
        """How many messages expired before they could be sent."""

    @property
    def unacknowledged_bytes(self) -> int:
        """How many bytes the kernel has accepted that the client has not acknowledged; 0 where the client is gone."""
        count = bytearray(_COUNT.size)
        try:
            fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, count)
        except (OSError, ValueError):  # closed, or not a TCP socket
            return 0
        return int(_COUNT.unpack(count)[0])

    def write(self, frame: Frame) -> bool:
        """Send or queue `frame`, and return True; False where it does not fit: then nothing is queued.

        Never waits and never raises. An expired message is not sent, but replaced by a `skipped` event. Data is
        discarded when the client is gone, or after `finish`.
        """
        if frame.expires_at <= (now := self._clock.current_time()):
            return all(self.write(part) for part in self._unexpired([frame], now))
        framing = self._framing
        wire = frame.wires.get(framing) or frame.wire(framing)
        if self._direct:
            # The usual case. `_put` does the same, but its two additional calls are a tenth of the cost.
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
        """Send or queue bytes that a library made, in order with the frames, and return as `write` does."""
        return self._put(data, data, math.inf, limit=self._limit)

    def write_control(self, data: bytes) -> None:
        """Send the answer to a control frame of the client, such as a pong.

        Where the client does not read, only the latest is kept, which answers all (RFC 6455, 5.5.3). So a flood of
        pings takes no memory.
        """
        if self.waiting_bytes < CONTROL_BYTES:
            self.write_raw(data)
        elif self._open:
            self._control = data

    def finish(self, data: bytes) -> None:
        """Send `data` as the last data of this connection, even where the outbox is full."""
        self._put(data, data, math.inf, limit=math.inf)
        self._open = self._direct = False

    async def drained(self) -> None:
        """Wait until the kernel has accepted all data, or the client is gone."""
        if not self._flushing:
            await trio.lowlevel.checkpoint()
            return
        if self._idle is None:
            self._idle = trio.Event()
        await self._idle.wait()

    def discard(self) -> None:
        """Discard the data that waits, and all that is written from now on."""
        self._open = self._direct = False
        self._waiting = None
        self._control = None
        self._rest = None
        self.waiting_bytes = 0

    def abort(self) -> None:
        """Close the connection at once with a reset: data that is on its way is lost."""
        self.discard()
        if self._on_abort is not None:
            self._on_abort()
        with contextlib.suppress(OSError):  # the socket is closed or the connection lost
            self._socket.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, _RESET_ON_CLOSE)
        self._socket.close()

    def _put(self, entry: Frame | bytes, wire: bytes, expires_at: float, *, limit: float) -> bool:
        if not self._open:
            return True
        if self._flushing or self._stream is not None:
            entry = _entry(entry, wire, expires_at)
            cost = len(wire) + _cost(entry)
            if self.waiting_bytes + cost > limit:
                self._drop_expired(trio.current_time())
                if self.waiting_bytes + cost > limit:
                    return False
            self._queue(entry, cost)
            self._first_expires_at = min(self._first_expires_at, expires_at)
        else:
            try:
                sent = self._send(wire)
            except trio.BrokenResourceError:
                self.discard()  # the task that reads from this connection notices it
                return True
            if sent < len(wire):
                self._keep(entry, wire, expires_at, sent)
            return True
        self._start()
        return True

    def _keep(self, entry: Frame | bytes, wire: bytes, expires_at: float, sent: int) -> None:
        """Queue the data that the kernel did not accept, when nothing else waits."""
        if sent:
            self._set_rest(memoryview(wire)[sent:], expires_at)
            self.waiting_bytes = len(wire) - sent
        else:
            entry = _entry(entry, wire, expires_at)
            self._queue(entry, len(wire) + _cost(entry))
            self._first_expires_at = expires_at
        self._start()

    def _start(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._direct = False
            self._nursery.start_soon(self._flush)

    def _queue(self, entry: Frame | bytes, cost: int) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(entry)
        self.waiting_bytes += cost

    def _send(self, data: bytes | memoryview) -> int:
        """Write `data` to the socket, and return how many bytes the kernel accepted.

        Raises `BrokenResourceError` where the client is gone. Trio has no send that does not wait, but its sockets are
        non-blocking: write(2) on a socket is send(2) without flags (Python ignores SIGPIPE). `fileno` is called each
        time, because it returns -1 for a closed socket, whose descriptor may belong to another file now.
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
        """Replace expired messages by `skipped` events. Bytes of the library keep their order among the frames."""
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
        self.waiting_bytes = sum(len(self._wire(entry)) + _cost(entry) for entry in kept)
        self.waiting_bytes += len(self._rest) if self._rest else 0

    def _head(self) -> tuple[deque[Frame | bytes], bytes, float] | None:
        """Return the queue, the bytes of its first entry and when that expires; None where nothing waits."""
        self._drop_expired(trio.current_time())
        if not self._waiting:
            return None
        head = self._waiting[0]
        return self._waiting, self._wire(head), head.expires_at if isinstance(head, Frame) else math.inf

    async def _flush(self) -> None:
        """Send data until nothing waits."""
        try:
            if self._stream is None:
                await self._flush_to_socket()
            else:
                await self._flush_to_stream(self._stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.discard()
        finally:
            if self._rest is not None or self._waiting:
                self.discard()  # cancelled: an entry that was sent in part cannot be completed
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
                self.waiting_bytes -= sent
                self._set_rest(self._rest[sent:], self._rest_expires_at)
            elif self._control is not None:
                sent = self._send(self._control)
                if sent:
                    rest, self._control = memoryview(self._control)[sent:], None
                    self.waiting_bytes += len(rest)
                    self._set_rest(rest, math.inf)
            elif head := self._head():
                waiting, wire, expires_at = head
                sent = self._send(wire)
                if sent:
                    self.waiting_bytes -= sent + _cost(waiting.popleft())
                    self._set_rest(memoryview(wire)[sent:], expires_at)
            else:
                return
            if not sent:
                # A frame that was sent in part cannot be taken back, and must not be completed after it expires.
                with trio.move_on_at(min(self._rest_expires_at, trio.current_time() + STALL_SECONDS)) as stalled:
                    await trio.lowlevel.wait_writable(self._socket)
                if stalled.cancelled_caught:
                    self.abort()

    async def _flush_to_stream(self, stream: trio.abc.SendStream) -> None:
        while True:
            if self._control is not None:
                wire, expires_at, self._control = self._control, math.inf, None
                self.waiting_bytes += len(wire)
            elif head := self._head():
                waiting, wire, expires_at = head
                self.waiting_bytes -= _cost(waiting.popleft())
            else:
                return
            self._set_rest(memoryview(wire), expires_at)
            with trio.move_on_at(min(expires_at, trio.current_time() + STALL_SECONDS)) as sending:
                await stream.send_all(wire)
            if sending.cancelled_caught:  # how much of it was sent is unknown
                self.abort()
            elif self._rest is not None:  # otherwise the data was discarded meanwhile
                self.waiting_bytes -= len(wire)
                self._rest = None


def _entry(entry: Frame | bytes, wire: bytes, expires_at: float) -> Frame | bytes:
    """Return what to queue: only the bytes of a frame that never expires."""
    return wire if expires_at == math.inf else entry


def _cost(entry: Frame | bytes) -> int:
    """Return the memory of an entry in addition to its bytes on the wire."""
    return FRAME_COST if isinstance(entry, Frame) else BYTES_COST
