"""The bans of votes, which the store has first, and which wait here for the database."""

from __future__ import annotations

import logging

from evanesce.accounts.owned_rooms import MOST_BANS
from evanesce.context import ServerContext
from evanesce.errors import Unavailable
from evanesce.jobs import report_repository_fault
from evanesce.model import Ban, Timestamp, milliseconds, timestamp
from evanesce.rooms.room_queue import RoomQueue
from evanesce.rooms.rule_sync import RuleSync, is_removal_alone

logger = logging.getLogger(__name__)

MOST_UNSTORED_BANS = 10_000
"""How many bans by votes may wait for the database; further ones are in the store alone, which holds them too."""


class VoteBans:
    """Stores the bans of votes in the database. `run` must run beside it."""

    def __init__(self, context: ServerContext, rule_sync: RuleSync) -> None:
        self._repository = context.repository
        self._store = context.store
        self._metrics = context.metrics
        self._rule_sync = rule_sync
        self._unstored: dict[str, dict[str, Ban]] = {}  # by room and subject
        self._count = 0
        self._queue = RoomQueue(self._try, MOST_UNSTORED_BANS)

    def store_soon(self, ban: Ban) -> None:
        """Queue the ban of a vote, in place of an earlier one of the same person."""
        self._add(ban)
        self._queue.put(ban.room_id)

    def unstored(self, room_id: str, subject: str) -> Ban | None:
        """Return the ban of a person that waits for the database."""
        return self._unstored.get(room_id, {}).get(subject)

    def forget(self, room_id: str, subject: str) -> None:
        """Forget the ban of a person, as the room's creator has decided something else."""
        self._pop(room_id, subject)

    async def run(self) -> None:
        """Store the bans of votes in the database, each until it has answered or the ban has ended, until cancelled."""
        await self._queue.run()

    def _add(self, ban: Ban) -> None:
        self._pop(ban.room_id, ban.subject)
        if self._count == MOST_UNSTORED_BANS:
            room_id = next(iter(self._unstored))
            self._pop(room_id, next(iter(self._unstored[room_id])))
        self._unstored.setdefault(ban.room_id, {})[ban.subject] = ban
        self._count += 1

    def _pop(self, room_id: str, subject: str) -> Ban | None:
        bans = self._unstored.get(room_id, {})
        ban = bans.pop(subject, None)
        if ban is not None:
            self._count -= 1
            if not bans:
                del self._unstored[room_id]
        return ban

    async def _try(self, room_id: str) -> bool:
        """Store the bans of a room, the first one first. Returns False where one of them has to be tried again."""
        stored = True
        for subject in list(self._unstored.get(room_id, ())):
            ban = self._pop(room_id, subject)
            if ban is not None and not await self._is_stored(ban):
                stored = False
                if subject not in self._unstored.get(room_id, ()):
                    self._add(ban)
        return stored

    async def _is_stored(self, ban: Ban) -> bool:
        """Store the ban of a vote. Returns False where it has to be tried again."""
        if ban.until <= timestamp(self._store.clock.now()):
            return True
        try:
            # All that ended at or after the vote, to the millisecond.
            rows = await self._repository.bans(ban.room_id, timestamp(milliseconds(ban.since) - 1))
            now = timestamp(self._store.clock.now())
            if not any(_is_superseded(ban, row, now) for row in rows):
                # Without effect where the room has been closed, or has too many bans: then only the store has this one.
                await self._repository.ban(ban, MOST_BANS)
        except Unavailable:
            logger.debug("the ban of a vote is stored later: the database does not answer")
            return False
        except Exception as error:
            report_repository_fault("storing the ban of a vote", error, self._metrics)
            return True
        self._rule_sync.sync_soon(ban.room_id)
        return True


def _is_superseded(ban: Ban, row: Ban, now: Timestamp) -> bool:
    """Return whether the database has already the ban of a vote, a longer one, or what the creator decided since.

    `row` has not ended before the vote: where it has ended, the creator has ended it, also for the ban of the vote.
    Another server may have told the database, while this one had no answer from it, or a voter may have asked again.
    A removal without a ban decides nothing about bans.
    """
    if is_removal_alone(row):
        return False
    return row.subject == ban.subject and (row.since >= ban.since or row.until >= ban.until or row.until <= now)
