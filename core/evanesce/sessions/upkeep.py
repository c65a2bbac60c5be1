"""What no client asks for: the database agrees about who is gone, and what was kept long enough is deleted."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from evanesce.config.model import RetentionTable
from evanesce.errors import Unavailable
from evanesce.interfaces import Repository
from evanesce.logs import folded
from evanesce.metrics import Metrics
from evanesce.model import RoomActivity, Timestamp, timestamp
from evanesce.sessions.erasure import Erasure
from evanesce.store.base import MessageStore

logger = logging.getLogger(__name__)

LOOK_SECONDS = 20.0
"""How often a server looks whether there is something to do, and how long that may take."""

SLICE = 500
"""How many rows are changed at once: others wait no longer than for that."""

PAUSE_SECONDS = 0.05
"""How long the database has for others between two slices."""

_DAY = 24 * 3600 * 1000
_SHARED = "upkeep"


class Upkeep:
    """Looks after what all servers share. Every server runs one.

    `inhabited` names the rooms that anybody is in on this server.
    """

    def __init__(
        self,
        retention: RetentionTable,
        repository: Repository,
        store: MessageStore,
        erasure: Erasure,
        metrics: Metrics,
        inhabited: Callable[[], Sequence[str]],
    ) -> None:
        self._retention = retention
        self._repository = repository
        self._store = store
        self._erasure = erasure
        self._metrics = metrics
        self._inhabited = inhabited
        self._began = False
        self._swept = ""  # up to which of the rooms that are marked active it has looked who is there

    async def run(self) -> None:
        """Look from time to time, until cancelled."""
        while True:
            try:
                with trio.move_on_after(LOOK_SECONDS):
                    await self.look()
            except Unavailable as error:
                logger.debug("what is to be done waits: %s", error)
            except Exception as error:  # the border around a plugin: its fault must not end the server
                self._metrics.faults.labels("repository").inc()
                logger.error("the repository failed at what no client asks for: %s", folded(error))
            await trio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Do what there is to do. Raises `Unavailable`."""
        lives = await self._store.servers()
        if lives is None:
            return  # neither who lives is known, nor who is in which room
        await self._end_sessions(lives)
        rooms = self._inhabited()
        for start in range(0, len(rooms), SLICE):
            await self._mark(rooms[start : start + SLICE], active=True)
        if await self._store.claim(_SHARED, LOOK_SECONDS):
            await self._delete()
            await self._empty_rooms()

    async def _end_sessions(self, lives: Mapping[str, Timestamp]) -> None:
        """End the sessions of servers that are gone, when their leases ran out, or now, where nobody knows."""
        now = timestamp(self._store.now())
        for server in await self._repository.servers_in_sessions():
            at = lives.get(server, now)
            if server == self._store.server_name or at > now:
                continue

            async def end(server: str = server, at: Timestamp = at) -> int:
                return await self._repository.end_sessions(server, at, SLICE)

            count = await self._in_slices(end)
            self._metrics.sessions_ended.inc(count)
            logger.info("a server is gone: %d sessions that it had left open have ended", count)

    async def _empty_rooms(self) -> None:
        """Mark those rooms inactive that nobody is in: the last may have left on a server that could not write it.

        Who comes in just now is found by the next look of his server.
        """
        while rooms := await self._repository.active_rooms(self._swept, SLICE):
            counts = await self._store.counts(rooms)
            await self._mark([room for room, count in zip(rooms, counts, strict=True) if not count], active=False)
            self._swept = rooms[-1]  # where this takes longer than a look may, the next one goes on from here
        self._swept = ""

    async def _mark(self, rooms: Sequence[str], *, active: bool) -> None:
        if rooms:
            await self._repository.record([RoomActivity(room_id=room, active=active) for room in rooms])
            await trio.sleep(PAUSE_SECONDS)

    async def _delete(self) -> None:
        """Delete what has been kept long enough. One server does so at a time."""
        retention, repository, deleted = self._retention, self._repository, self._metrics.deleted
        guests_may_go = not self._began
        self._began = True
        if retention.session_log_days is not None:
            before = self._before(retention.session_log_days)
            count = await self._in_slices(lambda: repository.delete_sessions(before, SLICE))
            deleted.labels("sessions").inc(count)
        if retention.closed_room_days is not None:
            closed_before = self._before(retention.closed_room_days)
            count = await self._in_slices(lambda: repository.delete_rooms(closed_before, SLICE))
            deleted.labels("rooms").inc(count)
            guests_may_go |= count > 0
        if retention.guest_days is not None:
            guests_may_go |= await self._erase_guests(self._before(retention.guest_days))
            if guests_may_go:  # else all erased guests would be read each time
                deleted.labels("guests").inc(await self._in_slices(lambda: repository.delete_guests(SLICE)))

    async def _erase_guests(self, before: Timestamp) -> bool:
        """Erase guests who have not been seen since `before`, as if they had asked for it; says whether any was."""
        erased = skipped = 0
        while guests := await self._repository.unused_guests(before, skipped, SLICE):
            for user_id in guests:
                if await self._erasure.erase_unless_visited(user_id):
                    erased += 1
                else:
                    skipped += 1
        return erased > 0

    async def _in_slices(self, act: Callable[[], Awaitable[int]]) -> int:
        """Do something until there is nothing left of it; gives how many rows it was."""
        total = 0
        while count := await act():
            total += count
            await trio.sleep(PAUSE_SECONDS)
        return total

    def _before(self, days: float) -> Timestamp:
        return timestamp(self._store.now() - round(days * _DAY))
