"""The WebSocket connection of this transport, read by wsproto, and by `PlainReader` where a message is simple.

All sizes and waiting times are limited here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from evanesce.delivery.outbox import Outbox
from evanesce.errors import CloseCode
from evanesce.listening import Client, ClientStream
from evanesce_transports.limits import Pace, most_fragments
from evanesce_transports.websocket import WebSocketConnection

_READ_BYTES = 16 * 1024
_EVENTS_AT_ONCE = 8  # such as pings and empty fragments: a flood of them must not delay other clients

# Messages that came together are returned without a checkpoint between them, so that the room stores and delivers them
# as one group. The number is limited, because a busy client must not delay others: this many take about 1 ms.
_MESSAGES_AT_ONCE = 32

_TEXT = 0x81  # final, no extension, text (section 5.2)
_CONTROLS = (0x89, 0x8A)  # ping and pong, which are always final
_MASKED = 0x80
_LARGEST_CONTROL = 125
_SMALLEST = 2
_LARGEST_SHORT = 125
_LENGTH_OF_16_BITS = 126


class PlainReader:
    """Reads plain messages of up to `message_bytes`: a text message in one frame, as usual clients send them.

    wsproto takes 35 µs for a frame, and this class 2 µs. That is a quarter of the server's time where one client sends
    many messages. wsproto gets everything else: pings and pongs one by one, and from the first fragment, invalid frame
    or close frame on all further data.
    """

    __slots__ = ("_at", "_data", "_message_bytes", "disabled")

    def __init__(self, message_bytes: int) -> None:
        self._message_bytes = message_bytes
        self._data: bytes | bytearray = b""
        self._at = 0  # how many bytes of it were taken
        self.disabled = False
        """Whether wsproto reads all further data."""

    @property
    def empty(self) -> bool:
        """Whether all data was taken, and the next is for this class."""
        return not (self._data or self.disabled)

    def receive(self, data: bytes) -> None:
        """Add data of the client. At most one message, and the data that came with its end, are kept."""
        if self._at == len(self._data):
            self._data = data
        else:
            if not isinstance(
                self._data, bytearray
            ):  # a message that comes in single bytes must not be copied for each of them
                self._data = bytearray(self._data)
            del self._data[: self._at]
            self._data += data
        self._at = 0

    def message(self) -> str | None:
        """Return the next message where it is plain and complete, otherwise None."""
        data, at = self._data, self._at
        if len(data) - at < 6 + _SMALLEST or data[at] != _TEXT:
            return None
        size, start = data[at + 1] - _MASKED, at + 6
        if size == _LENGTH_OF_16_BITS:
            size, start = data[at + 2] << 8 | data[at + 3], at + 8
            if size <= _LARGEST_SHORT:  # not the shortest form of the length
                return None
        elif not _SMALLEST <= size <= _LARGEST_SHORT:  # not masked, a longer form, or too short for a command
            return None
        end = start + size
        if size > self._message_bytes or len(data) < end:
            return None
        mask = data[start - 4 : start] * (size // 4 + 1)
        masked = int.from_bytes(data[start:end], "big") ^ int.from_bytes(mask[:size], "big")
        try:
            text = masked.to_bytes(size, "big").decode()
        except UnicodeDecodeError:
            return None
        self._at = end
        if end == len(data):  # it must not stay in memory until the client sends the next one
            self._data, self._at = b"", 0
        return text

    def take_for_wsproto(self) -> bytes:
        """Take the data that only wsproto can read; none where a frame is incomplete. Call it after `message`."""
        data, at = self._data, self._at
        have = len(data) - at
        if not have:
            return b""
        if data[at] in _CONTROLS:
            if have < 2:
                return b""
            size = data[at + 1] - _MASKED
            if 0 <= size <= _LARGEST_CONTROL:
                self._at = at + 6 + size if have >= 6 + size else at
                return bytes(data[at : self._at])
        elif self._may_become_plain(data, at, have):
            return b""
        return self.disable()

    def disable(self) -> bytes:
        """Take all data that is left: wsproto reads everything from now on."""
        left, self._data, self._at, self.disabled = bytes(self._data[self._at :]), b"", 0, True
        return left

    def _may_become_plain(self, data: bytes | bytearray, at: int, have: int) -> bool:
        """Return whether the data is the beginning of a plain message."""
        if data[at] != _TEXT:
            return False
        if have < 2:
            return True
        size = data[at + 1] - _MASKED
        if 0 <= size <= _LARGEST_SHORT:
            return have < 6 + size and _SMALLEST <= size <= self._message_bytes
        if size != _LENGTH_OF_16_BITS:
            return False
        if have < 4:
            return True
        size = data[at + 2] << 8 | data[at + 3]
        return _LARGEST_SHORT < size <= self._message_bytes and have < 8 + size


class WsprotoConnection(WebSocketConnection):
    """A connection that wsproto reads. A message may have `message_bytes` at most.

    `rest` are the bytes that came after the handshake.
    """

    __slots__ = (
        "_clock",
        "_fragments",
        "_handle",
        "_heard_at",
        "_in_turn",
        "_library",
        "_library_has",
        "_message",
        "_message_bytes",
        "_pace",
        "_plain",
        "_readers",
        "_reading",
        "_too_fast",
        "_unhandled",
    )

    def __init__(
        self,
        client_stream: ClientStream,
        outbox: Outbox,
        *,
        client: Client,
        message_bytes: int,
        rest: bytes = b"",
    ) -> None:
        super().__init__(client_stream, outbox, client=client)
        self._library: Connection | None = None
        self._message_bytes = message_bytes
        self._message = bytearray()  # the part of a message that was received, unless it is plain
        self._fragments = 0  # how many fragments that are
        self._plain = PlainReader(message_bytes)
        self._plain.receive(rest)
        self._library_has = False  # wsproto has data, and may have further events
        self._in_turn = 0  # how many messages were returned without a checkpoint
        # Whether a task reads: `receive` and `close` may run in two. A `trio.Lock` costs more than reading a message.
        self._reading = False
        self._readers: trio.lowlevel.ParkingLot | None = None  # the other task; most connections never have one
        self._clock = trio.lowlevel.current_clock()  # `trio.current_time` makes two calls more for each message
        self._heard_at = self._clock.current_time()
        self._pace = Pace()
        self._too_fast = 0.0  # how many seconds to wait before the next event
        self._handle: Callable[[str], bool] | None = None
        self._unhandled: str | None = None  # a message that `_handle` has left to `receive`

    @property
    def _protocol(self) -> Connection:
        """wsproto's connection: most clients never send what it is needed for, and it took longest to make."""
        if self._library is None:
            self._library = Connection(ConnectionType.SERVER)
        return self._library

    @property
    def heard_at(self) -> float:
        """When the client last sent any bytes, in seconds of Trio's clock."""
        return self._heard_at

    def deliver_to(self, handle: Callable[[str], bool] | None) -> None:
        """See `evanesce.interfaces.Connection`."""
        self._handle = handle

    async def receive(self) -> str | bytes | None:
        """Wait for the next message; None when the client closed or left, or its data is invalid or too large."""
        plain = self._plain
        if not (self._library_has or self.closing or self.ended):
            if self._in_turn == _MESSAGES_AT_ONCE:
                self._in_turn = 0
                await trio.lowlevel.checkpoint()  # before a message is taken, which a cancellation would lose
            message = plain.message()
            if message is not None:
                self._in_turn += 1
                return message
        if self._library_has or self._reading:
            await trio.lowlevel.checkpoint()
            await self._begin_reading()
            self._in_turn = 0
        else:
            self._reading = True  # without a checkpoint: it will most likely wait for the client
        try:
            if plain.empty and not (self._library_has or self._too_fast or self.closing or self.ended):
                # The usual case: one message at a time, which came whole. Without further coroutines on the way.
                await self.client_stream.wait(_READ_BYTES, self._arrived)
                if (
                    not (self._library_has or self.closing or self.ended)
                    and (message := self._next_plain()) is not None
                ):
                    self._in_turn += 1
                    return message
            return await self._next_message()
        finally:
            self._stop_reading()

    def _arrived(self, data: bytes) -> bool:
        """Take data, have the messages in it handled, and return whether `receive` has to go on."""
        self._take(data)
        if self._handle is None or self.closing or self.ended:
            return True
        plain = self._plain
        for _ in range(_MESSAGES_AT_ONCE):
            if (message := plain.message()) is None:
                return not plain.empty
            if not self._handle(message):
                self._unhandled = message
                return True
        return not plain.empty

    def _next_plain(self) -> str | None:
        """Take the next message, where it is plain and complete."""
        message, self._unhandled = self._unhandled, None
        return self._plain.message() if message is None else message

    async def _next_message(self) -> str | bytes | None:
        """Wait for the next message, where none is plain and complete."""
        for count in itertools.count(1):
            if count % _EVENTS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            if self._too_fast:
                wait, self._too_fast = self._too_fast, 0.0
                await trio.sleep(wait)
            if self.closing or self.ended:
                return None
            event = None
            if self._library_has or self._pass_on(self._plain.take_for_wsproto()):
                event = next(self._protocol.events(), None)
                self._library_has = event is not None
            else:
                self._take(await self.client_stream.receive(_READ_BYTES))
            if event is None:
                if not (self.closing or self._library_has) and (message := self._plain.message()) is not None:
                    self._in_turn += 1
                    return message
                continue
            if isinstance(event, TextMessage | BytesMessage):
                if event.frame_finished and not event.message_finished:
                    self._too_fast = self._pace.count()
                    self._fragments += 1
                self._message += event.data.encode() if isinstance(event, TextMessage) else event.data
                if len(self._message) > self._message_bytes or self._fragments > most_fragments(self._message_bytes):
                    await self._discard_and_fail(CloseCode.TOO_LARGE)
                elif event.message_finished:
                    whole, self._message, self._fragments = self._message, bytearray(), 0
                    return whole.decode() if isinstance(event, TextMessage) else bytes(whole)
            elif isinstance(event, Ping | Pong):
                self._too_fast = self._pace.count()
                if isinstance(event, Ping):
                    self.outbox.write_control(self._protocol.send(event.response()))
            elif isinstance(event, CloseConnection):
                if self._protocol.state is ConnectionState.REMOTE_CLOSING:
                    self.outbox.finish(self._protocol.send(event.response()))
                    self.ended = True
                else:  # wsproto could not parse the data
                    await self._discard_and_fail(CloseCode(event.code))
        raise AssertionError("unreachable")

    async def _discard_and_fail(self, code: CloseCode) -> None:
        self._message = bytearray()
        await self._fail(code)

    async def _wait_for_end(self) -> None:
        """Discard input until the client sends a close frame or leaves. A flood is read slowly."""
        await self._begin_reading()
        try:
            self._pass_on(self._plain.disable())
            while not self.ended:
                event = next(self._protocol.events(), None)
                if event is None:
                    self._take(await self.client_stream.receive(_READ_BYTES))
                elif isinstance(event, CloseConnection):
                    self.ended = True
                else:
                    await trio.sleep(self._pace.count())
        finally:
            self._stop_reading()

    async def _begin_reading(self) -> None:
        while self._reading:
            if self._readers is None:
                self._readers = trio.lowlevel.ParkingLot()
            await self._readers.park()
        self._reading = True

    def _stop_reading(self) -> None:
        self._reading = False
        if self._readers is not None:
            self._readers.unpark()

    def _take(self, data: bytes) -> None:
        """Take data of the client; none where it has left."""
        self._in_turn = 0
        if data:
            self._heard_at = self._clock.current_time()
            if self._plain.disabled:
                self._pass_on(data)
            else:
                self._plain.receive(data)
        else:
            self.ended = True

    def _pass_on(self, data: bytes) -> bool:
        """Pass `data` to wsproto, and return whether it has any."""
        if data:
            self._protocol.receive_data(data)
            self._library_has = True
        return self._library_has
