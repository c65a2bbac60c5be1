"""The plain case of RFC 6455: a text message in one frame, which is all that a usual client ever sends.

wsproto reads everything, and a frame at that costs it 35 µs, of which the plain case needs two: where one person says
much, that was a quarter of the server's time. So plain frames are taken here, and all else goes to wsproto, frame by
frame as long as it is pings and pongs; from the first fragment, violation or close frame on, it reads all that comes.
"""

from __future__ import annotations

_TEXT = 0x81  # final, no extension, text (section 5.2)
_CONTROLS = (0x89, 0x8A)  # ping and pong, which are always final
_MASKED = 0x80
_LARGEST_CONTROL = 125
_LARGEST_SHORT = 125
_LENGTH_OF_16_BITS = 126


class PlainReader:
    """Takes messages out of what a client sends; none of more than `message_bytes`."""

    __slots__ = ("_at", "_data", "_message_bytes", "over")

    def __init__(self, message_bytes: int) -> None:
        self._message_bytes = message_bytes
        self._data = b""
        self._at = 0  # what of it was taken
        self.over = False
        """Whether wsproto reads all that comes from now on."""

    def receive(self, data: bytes) -> None:
        """Take what came. There is never more in here than one message and what came with its end."""
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0

    def message(self) -> str | None:
        """Give the next message, where a plain one is there whole."""
        data, at = self._data, self._at
        if len(data) - at < 8 or data[at] != _TEXT:  # 8: a frame with less has no content that a command could have
            return None
        size, start = data[at + 1] - _MASKED, at + 6
        if size == _LENGTH_OF_16_BITS:
            size, start = data[at + 2] << 8 | data[at + 3], at + 8
            if size <= _LARGEST_SHORT:  # not the shortest way to write it
                return None
        elif not 0 <= size <= _LARGEST_SHORT:  # not masked, or larger than a plain one is
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
        return text

    def rest(self) -> bytes:
        """Take what only wsproto can read; nothing where more has to come first. To be asked after `message`."""
        data, at = self._data, self._at
        have = len(data) - at
        if have and data[at] in _CONTROLS:
            if have < 2:
                return b""
            size = data[at + 1] - _MASKED
            if 0 <= size <= _LARGEST_CONTROL:
                self._at = at + 6 + size if have >= 6 + size else at
                return data[at : self._at]
        elif self._may_become_plain(data, at, have):
            return b""
        return self.give_up()

    def give_up(self) -> bytes:
        """Take all that is left: from now on wsproto reads everything."""
        left, self._data, self._at, self.over = self._data[self._at :], b"", 0, True
        return left

    def _may_become_plain(self, data: bytes, at: int, have: int) -> bool:
        """Whether what is there is the beginning of a plain message, or of nothing yet."""
        if have == 0:
            return True
        if data[at] != _TEXT:
            return False
        if have < 2:
            return True
        size = data[at + 1] - _MASKED
        if 0 <= size <= _LARGEST_SHORT:
            return have < 6 + size and size <= self._message_bytes and size >= 2
        if size != _LENGTH_OF_16_BITS:
            return False
        if have < 4:
            return True
        size = data[at + 2] << 8 | data[at + 3]
        return _LARGEST_SHORT < size <= self._message_bytes and have < 8 + size
