"""Cursors: a room's position as clients hold it, and what of it a store still believes."""

from __future__ import annotations

import re
from typing import NamedTuple

from evanesce.store.base import CURSOR_SECONDS

_TEXT = re.compile(r"([0-9a-z]{1,32})-([0-9]{1,16})-([0-9]{1,16})-([0-9]{1,16})", re.ASCII)


class Cursor(NamedTuple):
    """A position: what was appended up to and with the entry of this `number` lies before it.

    `milliseconds` is the entry's time, or when the position was read; `messages` is how many the room has had since
    it got its `epoch`.
    """

    epoch: str
    milliseconds: int
    number: int
    messages: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.milliseconds}-{self.number}-{self.messages}"

    def serves(self, present: Cursor) -> bool:
        """Whether what came after this cursor can be told, in a room whose position is `present`."""
        return (
            self.epoch == present.epoch
            and present.milliseconds - CURSOR_SECONDS * 1000 <= self.milliseconds <= present.milliseconds
            and self.number <= present.number
            and self.messages <= present.messages
        )


def parse(text: str) -> Cursor | None:
    """Read a cursor that a client gave; None where it is none."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    epoch, *numbers = match.groups()
    return Cursor(epoch, *map(int, numbers))
