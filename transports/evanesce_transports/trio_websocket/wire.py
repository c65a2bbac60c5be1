"""What trio-websocket takes for the client's stream: reads are measured, writes keep their place in the outbox."""

from __future__ import annotations

import trio

from evanesce.outbox import Outbox
from evanesce_transports.trio_websocket.sizes import MessageSizes

_CLOSE = 0x88  # the first byte of a close frame, which the library writes whole


class Wire(trio.abc.Stream):
    """Between the library and `stream`, from the handshake on.

    It gives the library `request`, and once the connection is `open`, what comes from the client; `rest` is what came
    right behind the request. A message that is too large looks to the library as if the client had left.
    """

    __slots__ = (
        "_closed",
        "_open",
        "_outbox",
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
        self._open: trio.Event | None = trio.Event()
        self._closed = False
        self.heard_at = trio.current_time()
        """When any bytes last came from the client."""
        self.answered = False
        """Whether the library has answered the client's close frame."""
        self.too_large = False
        """Whether the client sent a message that is too large."""

    def open(self) -> None:
        """Let the library read on: the connection is open. What it reads before that it throws away (wsproto 1.3)."""
        if self._open is not None:
            self._open.set()
            self._open = None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Give what came next; nothing where the client is gone, or is not to be heard any more."""
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
                data = bytes(await self._stream.receive_some(max_bytes))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return b""
            if data:
                self.heard_at = trio.current_time()
        lawful = self._sizes.lawful(data)
        self.too_large = lawful < len(data)
        return data[:lawful]

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Put what the library writes behind what was written before; what is too much disappears: a flood of pongs."""
        await trio.lowlevel.checkpoint()
        written = bytes(data)
        if written[0] == _CLOSE:
            self.answered = True
            self._outbox.finish(written)
        else:
            self._outbox.write_raw(written)

    async def wait_send_all_might_not_block(self) -> None:
        """Return: `send_all` never waits for the network."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Stop reading. The socket is not the library's to close: our own close frame may have to follow."""
        self._closed = True
        self.open()
        await trio.lowlevel.checkpoint()
