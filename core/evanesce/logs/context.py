"""The connection that a task works for: its number is in all lines that the task logs, and the tasks that it starts."""

from __future__ import annotations

import itertools
from contextvars import ContextVar

_numbers = itertools.count(1)

_connection: ContextVar[int | None] = ContextVar("connection", default=None)


def bind_connection() -> None:
    """Number the connection of this task, for the lines that it logs: the next number of the process."""
    _connection.set(next(_numbers))


def unbind_connection() -> None:
    """Let this task work for no single connection from now on, although the task of a connection has started it."""
    _connection.set(None)


def bound() -> dict[str, int]:
    """Return the fields of a line that is logged now."""
    number = _connection.get()
    return {} if number is None else {"connection": number}
