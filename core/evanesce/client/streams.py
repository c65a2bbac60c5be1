"""The byte stream below a connection: TCP or TLS, opened within a deadline, and watched."""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import urlsplit

import trio

from evanesce.client.errors import Unreachable

CONNECT_SECONDS = 10

OpenStream = Callable[[str], Awaitable[trio.abc.Stream]]
"""How the stream of a WebSocket address is opened. Raises `Unreachable`."""


class WatchedStream(trio.abc.Stream):
    """A stream that calls `on_end` when it ends, and knows when it last received something, `heard_at`.

    trio-websocket 0.12 waits for ever if the connection ends before or during the opening handshake.
    """

    def __init__(self, stream: trio.abc.Stream, on_end: Callable[[], None]) -> None:
        self._stream = stream
        self._on_end = on_end
        self.ended = False
        self.heard_at = trio.current_time()

    def _end(self) -> None:
        self.ended = True
        self._on_end()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`; see `trio.abc.Stream`."""
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            self._end()
            raise

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until data can be sent; see `trio.abc.Stream`."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive data; see `trio.abc.Stream`."""
        try:
            received = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self._end()
            raise
        self.heard_at = trio.current_time()
        if not received:
            self._end()
        return received

    async def aclose(self) -> None:
        """Close the stream; see `trio.abc.Stream`."""
        self._end()
        await self._stream.aclose()


async def open_stream(url: str) -> trio.abc.Stream:
    """Connect to the host of `url` by TCP, or, for `wss`, by TLS. Raises `Unreachable`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        with trio.fail_after(CONNECT_SECONDS):
            if parts.scheme == "ws":
                return await trio.open_tcp_stream(host, parts.port or 80)
            secure = await trio.open_ssl_over_tcp_stream(host, parts.port or 443, https_compatible=True)
            try:
                await secure.do_handshake()
            except BaseException:  # also when cancelled: nothing else closes the socket yet
                await trio.aclose_forcefully(secure)
                raise
            return secure
    except trio.TooSlowError:
        raise Unreachable("no answer") from None
    except trio.BrokenResourceError as error:
        cause = error.__cause__
        if isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER":
            raise Unreachable("it does not speak TLS: maybe the link has to begin with http://") from error
        raise Unreachable(str(cause or "the connection is lost")) from error
    except OSError as error:
        raise Unreachable(_reason(error)) from error
    except UnicodeError as error:  # of the encoding "idna": a part of the name is empty or too long
        raise Unreachable("no host can have this name") from error


def _reason(error: OSError) -> str:
    """Return the system's text for the reason.

    The error of Trio has that of the system as its cause: in a group if the host name has several addresses.
    """
    cause: BaseException | None = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cast("BaseExceptionGroup[BaseException]", cause).exceptions[0]
    if isinstance(cause, OSError) and cause.errno is not None:
        return os.strerror(cause.errno)
    return error.strerror or str(error)
