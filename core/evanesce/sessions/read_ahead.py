"""Frames that are read ahead while an identity provider works for the client; they are executed afterwards."""

from __future__ import annotations

from collections import deque

from evanesce.protocol import codec, commands

FRAMES = 16
"""The most frames that are read ahead."""

_PING_CHARACTERS = 256  # with the longest `ref`, and white space


class ReadAhead:
    """The frames of one connection that were read ahead, in order.

    There is room for `FRAMES` frames, until they have `size` bytes in all. Text is stored as UTF-8: a Python string
    with one rare character takes four times as much.
    """

    __slots__ = ("_closed", "_frames", "_left")

    def __init__(self, size: int) -> None:
        self._left = size
        self._frames: deque[tuple[bytes, bool]] | None = None  # whether each is text; most connections never need one
        self._closed = False

    def __bool__(self) -> bool:
        return bool(self._frames) or self._closed

    @property
    def has_room(self) -> bool:
        """Whether another frame may be read."""
        return self._left > 0 and len(self._frames or ()) < FRAMES and not self._closed

    def put(self, frame: str | bytes) -> None:
        """Store a frame."""
        if self._frames is None:
            self._frames = deque()
        data = frame.encode(errors="surrogatepass") if isinstance(frame, str) else frame
        self._frames.append((data, isinstance(frame, str)))
        self._left -= len(data)

    def take(self) -> str | bytes | None:
        """Remove and return the next frame; None when the client has left, because its frames are of no use then."""
        if self._closed or self._frames is None:
            return None
        data, is_text = self._frames.popleft()
        self._left += len(data)
        return data.decode(errors="surrogatepass") if is_text else data

    def close(self) -> None:
        """Note that the client has left."""
        self._closed = True


def asks_provider(command: commands.AnyCommand) -> bool:
    """Return whether a command needs an identity provider."""
    return isinstance(command, commands.Challenge) or (
        isinstance(command, commands.Hello) and command.credential is not None
    )


def is_ping(frame: str | bytes) -> bool:
    """Return whether a frame is the command `ping`. Only short frames are decoded, so that no large one is twice."""
    if isinstance(frame, bytes) or len(frame) > _PING_CHARACTERS:
        return False
    try:
        return isinstance(codec.decode(frame), commands.Ping)
    except codec.Undecodable:
        return False
