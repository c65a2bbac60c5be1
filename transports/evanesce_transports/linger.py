"""The end of a connection after the last bytes for the client: not before it had a chance to read them."""

from __future__ import annotations

import contextlib
import socket as stdlib_socket

import trio

LINGER_SECONDS = 1.0
"""How long a client that goes on sending is listened to."""

_READ_BYTES = 64 * 1024


async def linger(stream: trio.abc.ReceiveStream, socket: trio.socket.SocketType) -> None:
    """Say that nothing more comes, and throw away input until the client leaves, for 1 s at most.

    A socket that is closed with input unread sends a reset, which may overtake what was sent before (RFC 9112,
    section 9.6).
    """
    with (
        trio.move_on_after(LINGER_SECONDS),
        contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError),  # the client left
    ):
        socket.shutdown(stdlib_socket.SHUT_WR)
        while await stream.receive_some(_READ_BYTES):
            pass
