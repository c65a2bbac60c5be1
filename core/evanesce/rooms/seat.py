"""One connection's place in a room: from when on it hears what, and what is held back for it meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from evanesce.errors import CloseCode
from evanesce.frame import Frame, Outgoing, frames
from evanesce.rooms.requests import Subscriber
from evanesce.store.base import Lost, MessageWithdrawn, Positioned

HELD = 1_000
"""How many messages are held back for one seat; past that it reads on in the store."""

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
        self._gapped = False  # it was told of a gap, and has heard all that could be had since,
        self._told_until = 0  # up to this number

    def begin(self, heard: int) -> None:
        """Hold back what the room hears from now on, where it is not held back already: a history is asked for.

        `heard` is the number up to which the room has been heard.
        """
        if self._held is None:
            self._held = []
            self._told_until = heard

    def fresh(self, messages: Sequence[Positioned]) -> Sequence[Positioned]:
        """Leave out of a history what this client has heard, where it joins again because of a gap."""
        if not self._gapped:
            return messages
        return [message for message in messages if message.number > self._told_until]

    def begin_withdrawals(self) -> None:
        """Have the next history name all its withdrawals: it is the answer to a join, which names them whole."""
        self._withdrawn = 0

    def news_of(self, unsent: Sequence[MessageWithdrawn]) -> list[str]:
        """Give the ids of the withdrawals of a history that it has not been told from the one before."""
        news = [withdrawal for withdrawal in unsent if withdrawal.number > self._withdrawn]
        self._withdrawn = max([self._withdrawn, *(withdrawal.number for withdrawal in news)])
        return [withdrawal.message_id for withdrawal in news]

    def resume(self) -> None:
        """Go on as before: the history that was asked for could not be had."""
        held, self._held = self._held, None
        if self._overrun:
            self._overrun = False
            self.subscriber.end(CloseCode.TOO_SLOW, "The store was too slow. Come back, and resume with `since`.")
        elif held:
            self.hear(held, frames(item for _, item in held))

    def hear(self, heard: list[tuple[int, Outgoing]], packed: list[Frame]) -> int:
        """Take what the room heard (`packed`: the same as frames); gives how many items went to the connection."""
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
        """Note that messages may have been lost; gives the cursor from which this client has to join again."""
        if self._number > lost.number:  # numbers that were given before are given again
            self._number = self._withdrawn = 0
        if self._held is not None:
            return self.cursor
        self._gapped = True
        return lost.cursor

    def caught_up(self, cursor: str, number: int, *, more: bool) -> bool:
        """Note that the history up to `cursor` was given; give what was held back, unless more is in the store."""
        self.cursor = cursor
        self._number = number
        if more or self._overrun:
            self._overrun = False
            return False
        self._gapped = False
        held, self._held = self._held or [], None
        if held:
            self.hear(held, frames(item for _, item in held))
        return True
