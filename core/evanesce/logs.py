"""What the log looks like: on standard error, a line for each event, without control characters and without content.

An exception's own text is left out, because it may hold what somebody wrote or a secret: its type and its places in
the code are shown.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from pathlib import Path
from typing import cast

from evanesce.model import timestamp

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""C0, DEL and C1, the line breaks of Unicode, and what UTF-8 cannot say."""

_FRAMES = 8
"""How many places of an exception are shown, counted from where it was raised."""


def setup(level: int = logging.INFO) -> None:
    """Send every log record of the process to standard error, from `level` on, and warnings too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # else a record that cannot be written is printed with all its arguments


class Formatter(logging.Formatter):
    """Writes `2026-11-22T05:42:00.123Z WARNING evanesce.rooms.room text [exception]` on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as one line."""
        line = f"{timestamp(int(record.created * 1000))} {record.levelname} {record.name} {record.getMessage()}"
        if record.exc_info and record.exc_info[1] is not None:
            line += f" [{folded(record.exc_info[1])}]"
        return escaped(line)


def escaped(text: str) -> str:
    r"""Write control characters visibly (`\n`, `\x1b`, `\u2028`), so that text stays on one line."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def folded(error: BaseException) -> str:
    """Say on one line what was raised and where, innermost place first; without its text, which may hold content."""
    name = type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        name += f" ({error.strerror})"
    places = [
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__, limit=-_FRAMES)
    ]
    text = " < ".join([f"{name} at {places[-1]}", *reversed(places[:-1])]) if places else name
    if isinstance(error, BaseExceptionGroup):
        group = cast(BaseExceptionGroup[BaseException], error)
        text += f" of {{{'; '.join(folded(one) for one in group.exceptions)}}}"
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return text if cause is None else f"{text}, after {folded(cause)}"
