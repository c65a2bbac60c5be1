"""One connection's place in a room: from when on it hears what, and what is held back for it meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from evanesce.errors import CloseCode
from evanesce.frame import Frame, Outgoing, frames
from evanesce.rooms.requests import Subscriber
from evanesce.store.base import Lost, MessageWithdrawn, Positioned

HELD = 1_000
"""How many messages are held back for one seat; past that it reads on in the store."""

GAP_SECONDS = 10.0
"""How long what a room hears is held back for a client that was told of a `gap`, until it joins again."""

Tellable = Positioned | MessageWithdrawn


class Seat:
    """A subscriber in a room.

    While it is *behind*, what the room hears is held back for it, until the history that it asked for has been given:
    so it gets every message after its history, in order, each once.
    """

    def __init__(self, subscriber: Subscriber, session_id: str) -> None:
        self.subscriber = subscriber
        self.session_id = session_id
        self.welcomed = False
        self.cursor = ""
        self._number = 0  # the last entry of the room that the history given so far covers
        self._withdrawn = 0  # the last withdrawal that it was told from a history
        self._held: list[tuple[int, Outgoing]] | None = None
        self._overrun = False
        self._gapped_at: float | None = None

    @property
    def gapped(self) -> bool:
        """Whether it was asked to join again, and has not yet."""
        return self._gapped_at is not None

    def begin(self) -> None:
        """Hold back what the room hears from now on, where it is not held back already: a history is asked for."""
        if self._held is None:
            self._held = []

    def news_of(self, unsent: Sequence[MessageWithdrawn]) -> list[str]:
        """Give the ids of the withdrawals of a history that it has not been told from one before."""
        news = [withdrawal for withdrawal in unsent if withdrawal.number > self._withdrawn]
        self._withdrawn = max([self._withdrawn, *(withdrawal.number for withdrawal in news)])
        return [withdrawal.message_id for withdrawal in news]

    def resume(self) -> None:
        """Go on as before: the history that was asked for could not be had."""
        held, self._held, self._gapped_at = self._held, None, None
        if self._overrun:
            self._overrun = False
            self.subscriber.end(CloseCode.TOO_SLOW, "The store was too slow. Come back, and resume with `since`.")
        elif held:
            self.hear(held, frames(item for _, item in held))

    def hear(self, heard: list[tuple[int, Outgoing]], packed: list[Frame]) -> int:
        """Take what the room heard (`packed`: the same as frames); gives how many items went to the connection."""
        if self._gapped_at is not None and trio.current_time() > self._gapped_at + GAP_SECONDS:
            self.resume()
        if self._held is not None:
            if len(self._held) + len(heard) > HELD:
                self._held = []
                self._overrun = True
            if not self._overrun:
                self._held.extend(heard)
            return 0
        if heard[0][0] > self._number:
            for frame in packed:
                self.subscriber.write(frame)
            return len(heard)
        # The history that it began with reaches past what the room has heard until now.
        news = [item for number, item in heard if number > self._number]
        for frame in frames(news):
            self.subscriber.write(frame)
        return len(news)

    def lose(self, lost: Lost) -> str:
        """Hold back what the room hears until this client has joined again; gives the cursor to join with.

        So what it is given then does not repeat what it has heard since. A client that does not do as it is told hears
        what was held back after `GAP_SECONDS`.
        """
        since = self.cursor if self._held is not None and not self.gapped else lost.cursor
        if self._number > lost.number:  # of before the store lost its memory, by a clock that has been set back since
            self._number = self._withdrawn = 0
        self._gapped_at = trio.current_time()
        self.begin()
        return since

    def caught_up(self, cursor: str, number: int, *, more: bool) -> bool:
        """Note that the history up to `cursor` was given; give what was held back, unless more is in the store."""
        self.cursor = cursor
        self._number = number
        self._gapped_at = None
        if more or self._overrun:
            self._overrun = False
            return False
        held, self._held = self._held or [], None
        if held:
            self.hear(held, frames(item for _, item in held))
        return True
