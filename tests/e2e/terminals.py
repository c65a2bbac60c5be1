"""A process of `evanesce chat`, controlled through its pipes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from types import TracebackType

from tests.patience import PATIENCE


class Terminal:
    """A terminal client. The methods block: from Trio, call them in a thread."""

    def __init__(self, link: str, name: str, *options: str) -> None:
        self.lines: list[str] = []
        self._rest = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "evanesce", "chat", link, "--name", name, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def sees(self, part: str, *, patience: float = PATIENCE) -> str:
        """Wait for a line of the output that contains `part`, and return it."""
        deadline = time.monotonic() + patience
        while True:
            for line in self.lines:
                if part in line:
                    return line
            assert self._read(deadline), f"no {part!r} in {self.lines}, {self.process.poll()=}"

    def _read(self, deadline: float) -> bool:
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        data = os.read(self.process.stdout.fileno(), 65_536) if readable else b""
        *whole, self._rest = (self._rest + data).split(b"\n")
        self.lines += [line.decode() for line in whole]
        return bool(data)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def hang_up(self) -> None:
        """Close its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def ends(self) -> tuple[int, str]:
        """Wait for its end, and return the exit code and its standard error."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        code = self.process.wait(PATIENCE)
        assert self.process.stderr is not None
        errors = self.process.stderr.read().decode()
        return code, errors

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.process:
            if self.process.poll() is None:
                self.process.kill()
