"""Replies to stored messages that wait a moment for their messages, so that the sender gets both in one write.

Redis answers, and publishes the message on another connection, at about the same time: the answer first, as a rule. In
a small room, writing to sockets is the largest part of what a message costs, and one write of five is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import trio

KEPT_SECONDS = 0.5
"""How long a reply waits at least for its message, in seconds; at most twice as long.

A server that is fully loaded delivers some tenths of a second after Redis has published. A shorter time would make it
write each reply alone, just when every write counts.
"""


class Keeper(Protocol):
    """A room that keeps a reply."""

    def write_kept_reply(self) -> None:
        """Write the reply, where it is still kept."""
        ...


class Guard(Protocol):
    """Wraps a function of a room, so that a fault in it ends that room alone."""

    def __call__(self, handle: Callable[[Keeper], None], /) -> Callable[[Keeper], None]:
        """Return the function to call in place of `handle`."""
        ...


class KeptReplies:
    """The rooms of a server that keep a reply each. `run` must run beside them: one timer serves all."""

    def __init__(self) -> None:
        self._keepers: dict[Keeper, Guard] = {}
        self._earlier: dict[Keeper, Guard] = {}  # those whose reply has waited since the last look at the timer
        self._added = trio.lowlevel.ParkingLot()

    def add(self, keeper: Keeper, guard: Guard) -> None:
        """Have a reply of `keeper` written soon, whether its message has come or not."""
        if not self._keepers:
            self._added.unpark()
        self._earlier.pop(keeper, None)  # that was about the reply before
        self._keepers[keeper] = guard

    async def run(self) -> None:
        """Have replies written whose messages did not come, until cancelled."""
        while True:
            while not (self._earlier or self._keepers):
                await self._added.park()
            await trio.sleep(KEPT_SECONDS)
            due, self._earlier, self._keepers = self._earlier, self._keepers, {}
            _write_all(due)
            del due  # while this task waits, it must keep no room in memory


def _write_all(keepers: Mapping[Keeper, Guard]) -> None:
    """Write all replies. In a function, because a task that waits would keep the last room and its names in memory."""
    for keeper, guard in keepers.items():
        guard(_write)(keeper)


def _write(keeper: Keeper) -> None:
    keeper.write_kept_reply()
