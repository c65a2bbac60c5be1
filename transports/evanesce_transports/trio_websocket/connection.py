"""The WebSocket connection of this transport, read by trio-websocket, with the stream and the limits below the library.

trio-websocket limits only the characters of a message that it has decoded, and keeps a list of fragments without a
limit. So `LibraryStream` measures each frame before the library gets it.
"""

from __future__ import annotations

import contextlib

import trio
import trio_websocket

from evanesce.delivery.outbox import Outbox
from evanesce.errors import CloseCode
from evanesce.listening import Client, ClientStream
from evanesce_transports.limits import Pace, most_fragments
from evanesce_transports.websocket import WebSocketConnection

_VIOLATIONS = (CloseCode.PROTOCOL_VIOLATION, CloseCode.NOT_UTF8)

_CLOSE = 0x88  # the first byte of a close frame: the library writes a frame at once
_PONG = 0x8A  # the first byte of a pong

# How much is read at once from a client that sends too many small frames: the library has no checkpoint within it.
_FLOOD_BYTES = 256

_FINAL = 0x80
_MASKED = 0x80
_OPCODE = 0x0F
_CONTROL = 0x08  # the first opcode of control frames, whose size RFC 6455 limits
_LONGEST_HEADER = 14


class LibraryConnection(WebSocketConnection):
    """A connection that trio-websocket reads by `library`, whose stream is `library_stream`.

    The library does not close the connection itself, because it would fail on a ping after that
    (python-trio/trio-websocket#184). It goes on reading, and the outbox discards its answers.
    """

    __slots__ = ("_library", "_library_stream")

    def __init__(
        self,
        client_stream: ClientStream,
        outbox: Outbox,
        library: trio_websocket.WebSocketConnection,
        library_stream: LibraryStream,
        *,
        client: Client,
    ) -> None:
        super().__init__(client_stream, outbox, client=client)
        self._library = library
        self._library_stream = library_stream

    @property
    def heard_at(self) -> float:
        """When the client last sent any bytes, in seconds of Trio's clock."""
        return self._library_stream.heard_at

    async def receive(self) -> str | bytes | None:
        """Wait for the next message; None when the client closed or left, or its data is invalid or too large."""
        if self.closing or self.ended:
            await trio.lowlevel.checkpoint()
            return None
        try:
            message = await self._library.get_message()
        except trio_websocket.ConnectionClosed as closed:
            await self._report_failure(closed)
            return None
        return None if self.closing else message

    async def _report_failure(self, closed: trio_websocket.ConnectionClosed) -> None:
        """Send the client a close code for the reason why the library stopped reading, unless the client knows it."""
        if self.closing or self._library_stream.answered:
            self.ended = True
        elif self._library_stream.too_large:
            await self._fail(CloseCode.TOO_LARGE)
        elif closed.reason is None:
            await self._fail(CloseCode.INTERNAL)  # an error of the library
        elif closed.reason.code in _VIOLATIONS:
            # The library found invalid data, and would close the socket without a close frame (RFC 6455, 7.1.7).
            await self._fail(CloseCode(closed.reason.code))
        self.ended = True

    async def _wait_for_end(self) -> None:
        """Discard input until the client sends a close frame or leaves. A flood is read slowly."""
        pace = Pace()
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            while not self.ended:
                await self._library.get_message()
                await trio.sleep(pace.count())
        if not (self.ended or self._library_stream.answered):
            # The library has stopped reading, and the client may go on sending: unread input would cause a reset, which
            # may overtake the close code.
            with contextlib.suppress(trio.BusyResourceError):  # `receive` is reading in another task
                await self.client_stream.linger()
        self.ended = True


class LibraryStream(trio.abc.Stream):
    """The stream that trio-websocket uses: it reads from `stream`, and writes to `outbox`.

    The library reads `request` first, and after `open`, the data of the client. `rest` are the bytes that came after
    the request. For a message that is too large, the library gets the end of the stream.
    """

    __slots__ = (
        "_closed",
        "_flooding",
        "_open",
        "_outbox",
        "_pace",
        "_request",
        "_rest",
        "_sizes",
        "_stream",
        "answered",
        "heard_at",
        "too_large",
    )

    def __init__(
        self, stream: trio.abc.ReceiveStream, outbox: Outbox, request: bytes, rest: bytes, message_bytes: int
    ) -> None:
        self._stream = stream
        self._outbox = outbox
        self._request = request
        self._rest = rest
        self._sizes = MessageSizes(message_bytes)
        self._pace = Pace()
        self._flooding = False  # the client sends too many small frames
        self._open: trio.Event | None = trio.Event()
        self._closed = False
        self.heard_at = trio.current_time()
        """When the client last sent any bytes, in seconds of Trio's clock."""
        self.answered = False
        """Whether the library has answered the client's close frame."""
        self.too_large = False
        """Whether the client sent a message that is too large."""

    def open(self) -> None:
        """Start to return the client's data. The library discards what it reads during the handshake (wsproto 1.3)."""
        if self._open is not None:
            self._open.set()
            self._open = None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the next data; none where the client is gone, or sent a message that is too large."""
        if self._request:
            request, self._request = self._request, b""
            return request
        if self._open is not None:
            await self._open.wait()
        if self._closed:
            raise trio.ClosedResourceError
        data, self._rest = self._rest, b""
        if self.too_large:
            return b""
        if not data:
            try:
                size = _FLOOD_BYTES if self._flooding else max_bytes
                data = bytes(await self._stream.receive_some(size))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return b""
            if data:
                self.heard_at = trio.current_time()
        before = self._sizes.partial
        accepted = self._sizes.accept(data)
        self.too_large = accepted < len(data)
        if frames := self._sizes.partial - before:
            wait = self._pace.count(frames)
            self._flooding = wait > 0
            await trio.sleep(wait)
        return data[:accepted]

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Add `data` to the outbox, in order with the frames. Where pongs pile up, only the latest is kept."""
        await trio.lowlevel.checkpoint()
        written = bytes(data)
        if written[0] == _CLOSE:
            self.answered = True
            self._outbox.finish(written)
        elif written[0] == _PONG:
            self._outbox.write_control(written)
        else:
            self._outbox.write_raw(written)

    async def wait_send_all_might_not_block(self) -> None:
        """Return at once, because `send_all` never waits for the network."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Stop reading. The socket stays open, because a close frame of the server may follow."""
        self._closed = True
        self.open()
        await trio.lowlevel.checkpoint()


class MessageSizes:
    """Measures the messages of one client by the headers of their frames. Only the library checks for other errors."""

    __slots__ = ("_fragments", "_header", "_limit", "_payload", "_size", "partial")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._header = b""  # the received part of a frame's header
        self._payload = 0  # how many bytes of a frame's payload are still to come
        self._size = 0  # of the message so far, in bytes
        self._fragments = 0  # of the message so far
        self.partial = 0
        """How many control frames and fragments were received."""

    def accept(self, data: bytes) -> int:
        """Measure the next data; return how many bytes of it precede a frame that makes its message too large."""
        at = 0
        while at < len(data):
            if self._payload:
                step = min(self._payload, len(data) - at)
                self._payload -= step
                at += step
                continue
            known = len(self._header)
            header = self._header + data[at : at + _LONGEST_HEADER - known]
            size = _header_size(header)
            if size > len(header):
                self._header = header
                return len(data)
            if not self._count(header):
                return at
            self._header = b""
            at += size - known
        return at

    def _count(self, header: bytes) -> bool:
        """Count a frame, and return True; False where it makes its message too large."""
        self._payload = length = _payload_size(header)
        if header[0] & _OPCODE >= _CONTROL:
            self.partial += 1
            return True
        self.partial += not (header[0] & _FINAL and header[0] & _OPCODE)
        self._size += length
        self._fragments += not header[0] & _FINAL
        if self._size > self._limit or self._fragments > most_fragments(self._limit):
            return False
        if header[0] & _FINAL:
            self._size = self._fragments = 0
        return True


def _header_size(header: bytes) -> int:
    """Return the length of a header by its first two bytes (RFC 6455, section 5.2); 2 where they are incomplete."""
    if len(header) < 2:
        return 2
    return 2 + {126: 2, 127: 8}.get(header[1] & 0x7F, 0) + (4 if header[1] & _MASKED else 0)


def _payload_size(header: bytes) -> int:
    short = header[1] & 0x7F
    if short < 126:
        return short
    return int.from_bytes(header[2 : 4 if short == 126 else 10], "big")
