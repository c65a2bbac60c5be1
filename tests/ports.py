"""Ports for what tests start: below those that the system hands out, each process with a block of its own.

A port that the system chose and that was closed again may be another process's a moment later. A process owns a block
for as long as it lives, by a socket that is bound to the block's first port. The system frees that however the process
ends. Two runs of the tests on one machine therefore never hand out the same port.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from functools import cache

_FIRST = 10_000
_END = 20_000
"""A node of a Redis Cluster listens 10,000 above its port too, which has to be below the system's ports as well."""

_SIZE = 200


def free_port(also: int = 0) -> int:
    """Return a port of 127.0.0.1 that no process listens on, nor on the one that is `also` above it."""
    return next(port for port in itertools.islice(_ports(), _SIZE) if _is_free(port) and _is_free(port + also))


@cache
def _ports() -> Iterator[int]:
    """Return this process's ports, over and over."""
    first = _owner().getsockname()[1]
    return itertools.cycle(range(first + 1, first + _SIZE))


@cache
def _owner() -> socket.socket:
    """Return the socket that holds this process's block: bound without SO_REUSEADDR, as no other can be then."""
    for first in range(_FIRST, _END, _SIZE):
        owner = socket.socket()
        try:
            owner.bind(("127.0.0.1", first))
        except OSError:
            owner.close()
            continue
        return owner
    raise RuntimeError(f"all ports from {_FIRST} to {_END} are those of other runs of the tests")


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
