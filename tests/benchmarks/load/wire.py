"""The client side of WebSocket, as far as the load needs it: the upgrade, and masked text frames."""

from __future__ import annotations

import struct

MARK = b"^" * 16
"""What every message's content begins with; it is nowhere else in what a server sends, so counting it counts messages.

It cannot stand in a frame's header either, and part of it at the start of what was received means that the rest came
before.
"""

MARK_BYTE = MARK[0]


def content(size: int) -> str:
    """Make the content of a message, `size` bytes long."""
    return MARK.decode() + "x" * (size - len(MARK))


def upgrade(port: int, path: str) -> bytes:
    """Ask for a WebSocket."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def text(payload: str) -> bytes:
    """Make a text frame, masked as a client's has to be; the mask is any, but not zeros: a server has to undo it."""
    data = payload.encode()
    size = len(data)
    if size < 126:
        head = bytes([0x81, 0x80 | size])
    elif size < 65536:
        head = struct.pack("!BBH", 0x81, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x81, 0x80 | 127, size)
    mask = b"\x12\x34\x56\x78"
    repeated = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
    return head + mask + masked
