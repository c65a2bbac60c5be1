"""The base of all types that have the content of a message, a name, a mail address or a secret."""

from __future__ import annotations

from typing import Any, NoReturn


class Confidential:
    """A mixin for structs and data classes, before their other bases: a value of the type shows and stores nothing.

    `repr`, `str` and formats show its type alone, so that it may be logged by mistake, or be shown in a traceback or
    by a debugger. Pickling and deep copies are refused. A data class also needs `repr=False`.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # that of a struct shows the fields
        return []

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} is confidential: it cannot be pickled")
