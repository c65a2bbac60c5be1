"""What passes between the supervisor and a worker: one socket pair, the worker's standard input.

The supervisor sends an `Assignment`, the worker the URLs that it listens on, each as a line of JSON. Neither sends
anything else: that the supervisor has ended, however it did, shows as the end of what it sends.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress

import msgspec
import trio

from evanesce.errors import ConfigurationError

logger = logging.getLogger(__name__)

_READ_BYTES = 65_536


class Assignment(msgspec.Struct, kw_only=True, frozen=True):
    """What makes a process a worker. It may hold secrets: it is never on a command line, and `repr` shows nothing.

    `number` counts from 1. `file` and `settings` are what was given with `--config` and `--set`: the worker reads the
    configuration itself, but for what has to be as its supervisor knows it: how many `workers` there are, the name of
    all of them together (`node`), `drain_seconds` and `redis_url`.
    """

    number: int
    file: str | None
    settings: Sequence[str]
    workers: int
    node: str
    drain_seconds: float
    redis_url: str

    def __repr__(self) -> str:
        return f"<Assignment {self.number}>"


class Line:
    """A worker's end. `assignment` is what came over it."""

    def __init__(self, connection: socket.socket, assignment: Assignment) -> None:
        self.assignment = assignment
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))

    @classmethod
    def take(cls) -> Line:
        """Take this process's standard input for the line. It blocks until the assignment is there.

        Raises `ConfigurationError` where no supervisor is at the other end.
        """
        try:
            connection = socket.socket(fileno=os.dup(0))
            assignment = msgspec.json.decode(_receive_line(connection), type=Assignment)
        except (OSError, msgspec.DecodeError):
            raise ConfigurationError(
                "a worker", "is started by its supervisor", "Use evanesce serve --workers"
            ) from None
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        return cls(connection, assignment)

    async def report(self, urls: Sequence[str]) -> None:
        """Say that this worker serves, and where."""
        with suppress(trio.BrokenResourceError):  # the supervisor has ended, as `watch` finds too
            await self._stream.send_all(encode(list(urls)))

    async def watch(self) -> None:
        """Wait for the supervisor's end, and take it for a SIGTERM: nobody looks after this worker any more."""
        with suppress(trio.BrokenResourceError):
            await self._stream.receive_some(1)
        logger.warning("the supervisor is gone")
        signal.raise_signal(signal.SIGTERM)


def encode(message: object) -> bytes:
    """Write a message as a line."""
    return msgspec.json.encode(message) + b"\n"


def _receive_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        part = connection.recv(_READ_BYTES)
        if not part:
            break
        line += part
    return line
