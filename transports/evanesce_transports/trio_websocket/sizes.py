"""How large a client's messages are, in bytes, from the headers of their frames: before the library sees any of it.

trio-websocket counts characters, and only what it has decoded; and it keeps a list of a message's fragments, to which
empty ones add without counting.
"""

from __future__ import annotations

_FIN = 0x80
_MASKED = 0x80
_OPCODE = 0x0F
_CONTROL = 0x08  # this opcode and those above it: control frames, whose size RFC 6455 bounds
_LONGEST_HEADER = 14


class MessageSizes:
    """Adds up the payloads of each message of one client. What breaks RFC 6455 is the library's to find."""

    __slots__ = ("_empty", "_header", "_limit", "_payload", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._header = b""  # what has come of a frame's header
        self._payload = 0  # how much is to come of a frame's payload
        self._size = 0  # of the message so far
        self._empty = 0  # how many of its fragments were empty

    def lawful(self, data: bytes) -> int:
        """Give how many bytes at the start of `data`, the next that came, are before a frame that is too much."""
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
            if not self._take(header):
                return at
            self._header = b""
            at += size - known
        return at

    def _take(self, header: bytes) -> bool:
        """Count a frame; False where it makes its message too large."""
        self._payload = length = _payload_size(header)
        if header[0] & _OPCODE >= _CONTROL:
            return True
        self._size += length
        self._empty += not length
        if self._size > self._limit or self._empty > self._limit:
            return False
        if header[0] & _FIN:
            self._size = self._empty = 0
        return True


def _header_size(header: bytes) -> int:
    """Give how long a header is (RFC 6455, section 5.2), of which the beginning is known; 2 where that is too short."""
    if len(header) < 2:
        return 2
    return 2 + {126: 2, 127: 8}.get(header[1] & 0x7F, 0) + (4 if header[1] & _MASKED else 0)


def _payload_size(header: bytes) -> int:
    short = header[1] & 0x7F
    if short < 126:
        return short
    return int.from_bytes(header[2 : 4 if short == 126 else 10], "big")
