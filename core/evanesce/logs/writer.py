"""Writes lines to standard error in a thread of its own, so that a reader that is slow or hangs blocks nothing else."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

MOST_WAITING = 1_048_576
"""How many bytes may wait to be written. Lines that do not fit are dropped and counted."""

_POLL_SECONDS = 1.0  # between two looks at a descriptor that somebody else has made non-blocking

Between = Callable[[int], tuple[Sequence[bytes], float | None]]
"""Called between two writes, in the thread, with the number of lines that were dropped since.

It returns lines to write, and in how many seconds it has to be called again (None: after the next line).
"""


class Writer:
    """The thread that writes to `stream`, standard error, and the lines that wait for it."""

    def __init__(self, stream: TextIO | None, between: Between) -> None:
        self.dropped = 0
        """How many lines were dropped."""
        self._stream = stream  # kept open
        self._write = _writing(stream)
        self._between = between
        self._changed = threading.Condition()
        self._lines: list[bytes] = []
        self._waiting_bytes = 0
        self._idle = True
        self._woken = False
        self._reported = 0  # of `dropped`
        self._thread: threading.Thread | None = None

    def put(self, line: bytes) -> None:
        """Write a line soon, or drop it; this does not block."""
        with self._changed:
            if self._waiting_bytes + len(line) > MOST_WAITING:
                self.dropped += 1
                return
            self._lines.append(line)
            self._waiting_bytes += len(line)
            self._idle = False
            self._changed.notify_all()
            if self._thread is None:
                self._start()

    def wake(self) -> None:
        """Call `between` soon."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until all lines are written, so many seconds at most, and return whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: self._idle, seconds)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="evanesce-log", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # there are no threads left, or the interpreter is ending: the next line tries again
            return
        self._thread = thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._woken = False
                lines, self._lines = self._lines, []
            self._write_all(lines)
            with self._changed:
                self._waiting_bytes -= sum(map(len, lines))
                untold, self._reported = self.dropped - self._reported, self.dropped
            more, seconds = self._between(untold)
            for line in more:
                self.put(line)
            with self._changed:
                if not self._lines:
                    self._idle = True
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._lines or self._woken, seconds)

    def _write_all(self, lines: Sequence[bytes]) -> None:
        for group in _groups(lines):
            try:
                self._write(b"".join(group))
            except (OSError, ValueError):  # its reader has ended, the disk is full, or it was closed
                with self._changed:
                    self.dropped += len(group)
                    self._reported += len(group)  # a line about it would fail in the same way


def _groups(lines: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Yield lines in groups that a pipe takes whole: the workers of a server write to the same one.

    A longer line is a group of its own.
    """
    group: list[bytes] = []
    size = 0
    for line in lines:
        if group and size + len(line) > select.PIPE_BUF:
            yield group
            group, size = [], 0
        group.append(line)
        size += len(line)
    if group:
        yield group


def _writing(stream: TextIO | None) -> Callable[[bytes], None]:
    """Return what writes bytes to a stream: past its lock and buffer, for which other threads would have to wait."""
    if stream is None:
        return lambda data: None
    try:
        descriptor = stream.fileno()
    except (OSError, AttributeError):  # a stream in memory, of a test

        def write(data: bytes) -> None:
            stream.write(data.decode())
            stream.flush()

        return write

    def write_all(data: bytes) -> None:
        while data:
            try:
                data = data[os.write(descriptor, data) :]
            except BlockingIOError:
                select.select((), (descriptor,), (), _POLL_SECONDS)

    return write_all
