"""The store's copies of the rules of rooms, kept up to date with the database."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from evanesce.context import ServerContext
from evanesce.errors import Unavailable
from evanesce.gate import Gate
from evanesce.interfaces import MOST_CHECKED
from evanesce.jobs import report_repository_fault
from evanesce.lookups import Lookups
from evanesce.model import Ban, ChatRoom, milliseconds, timestamp
from evanesce.rooms.room_queue import RoomQueue
from evanesce.store.message_log import RoomClosed
from evanesce.store.rules import Removal, RoomRules

logger = logging.getLogger(__name__)

REMOVALS_SECONDS = 3600
"""How far back removals without a ban are looked for that a server may have missed while it had no notices."""

CHECKS = 8
"""How many rooms are checked at the same time: after an outage of the store, all of them are due."""

MOST_WAITING = 10_000
"""How many rooms may wait for a repeated try; the one that has waited longest goes first."""

SYNCS = 32
"""How many commands and joins install rules at the same time."""

MOST_SYNCS_WAITING = 1_000
"""How many further ones wait for that; others are refused."""


@dataclass(frozen=True, slots=True)
class SyncedRules:
    """The rules of a room, the latest removals, and who was in it when the store had these rules."""

    rules: RoomRules
    removals: Sequence[Ban]
    user_ids: Sequence[str]


def is_removal_alone(ban: Ban) -> bool:
    """Return whether a row only says that a person was removed: it neither bans, nor ends the ban of a vote.

    That an earlier vote bans nobody any more, a row without an account says, or one with a ban that has ended.
    """
    return ban.user_id is not None and ban.until <= ban.since


class RuleSync:
    """Installs the rules of rooms in the store, as the database has them. `run` must run beside it."""

    def __init__(self, context: ServerContext) -> None:
        self._repository = context.repository
        self._store = context.store
        self._metrics = context.metrics
        self._messages = context.config.messages
        self._queue = RoomQueue(self._tried, MOST_WAITING)
        self._versions: Lookups[str, int] = Lookups(self._find_versions, MOST_CHECKED)
        self._checks = trio.CapacityLimiter(CHECKS)
        self._gate = Gate(SYNCS, MOST_SYNCS_WAITING, "The rules of many rooms are being read. Try again in a moment.")

    def rules_of(self, room: ChatRoom) -> RoomRules:
        """Return the rules of a room that the database has returned, by the configuration of now."""
        ttl = self._messages.ttl if room.message_ttl is None else min(room.message_ttl, self._messages.longest_ttl)
        return RoomRules(
            created_by=room.created_by,
            message_ttl=round(ttl * 1000),
            version=room.rules_version,
            access=room.access,
            locked=room.locked,
            encrypted=room.encrypted,
        )

    async def sync(self, room_id: str, removal: Removal | None = None) -> SyncedRules | None:
        """Install the rules and the bans of a room; None where the room is closed.

        Followers are told of `removal` in the same step. Where this fails, it is tried again later, without it. Raises
        `Unavailable`, and `RateLimited` where too many wait for this.
        """
        try:
            async with self._gate:
                return await self._sync(room_id, removal)
        except BaseException:
            self.sync_soon(room_id)
            raise

    async def _sync(self, room_id: str, removal: Removal | None) -> SyncedRules | None:
        synced = await self._install(room_id, removal)
        if synced is None:
            return None
        stored = await self._store.rules.version(room_id)
        if stored <= synced.rules.version:
            return synced
        # Either another server has just made a change, or an older state of the database was restored. The database is
        # always changed first: where it still has a lower version, it was restored, and it has to be obeyed.
        room = await self._repository.room(room_id)
        if room is not None and room.rules_version < stored:
            await self._repository.raise_rules_version(room_id, stored + 1)
        return await self._install(room_id, None)

    async def _install(self, room_id: str, removal: Removal | None) -> SyncedRules | None:
        now = self._store.clock.now()
        # The bans are read after the room: they are at least as new as its version.
        room = await self._repository.room(room_id)
        if room is None:
            return None
        bans = await self._repository.bans(room_id, timestamp(now - REMOVALS_SECONDS * 1000))
        # Those that have ended too: the store may have the ban of a vote in their place.
        ends = {ban.subject: milliseconds(ban.until) for ban in bans if not is_removal_alone(ban)}
        rules = self.rules_of(room)
        present = await self._store.rules.install(room_id, rules, ends, removal)
        if isinstance(present, RoomClosed):
            return None
        return SyncedRules(rules, bans, present)

    async def check(self, room_id: str, known: RoomRules) -> SyncedRules | None:
        """Do what `sync` does, for a room whose changes may have been missed; the caller repeats it.

        None also for a room that has no rules, neither as `known` here nor in the database: most rooms have none, and
        after an outage of the store all of them are checked. Raises `Unavailable`.
        """
        if known.version == 0 and not await self._versions.get(room_id):
            return None
        async with self._checks:
            return await self._sync(room_id, None)

    async def _find_versions(self, room_ids: Sequence[str]) -> Sequence[int]:
        versions = await self._repository.open_rooms(room_ids)
        return [versions.get(room_id, 0) for room_id in room_ids]

    def sync_soon(self, room_id: str) -> None:
        """Queue a room whose copy in the store may be old."""
        self._queue.put(room_id)

    async def run(self) -> None:
        """Install what is queued until the database and the store have answered, until cancelled."""
        await self._queue.run()

    async def _tried(self, room_id: str) -> bool:
        try:
            await self._sync(room_id, None)
        except Unavailable:
            logger.debug("the rules of a room are installed later: the database or the store does not answer")
            return False
        except Exception as error:
            report_repository_fault("installing the rules of a room", error, self._metrics)
        return True
