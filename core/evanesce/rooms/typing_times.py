"""When it was last said of each user in a room that the user is typing, so that it is not said too often."""

from __future__ import annotations

import math

TYPING_SECONDS = 3.0
"""How often it is said of the same user."""


class TypingTimes:
    """Limits notices of typing to one in `TYPING_SECONDS` for each user. Times are seconds of Trio's clock.

    A room limits what it publishes, and what it tells its members: a user may have connections to several servers.
    """

    def __init__(self) -> None:
        self._said_at: dict[str, float] = {}

    def is_due(self, user_id: str, now: float) -> bool:
        """Return whether it is to be said of a user now, and note that it is said."""
        if now - self._said_at.get(user_id, -math.inf) < TYPING_SECONDS:
            return False
        self._said_at = {user: at for user, at in self._said_at.items() if now - at < TYPING_SECONDS}
        self._said_at[user_id] = now
        return True
