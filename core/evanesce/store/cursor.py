"""Cursors: positions of a room in the form that clients hold."""

from __future__ import annotations

import re
from typing import NamedTuple

CURSOR_SECONDS = 24 * 3600
"""How long a cursor is valid: after that, `missed` is not known."""

_TEXT = re.compile(r"([0-9a-z]{1,32})-([0-9]{1,16})-([0-9]{1,16})-([0-9]{1,16})", re.ASCII)


class Cursor(NamedTuple):
    """A position: after the entry with this `number`.

    `milliseconds` is the time of the entry, or of reading the position. `messages` is how many messages the room has
    had in this `epoch`.
    """

    epoch: str
    milliseconds: int
    number: int
    messages: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.milliseconds}-{self.number}-{self.messages}"

    def is_valid(self, present: Cursor) -> bool:
        """Return whether this cursor is valid in a room whose position is `present`."""
        return (
            self.epoch == present.epoch
            and present.milliseconds - CURSOR_SECONDS * 1000 <= self.milliseconds <= present.milliseconds
            and self.number <= present.number
            and self.messages <= present.messages
        )


def parse(text: str) -> Cursor | None:
    """Parse a cursor of a client. Return None if it is malformed."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    epoch, *numbers = match.groups()
    return Cursor(epoch, *map(int, numbers))
