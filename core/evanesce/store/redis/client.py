"""The interface of a client of Redis, for one server or for a cluster, and the deadline of its calls."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

import trio
from redis.exceptions import TimeoutError

from evanesce.store.redis.faults import unavailable
from evanesce.store.redis.scripts import Command

CALL_SECONDS = 2.2
"""How long a caller waits for an answer, in seconds. `Store` promises 2.5 s."""


class Client(Protocol):
    """A client of Redis. Use it from the Trio thread alone."""

    @property
    def up(self) -> bool:
        """Whether Redis is believed to answer. If not, commands are refused at once."""
        ...

    async def run(self, *commands: Command, urgent: bool = False) -> list[Any]:
        """Run commands, and return the answer of each, as bytes, integers and lists.

        Commands whose keys are on the same node run in order. Raises `StoreUnavailable` if Redis does not answer within
        `CALL_SECONDS`, or refuses any of them; each command may then have run or not. Urgent commands are sent before
        all others that wait, and are also accepted when messages fill the queue.
        """
        ...

    def call(self, command: Command, done: Callable[[Any], None]) -> None:
        """Run one command without waiting: `done` is called with its answer, or with a `StoreUnavailable`.

        It is called once, on the Trio thread, within the time that `run` may take. Raises `StoreUnavailable` where the
        command is refused before it is sent.
        """
        ...

    def post(self, *commands: Command) -> None:
        """Run commands without waiting for their answers. They are dropped if Redis does not answer."""
        ...

    def on_connect(self, connected: Callable[[], None]) -> None:
        """Call `connected` on the Trio thread after each new connection. Redis may have lost its data before it."""
        ...


class Deadline:
    """A context manager that raises `StoreUnavailable` if its body takes longer than `seconds`.

    Clients set a deadline for every call. A method that makes several calls sets one for all of them. This is a class
    because a generator would make every call slower.
    """

    __slots__ = ("_scope",)

    def __init__(self, seconds: float = CALL_SECONDS) -> None:
        self._scope = trio.move_on_after(seconds)

    def __enter__(self) -> None:
        self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scope.__exit__(kind, error, trace)
        if self._scope.cancelled_caught:
            raise unavailable(TimeoutError())
