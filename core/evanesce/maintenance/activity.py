"""The time when users were last active: when they sent a command, or were connected."""

from __future__ import annotations

import trio

from evanesce.context import ServerContext
from evanesce.jobs import run_every
from evanesce.limits.token_bucket import TokenBucket
from evanesce.model import UserSeen, timestamp
from evanesce.rooms.hub import Hub

SEEN_SECONDS = 10.0
"""The shortest time between two writes of `lastActive` for a user who sends commands."""

PRESENT_SECONDS = 300.0
"""The longest time between two writes for a user who is connected and sends nothing."""

SHARE = 4
"""How many times it is written, at least, in the time for which guests are kept."""

SLICE = 500
"""How many users are written in one call."""

PAUSE_SECONDS = 0.05
"""The pause between two slices, in which the database serves other calls."""

ANSWER_SECONDS = 5.0
"""How long the database may take for a slice."""

_DAY_SECONDS = 24 * 3600.0


class Activity:
    """Writes `lastActive` of users. `run` must run beside it."""

    def __init__(self, context: ServerContext, hub: Hub) -> None:
        guest_days = context.config.retention.guest_days
        kept = _DAY_SECONDS * guest_days if guest_days else float("inf")
        self._every = min(PRESENT_SECONDS, kept / SHARE)
        self._repository = context.repository
        self._store = context.store
        self._records = context.records
        self._metrics = context.metrics
        self._hub = hub
        self._limit = TokenBucket(1 / SEEN_SECONDS, 1, trio.lowlevel.current_clock().current_time)

    def seen(self, user_id: str) -> None:
        """Record that a user sent a command: at most once in `SEEN_SECONDS`."""
        if not self._limit.take(user_id):
            self.left(user_id)

    def left(self, user_id: str) -> None:
        """Record that a user was connected until now."""
        self._records.record(UserSeen(user_id=user_id, last_active=timestamp(self._store.clock.now())))

    async def run(self) -> None:
        """Write the time for all connected users again and again, until cancelled."""
        await trio.sleep(self._every)
        await run_every(self._every, self._mark_present, "writing who is connected", self._metrics)

    async def _mark_present(self) -> None:
        users = self._hub.user_ids
        for start in range(0, len(users), SLICE):
            now = timestamp(self._store.clock.now())
            slice_ = [UserSeen(user_id=user_id, last_active=now) for user_id in users[start : start + SLICE]]
            with trio.fail_after(ANSWER_SECONDS):
                await self._repository.record(slice_)
            await trio.sleep(PAUSE_SECONDS)
