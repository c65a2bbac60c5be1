"""The terminal, or the pipes in its place: lines in and out, in threads, so that neither ever holds up Trio."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator

import trio

LONGEST_LINE = 65_536
"""In bytes: what is longer comes in pieces. No server takes a longer message."""

_CONTROLS = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
_TEXT = str.maketrans({code: sign for code, sign in _CONTROLS.items() if chr(code) not in "\n\t"})
_LINE = str.maketrans(_CONTROLS)


def text(content: str) -> str:
    """Take from what somebody wrote all that a terminal would obey.

    Further lines are indented: none can pass for somebody else's.
    """
    return content.replace("\r\n", "\n").translate(_TEXT).replace("\n", "\n    ")


def line(content: str) -> str:
    """Do the same with what is no more than a line, such as a name."""
    return content.translate(_LINE)


class Console:
    """Standard input and output.

    Both go to the descriptors themselves: a thread that is left behind in `sys.stdin` or `sys.stdout` holds its lock,
    and the interpreter cannot end (bpo-42717).
    """

    def __init__(self, stdin: int = 0, stdout: int = 1) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._printing = trio.Lock()
        self._threads = trio.CapacityLimiter(2)
        self.echoes = os.isatty(stdin)
        """Whether what is typed is seen on the screen already."""

    async def lines(self) -> AsyncGenerator[str, None]:
        """Give each line, without its end, until the input ends."""
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
        """Write `content` as one or more whole lines. Raises `BrokenPipeError` where nobody reads them any more."""
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
            return b""  # the terminal is gone

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._stdout, data) :]
