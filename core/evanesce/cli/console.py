"""Standard input and output, read and written by lines in threads, so that they never block the event loop."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator

import trio

LONGEST_LINE = 65_536
"""In bytes. A longer line is split. No server accepts a longer message."""

_CONTROLS = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
_TEXT = str.maketrans({code: sign for code, sign in _CONTROLS.items() if chr(code) not in "\n\t"})
_LINE = str.maketrans(_CONTROLS)


def text(content: str) -> str:
    """Replace the control characters in a message, which a terminal would obey.

    Lines after the first one are indented, so that they cannot look like a message of another user.
    """
    return content.replace("\r\n", "\n").translate(_TEXT).replace("\n", "\n    ")


def line(content: str) -> str:
    """Replace the control characters in a single line, such as a name, line breaks included."""
    return content.translate(_LINE)


class Console:
    """Standard input and output. `echoes`: input appears on the screen as it is typed.

    They use the file descriptors directly: an abandoned thread in `sys.stdin` or `sys.stdout` would hold a lock that
    prevents the interpreter from exiting (bpo-42717).
    """

    def __init__(self, stdin: int = 0, stdout: int = 1) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._printing = trio.Lock()
        self._threads = trio.CapacityLimiter(2)
        self.echoes = os.isatty(stdin)

    async def lines(self) -> AsyncGenerator[str, None]:
        """Yield each line, without its line end, until the end of the input."""
        rest = b""
        while data := await self._read():
            rest += data
            *whole, rest = rest.split(b"\n")
            for item in whole:
                yield item.removesuffix(b"\r").decode(errors="replace")
            if len(rest) > LONGEST_LINE:
                yield rest.decode(errors="replace")
                rest = b""
        if rest:
            yield rest.decode(errors="replace")

    async def print(self, content: str) -> None:
        """Write `content` as whole lines. Raises `BrokenPipeError` if the reader of the output has ended."""
        async with self._printing:
            await trio.to_thread.run_sync(
                self._write, f"{content}\n".encode(errors="replace"), abandon_on_cancel=True, limiter=self._threads
            )

    async def _read(self) -> bytes:
        try:
            return await trio.to_thread.run_sync(
                os.read, self._stdin, LONGEST_LINE, abandon_on_cancel=True, limiter=self._threads
            )
        except OSError:
            return b""  # the terminal was closed

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._stdout, data) :]
