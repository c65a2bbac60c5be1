"""The channel between the supervisor and a worker: a socket pair, which is the worker's standard input.

The supervisor sends an `Assignment`, the worker the URLs that it listens on, each as a line of JSON. A worker that has
to start its program again sends `null` before, and gets the assignment once more. Where the supervisor has to know that
the worker's event loop turns, the worker sends empty lines afterwards. Nothing else is sent. When the supervisor ends,
for whatever reason, the worker reads the end of the stream.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

import msgspec
import trio

from evanesce.confidential import Confidential
from evanesce.config.model import RedisTable
from evanesce.errors import ConfigurationError
from evanesce.lifecycle.signals import restart_program
from evanesce.workers.handover import HandoverDescriptors

logger = logging.getLogger(__name__)

_READ_BYTES = 65_536


class Assignment(Confidential, msgspec.Struct, kw_only=True, frozen=True):
    """What a worker has to do. It may hold secrets, so it is not on a command line, and `repr` shows no values.

    - `number`: the worker's number, from 1.
    - `file` and `settings`: the values of `--config` and `--set`. The worker reads the configuration itself, except
      the settings that follow here, which all workers have from the supervisor.
    - `workers`: the number of workers. `node`: the name of all of them together.
    - `lame_duck_seconds`, `drain_seconds` and `redis`: as in the configuration.
    - `debug_plugins`: whether to log the texts of plugins' exceptions.
    - `embedded`: whether the supervisor runs the Redis. `alone`: whether the supervisor has locked the database file
      against other servers with an embedded Redis.
    - `migrate`: whether the database may be created or migrated.
    - `life_seconds`: how often the worker has to send a sign of life, in seconds; None: never.
    - `handover`: the inherited descriptors for passing connections between workers, None where that is not possible.
    - `sockets`: the inherited descriptors of the Unix sockets that all workers listen on, by the address in `bind`.
    """

    number: int
    file: str | None
    settings: Sequence[str]
    workers: int
    node: str
    lame_duck_seconds: float
    drain_seconds: float
    redis: RedisTable
    debug_plugins: bool = False
    embedded: bool = False
    alone: bool = False
    migrate: bool = True
    life_seconds: float | None = None
    handover: HandoverDescriptors | None = None
    sockets: Mapping[str, int] = {}

    def __repr__(self) -> str:
        return f"<Assignment {self.number}>"


class SupervisorChannel:
    """The worker's end of the channel, with the `assignment` that was received."""

    def __init__(self, connection: socket.socket, assignment: Assignment) -> None:
        self.assignment = assignment
        self._connection = connection
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))

    @classmethod
    def open(cls) -> SupervisorChannel:
        """Open the channel on standard input, and wait, blocking, for the assignment.

        Standard input is `/dev/null` afterwards. Raises `ConfigurationError` where there is no supervisor.
        """
        try:
            connection = socket.socket(fileno=os.dup(0))
            assignment = msgspec.json.decode(_receive_line(connection), type=Assignment)
        except (OSError, msgspec.DecodeError):
            raise ConfigurationError(
                "evanesce.cli.worker", "only a supervisor may start this program", "Use evanesce serve --workers"
            ) from None
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        return cls(connection, assignment)

    def restart_program(self, environment: Mapping[str, str]) -> NoReturn:
        """Start the program of this process again with an environment; the supervisor sends the assignment again."""
        with suppress(BrokenPipeError):  # the supervisor has ended: the program finds that out
            self._connection.setblocking(True)
            self._connection.sendall(encode(None))
        os.dup2(self._connection.fileno(), 0)
        restart_program(environment)

    async def report(self, urls: Sequence[str]) -> None:
        """Report to the supervisor that this worker listens on `urls`."""
        with suppress(trio.BrokenResourceError):  # the supervisor has ended: `watch` notices that too
            await self._stream.send_all(encode(list(urls)))

    async def send_signs_of_life(self) -> None:
        """Send signs of life, where the supervisor wants them, until cancelled. Call it after `report`."""
        if (seconds := self.assignment.life_seconds) is None:
            return
        with suppress(trio.BrokenResourceError):
            while True:
                await self._stream.send_all(b"\n")
                await trio.sleep(seconds)

    async def watch(self) -> None:
        """Wait until the supervisor has ended, and then send this process a SIGTERM."""
        with suppress(trio.BrokenResourceError):
            await self._stream.receive_some(1)
        logger.warning("the supervisor has ended: this worker stops")
        signal.raise_signal(signal.SIGTERM)


def encode(message: object) -> bytes:
    """Return a message as a line of JSON."""
    return msgspec.json.encode(message) + b"\n"


def _receive_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        part = connection.recv(_READ_BYTES)
        if not part:
            break
        line += part
    return line
