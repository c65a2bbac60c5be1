"""The handler of a process's records, and what the configuration changes about it."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TextIO

from evanesce.logs.records import is_always_written, kind_of, summed, text_of
from evanesce.logs.redaction import Addresses
from evanesce.logs.repeats import Repeats, Sum
from evanesce.logs.writer import Writer

if TYPE_CHECKING:
    from evanesce.logs.formatting import Form

PARTS = ("evanesce", "evanesce_plugins", "evanesce_transports")
"""The loggers of Evanesce's own code. All others are of libraries, except those of further plugins."""

MOST_CHARACTERS = 1_000
"""How much of a text is kept to sum up those like it, in characters."""

FLUSH_SECONDS = 2.0
"""How long the end of a process waits for what reads the log."""


class _State:
    handler: Handler | None = None
    everything = False


def setup(*, everything: bool = False) -> None:
    """Write records to standard error, as text, from the level `info` on; those of libraries from `warning` on.

    With `everything`, records of all levels are written, also those of libraries, whatever `configure` is told.
    """
    root = logging.getLogger()
    _State.everything = everything
    _State.handler = Handler(sys.stderr, time.monotonic)
    root.handlers[:] = [_State.handler]
    root.setLevel(logging.DEBUG if everything else logging.WARNING)
    for part in PARTS:
        logging.getLogger(part).setLevel(logging.NOTSET if everything else logging.INFO)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # otherwise a record that cannot be written is printed with all its arguments


def configure(
    *,
    form: Form = "text",
    level: str = "info",
    levels: Mapping[str, str] | None = None,
    addresses: Addresses = "full",
    plugins: Iterable[str] = (),
    worker: int | None = None,
) -> None:
    """Write records as `[logs]` says, after `setup`. `plugins` are the packages of the plugins, as loggers are named.

    `worker` is the number of this process, where it is a worker.
    """
    from evanesce.logs.formatting import adopt_structlog, line_formatter  # imported here, as in `Handler.format`

    adopt_structlog()
    if _State.handler is not None:
        _State.handler.setFormatter(line_formatter(form, addresses, {} if worker is None else {"worker": worker}))
    if _State.everything:
        return
    for part in (*PARTS, *plugins):
        logging.getLogger(part).setLevel(level.upper())
    for name, own in (levels or {}).items():
        logging.getLogger(name).setLevel(own.upper())


def level_problem(name: str, level: str, plugins: Iterable[str]) -> str | None:
    """Return why a logger cannot have a level; None if it can.

    Libraries log what they send and receive below `warning`: tokens, addresses, and content. Whole tracebacks of
    plugins are logged by `--debug-plugins` alone.
    """
    if name == "evanesce.plugins.texts":
        return "shows the texts of exceptions, which may hold messages and secrets"
    is_part = any(name == part or name.startswith(f"{part}.") for part in (*PARTS, *plugins))
    if not is_part and logging.getLevelNamesMapping()[level.upper()] < logging.WARNING:
        return "is of a library, which may log tokens and messages below the level warning"
    return None


def flush() -> None:
    """Wait until all lines are written, 2 s at most. It blocks."""
    if _State.handler is not None:
        _State.handler.flush()


def put_line(line: str) -> None:
    """Write a line that is no record, with its line break, below what was logged before. It does not block."""
    if _State.handler is None:
        sys.stderr.write(line)
    else:
        _State.handler.put(line)


def dropped() -> int:
    """Return how many lines were dropped, because nothing reads the log, or it reads too slowly."""
    return 0 if _State.handler is None else _State.handler.dropped


class Handler(logging.Handler):
    """Passes lines to the writer, a bounded number of each kind. `clock` returns seconds of a monotonic clock."""

    def __init__(self, stream: TextIO | None, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        # Not the handler's own lock: `logging.shutdown` holds that while it calls `flush`, which waits for the thread.
        self._counting = threading.RLock()
        self._repeats = Repeats[logging.LogRecord]()
        self._writer = Writer(stream, self._between)

    @property
    def dropped(self) -> int:
        """How many lines were dropped."""
        return self._writer.dropped

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it."""
        try:
            with self._counting:
                self._emit(record)
        except Exception:
            self.handleError(record)

    def _emit(self, record: logging.LogRecord) -> None:
        if is_always_written(record):
            self._writer.put(self._line(record))
            return
        key, now = kind_of(record), self._clock()
        if self._repeats.takes(key, now):
            self._writer.put(self._line(record))
        elif self._repeats.leave_out(key, now):
            self._repeats.keep(key, summed(record, text_of(record)[:MOST_CHARACTERS]), now)
            self._writer.wake()

    def put(self, line: str) -> None:
        """Write a line that is no record, in the order of the others."""
        self._writer.put(_encoded(line))

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line."""
        if self.formatter is None:
            # Imported here, because structlog takes a tenth of a second, and most commands log nothing.
            from evanesce.logs.formatting import line_formatter

            self.formatter = line_formatter("text", "full", {})
        return self.formatter.format(record)

    def flush(self) -> None:
        """Sum up what was left out, and wait until all lines are written, 2 s at most."""
        with self._counting:
            for line in self._sums(every=True):
                self._writer.put(line)
        self._writer.flush(FLUSH_SECONDS)

    def _between(self, dropped: int) -> tuple[list[bytes], float | None]:
        """Return the sums that are due, and a line about lines that were `dropped`. The writer's thread calls it."""
        with self._counting:
            lines = self._sums()
            if dropped:
                lines.append(self._line(_dropped_record(dropped)))
            at = self._repeats.summed_at
            return lines, None if at is None else max(0.0, at - self._clock())

    def _sums(self, *, every: bool = False) -> list[bytes]:
        return [self._line(_sum_record(one)) for one in self._repeats.sums(self._clock(), every=every)]

    def _line(self, record: logging.LogRecord) -> bytes:
        return _encoded(f"{self.format(record)}\n")


def _encoded(line: str) -> bytes:
    return line.encode("utf-8", "backslashreplace")


def _sum_record(one: Sum[logging.LogRecord]) -> logging.LogRecord:
    return summed(one.first, f"{one.first.getMessage()} (repeated {one.count} times in {one.seconds:.0f} s)")


def _dropped_record(count: int) -> logging.LogRecord:
    text = "%d lines of the log were dropped, because nothing read it"
    return logging.LogRecord(__name__, logging.WARNING, "", 0, text, (count,), None)
