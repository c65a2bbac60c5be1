"""What asks Redis, whichever way leads there: to one server, or to the primaries of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from evanesce.store.redis.scripts import Command


class Commands(Protocol):
    """A way to Redis. Use it from the Trio thread alone."""

    @property
    def up(self) -> bool:
        """Whether it is believed to work; while it does not, commands are refused at once."""
        ...

    async def run(self, *commands: Command) -> list[Any]:
        """Run commands; gives the answer of each, as bytes, integers and lists.

        In order, as far as their keys are in the same place. Raises `StoreUnavailable` where Redis does not answer, or
        refuses any of them; each may have been done or not.
        """
        ...

    def post(self, *commands: Command) -> None:
        """Run commands without waiting for them, as far as Redis answers."""
        ...

    def watch(self, connected: Callable[[], None]) -> None:
        """Call `connected` on the Trio thread whenever there is a new connection: much may have happened before."""
        ...
