"""The log: lines on standard error, which hold no content, cost a bounded part of the server, and never block it.

All code logs by the `logging` of the standard library. `formatting` makes a line of a record, `repeats` bounds how many
lines of one kind are written, and `writer` writes them in a thread of its own.
"""

from evanesce.logs.context import bind_connection, unbind_connection
from evanesce.logs.handler import configure, dropped, flush, level_problem, put_line, setup
from evanesce.logs.records import EVERY_LINE, OWN_ADDRESSES, fields
from evanesce.logs.text import escaped, folded, imported

__all__ = [
    "EVERY_LINE",
    "OWN_ADDRESSES",
    "bind_connection",
    "configure",
    "dropped",
    "escaped",
    "fields",
    "flush",
    "folded",
    "imported",
    "level_problem",
    "put_line",
    "setup",
    "unbind_connection",
]
