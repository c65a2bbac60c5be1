"""The clean-up job: it ends sessions that dead servers left open, and deletes rows at the end of their retention."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from evanesce.accounts.erasure import Erasure
from evanesce.config.public import deep_link_base
from evanesce.context import ServerContext
from evanesce.jobs import run_every
from evanesce.maintenance.binding import RedisGuard
from evanesce.model import RoomActivity, Timestamp, timestamp

logger = logging.getLogger(__name__)

RUN_SECONDS = 20.0
"""How often the job runs, and how long one run may take."""

SLICE = 500
"""How many rows one call of the repository changes: other calls wait no longer than for that."""

PAUSE_SECONDS = 0.05
"""The pause between two slices, in which the database serves other calls."""

ENDED_RULES_DAYS = 1.0
"""Days after their end for which invites and bans are kept.

A server learns of removals that it has missed from the bans of the last `rule_sync.REMOVALS_SECONDS`.
"""

_DAY = 24 * 3600 * 1000
_SHARED = "upkeep"  # part of a key in Redis: as in version 0.1.0, so that servers of both versions share the duty


class Cleanup:
    """Cleans up what all servers share. Every server runs one.

    It does nothing while `guard` finds the database bound to another Redis, because only that Redis knows which servers
    are alive. `rooms_with_members` returns the rooms that have members on this server.
    """

    def __init__(
        self,
        context: ServerContext,
        erasure: Erasure,
        guard: RedisGuard,
        rooms_with_members: Callable[[], Sequence[str]],
    ) -> None:
        self._retention = context.config.retention
        self._link_base = deep_link_base(context.config)
        self._repository = context.repository
        self._store = context.store
        self._metrics = context.metrics
        self._erasure = erasure
        self._guard = guard
        self._rooms_with_members = rooms_with_members
        self._links_renewed = False
        self._began = False
        self._swept = ""  # the last active room whose members were counted

    async def run(self) -> None:
        """Clean up every `RUN_SECONDS`, until cancelled."""
        await run_every(RUN_SECONDS, self._clean_up, "the clean-up", self._metrics)

    async def _clean_up(self) -> None:
        with trio.move_on_after(RUN_SECONDS):
            await self.run_once()

    async def run_once(self) -> None:
        """Run the job once. Raises `Unavailable`."""
        if not await self._guard.is_bound():
            return
        expiries = await self._store.servers.expiries()
        if expiries is None:
            return  # it is not known which servers are alive, or who is in which room
        await self._end_sessions(expiries)
        rooms = self._rooms_with_members()
        for start in range(0, len(rooms), SLICE):
            await self._mark(rooms[start : start + SLICE], active=True)
        if await self._store.servers.claim(_SHARED, RUN_SECONDS):
            await self._delete()
            await self._empty_rooms()
        if not self._links_renewed:  # on every server: one that starts later has the newer configuration
            await self._in_slices(lambda: self._repository.renew_links(self._link_base, SLICE))
            self._links_renewed = True

    async def _end_sessions(self, expiries: Mapping[str, Timestamp]) -> None:
        """End the sessions of dead servers, at the time when the lease ran out, or now where that is not known."""
        now = timestamp(self._store.clock.now())
        for server in await self._repository.servers_in_sessions():
            at = expiries.get(server, now)
            if server == self._store.servers.server_name or at > now:
                continue

            async def end(server: str = server, at: Timestamp = at) -> int:
                return await self._repository.end_sessions(server, at, SLICE)

            count = await self._in_slices(end)
            self._metrics.sessions_ended.inc(count)
            logger.info("a server is gone: %d sessions that it had left open have ended", count)

    async def _empty_rooms(self) -> None:
        """Mark rooms without members as inactive: the last member may have left on a server that could not write it.

        A user who joins at the same time is found by the next run on that user's server.
        """
        while rooms := await self._repository.active_rooms(self._swept, SLICE):
            counts = await self._store.presence.counts(rooms)
            await self._mark([room for room, count in zip(rooms, counts, strict=True) if not count], active=False)
            self._swept = rooms[-1]  # where a run ends before all rooms are counted, the next one continues here
        self._swept = ""

    async def _mark(self, rooms: Sequence[str], *, active: bool) -> None:
        if rooms:
            await self._repository.record([RoomActivity(room_id=room, active=active) for room in rooms])
            await trio.sleep(PAUSE_SECONDS)

    async def _delete(self) -> None:
        """Delete rows at the end of their retention. One server does so at a time."""
        retention, repository, deleted = self._retention, self._repository, self._metrics.deleted
        guests_may_go = not self._began
        self._began = True
        if retention.session_log_days:
            before = self._before(retention.session_log_days)
            count = await self._in_slices(lambda: repository.delete_sessions(before, SLICE))
            deleted.labels("sessions").inc(count)
        ended_before = self._before(ENDED_RULES_DAYS)
        count = await self._in_slices(lambda: repository.delete_ended_rules(ended_before, SLICE))
        deleted.labels("rules").inc(count)
        if retention.closed_room_days:
            closed_before = self._before(retention.closed_room_days)
            count = await self._in_slices(lambda: repository.delete_rooms(closed_before, SLICE))
            deleted.labels("rooms").inc(count)
            guests_may_go |= count > 0
        if retention.guest_days:
            guests_may_go |= await self._erase_guests(self._before(retention.guest_days))
            if guests_may_go:  # without this condition every run would read all erased guests
                deleted.labels("guests").inc(await self._in_slices(lambda: repository.delete_guests(SLICE)))

    async def _erase_guests(self, before: Timestamp) -> bool:
        """Erase guests who were last active before `before`, as if they had asked for it; return whether any was."""
        erased = skipped = 0
        while guests := await self._repository.unused_guests(before, skipped, SLICE):
            connected = await self._store.rate_limits.connected(guests)
            for user_id in guests:
                if user_id not in connected and await self._erasure.erase_unless_visited(user_id):
                    erased += 1
                else:
                    skipped += 1
        return erased > 0

    async def _in_slices(self, act: Callable[[], Awaitable[int]]) -> int:
        """Call `act` until it changes no row; return how many rows it has changed."""
        total = 0
        while count := await act():
            total += count
            await trio.sleep(PAUSE_SECONDS)
        return total

    def _before(self, days: float) -> Timestamp:
        return timestamp(self._store.clock.past() - round(days * _DAY))
