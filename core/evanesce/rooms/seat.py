"""One connection's place in a room: from when on it hears what, and what is held back for it meanwhile."""

from __future__ import annotations

from evanesce.errors import CloseCode
from evanesce.frame import Frame, Outgoing, frames
from evanesce.rooms.requests import Subscriber
from evanesce.store.base import History, MessageWithdrawn, Positioned

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
        self._held: list[tuple[int, Outgoing]] | None = []
        self._overrun = False

    @property
    def behind(self) -> bool:
        """Whether it does not hear the room itself yet."""
        return self._held is not None

    def begin(self) -> None:
        """Hold back what the room hears from now on: a history has been asked for."""
        self._held = []
        self._overrun = False

    def resume(self) -> None:
        """Go on as before: the history that was asked for could not be had."""
        held, self._held = self._held, None
        if self._overrun:
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

    def caught_up(self, history: History) -> bool:
        """Note that `history` was given; give what was held back behind it, unless more is to be read in the store."""
        self.cursor = history.cursor
        self._number = history.number
        if history.more or self._overrun:
            if self._overrun:
                self.begin()
            return False
        held, self._held = self._held or [], None
        if held:
            self.hear(held, frames(item for _, item in held))
        return True
