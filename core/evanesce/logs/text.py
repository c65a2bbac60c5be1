"""The text of a line of the log: no control characters, and no texts of exceptions.

The text of an exception is left out, because it may hold a message or a secret. The log shows the type of the exception
and the places in the code.
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import cast

_ESCAPES = {
    code: chr(code).encode("unicode_escape").decode("ascii")
    for codes in (range(0x20), range(0x7F, 0xA0), (0x2028, 0x2029), range(0xD800, 0xE000))
    for code in codes
}
"""The escapes of C0, DEL and C1, the line breaks of Unicode, and lone surrogates, which UTF-8 cannot encode."""

_SEPARATORS = str.maketrans(".,;()", "     ")
"""The characters between names in an `import` statement."""

_FRAMES = 8
"""How many places of an exception are shown, starting where it was raised."""


def escaped(text: str) -> str:
    r"""Return `text` with control characters escaped (`\n`, `\x1b`, `\u2028`), so that it stays on one line."""
    return text if text.isprintable() else text.translate(_ESCAPES)


def _has_system_text(error: OSError) -> bool:
    """Return whether the `strerror` of an error is the system's text: code may raise an `OSError` with any text."""
    return isinstance(error.errno, int) and error.strerror == os.strerror(error.errno)


def imported(error: ImportError) -> str | None:
    """Return the module that could not be imported, or that lacks an imported name; None if it is not known.

    It is returned only if the `import` statement in the code names it: any other text may be content.
    """
    places = traceback.extract_tb(error.__traceback__, limit=-1)
    line = (places[-1].line or "").strip() if places else ""
    if not isinstance(error.name, str) or not line.startswith(("import ", "from ")):
        return None
    return error.name if error.name.rpartition(".")[2] in line.translate(_SEPARATORS).split() else None


def folded(error: BaseException) -> str:
    """Describe an exception on one line: its type and places, innermost first. Its text may be content."""
    name = type(error).__name__
    if isinstance(error, OSError) and _has_system_text(error):
        name += f" ({error.strerror})"
    elif isinstance(error, ImportError) and (module := imported(error)):
        name += f" ({module})"
    elif isinstance(error, SyntaxError) and (file := str(error.filename)).endswith(".py"):
        name += f" ({Path(file).name}:{error.lineno})"
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
