"""The interface by which workers on shared ports pass connections to each other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

TakeConnection = Callable[[int, float], None]
"""Takes over the descriptor of a connection, which another worker accepted so many seconds ago, and closes it."""


class Handover(Protocol):
    """The other workers on the shared ports: they take over connections, so that the members of a room share a worker.

    `transport` is the name of the transport's plugin. All methods return at once.
    """

    def count(self, change: int) -> None:
        """Count connections of this worker that have begun, or (negative) that have ended."""
        ...

    def pass_on(self, transport: str, room_id: str, connection: int, age: float) -> bool:
        """Pass the descriptor of a connection to the worker of a room, and return True: then close it here.

        Return False where this worker should serve the connection: it is the worker of the room, or the other one
        does not take it. Nothing may have been read from the connection, which was accepted `age` seconds ago.
        """
        ...

    def receiving(self, transport: str, take: TakeConnection) -> AbstractContextManager[None]:
        """Call `take` with each connection that another worker passes on, as long as the context lasts."""
        ...
