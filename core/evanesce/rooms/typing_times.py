"""When it was last said of each user in a room that the user is typing, so that it is not said too often.

A client may send `typing` once in 3 s, and what it sends is on its way for longer at one time than at another. So a
notice that comes a little too early is not dropped: the server of the user publishes it at once, and those of the
members wait until it is due. These limit it exactly, as a user may have connections to several servers.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import trio

TYPING_SECONDS = 3.0
"""How often members are told of the same user at most."""

JITTER_SECONDS = 0.5
"""How much earlier than `TYPING_SECONDS` after the one before a notice may come without being lost."""


class TypingTimes:
    """Limits how often it is published that a user is typing. Times are seconds of Trio's clock."""

    def __init__(self) -> None:
        self._said_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._said_at)

    def due(self, user_id: str, now: float) -> float:
        """Return when it may be said of a user again that was said at most `TYPING_SECONDS` before `now`, else -inf."""
        while self._said_at and next(iter(self._said_at.values())) <= now - TYPING_SECONDS:
            self._said_at.popitem(last=False)
        return self._said_at.get(user_id, -math.inf) + TYPING_SECONDS

    def said(self, user_id: str, now: float) -> None:
        """Note that it is said of a user now."""
        self._said_at[user_id] = now
        self._said_at.move_to_end(user_id)

    def is_due(self, user_id: str, now: float) -> bool:
        """Return whether it is to be published of a user now, and note that it is."""
        if self.due(user_id, now) - JITTER_SECONDS > now:
            return False
        self.said(user_id, now)
        return True


class TypingNotices:
    """Tells the members of a room who is typing: of each user at most once in `TYPING_SECONDS`.

    `announce` tells them of a user.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._times = TypingTimes()
        self._early: set[str] = set()  # of whom it is to be said as soon as it is due
        self._nursery: trio.Nursery

    def start(self, nursery: trio.Nursery) -> None:
        """Wait with notices that came too early in tasks of `nursery`."""
        self._nursery = nursery

    def typing(self, user_id: str) -> None:
        """Tell the members that a user is typing: now, or as soon as it is due. Drop what comes much too early."""
        now = trio.current_time()
        due = self._times.due(user_id, now)
        if due <= now:
            self._say(user_id)
        elif due <= now + JITTER_SECONDS and user_id not in self._early:
            self._early.add(user_id)
            self._nursery.start_soon(self._say_later, user_id, due)

    def stopped(self, user_id: str) -> None:
        """Drop what was not said yet: the user has sent a message, or has left."""
        self._early.discard(user_id)

    def _say(self, user_id: str) -> None:
        self._times.said(user_id, trio.current_time())
        self._announce(user_id)

    async def _say_later(self, user_id: str, due: float) -> None:
        await trio.sleep_until(due)
        if user_id in self._early:
            self._early.remove(user_id)
            self._say(user_id)
