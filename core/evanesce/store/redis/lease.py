"""Servers' leases: a server's people are in their rooms for as long as it renews its own.

A server that dies cannot take its people out of their rooms. So each holds a lease that it keeps renewing, and whoever
finds one that ran out does it in its place.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from secrets import token_hex

import trio

from evanesce.errors import StoreUnavailable
from evanesce.store.redis.clock import Clock
from evanesce.store.redis.commands import Commands
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.scripts import LEASE, SERVERS

logger = logging.getLogger(__name__)

LEASE_SECONDS = 9.0
"""How long a server that is not heard of keeps its people in their rooms."""

LONGEST_LEASE_SECONDS = 60.0
"""How long the lease of a server may grow that has lost one by being slow."""

CALM_SECONDS = 600.0
"""How long a server must not have lost a lease until its leases are as short as those of others again."""

RENEW_SECONDS = 2.5
"""How often a lease is renewed, and looked whose has run out: people of a server that is gone leave 12 s after that."""

AWAY_SECONDS = 5.0
"""After how long without a word from any server the store itself was away. With `RENEW_SECONDS` less than a lease."""

RETRY_SECONDS = 0.25
"""How soon what failed is tried again."""

REMEMBER_SECONDS = 7 * 24 * 3600
"""How long it is remembered until when a server lived."""


class Lease:
    """This server's lease, and which others ran out. `keep` must run beside it.

    It goes on while this server clears up behind others, which may take longer than a lease lasts.
    """

    def __init__(self, link: Commands, keys: Keys, clock: Clock, server_id: str) -> None:
        self._link = link
        self._keys = keys
        self._clock = clock
        self._server_id = server_id
        self.holder = self._new_holder()
        """The name under which this server's people are noted, until the lease runs out."""
        self.name = self.holder
        """This server's name for as long as it lives, whatever becomes of its leases."""
        self.dead: set[str] = set()
        """The holders of leases that ran out, until they are `buried`."""
        self._changed: list[Callable[[], None]] = []
        self._seconds = LEASE_SECONDS
        self._renewed_at = self._lost_at = time.monotonic()
        self._renewed_then = 0  # the same by Redis's clock
        self._due = trio.Event()  # it has to be looked at now
        self._known = trio.Event()  # it was, since the last connection was made

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever there is a new `holder`, or somebody `dead`."""
        self._changed.append(changed)

    def look(self) -> None:
        """Have it looked at: Redis may have lost it with everything else."""
        if self._known.is_set():
            self._known = trio.Event()
        self._due.set()

    async def known(self) -> None:
        """Wait until it was looked at since the last connection was made, so that `holder` is not one of before."""
        await self._known.wait()

    async def keep(self) -> None:
        """Take it, and renew it until cancelled."""
        await patiently(self._begin)
        while True:
            self._due = trio.Event()
            await patiently(self._renew)
            if not self._due.is_set():  # else it may have been asked on a connection that is no more
                self._known.set()
            with trio.move_on_after(RENEW_SECONDS):
                await self._due.wait()

    async def buried(self, holder: str) -> None:
        """Forget a dead holder, whose people are out of their rooms."""
        await self._link.run(("ZREM", self._keys.leases, holder))
        self.dead.discard(holder)

    async def end(self) -> None:
        """Give it back. Raises `StoreUnavailable`."""
        await self._link.run(
            ("ZREM", self._keys.leases, self.holder), ("ZADD", self._keys.lives, self._clock.now(), self.name)
        )

    async def servers(self) -> dict[str, int] | None:
        """Say until when, in milliseconds, each server lives or lived; None while that cannot be known."""
        [answer] = await self._link.run(
            SERVERS.call(
                [self._keys.lives, self._keys.since, self._keys.heard],
                *(round(LEASE_SECONDS * 1000), REMEMBER_SECONDS * 1000, round(AWAY_SECONDS * 1000)),
            )
        )
        if answer is None:
            return None
        return {name.decode(): int(float(until)) for name, until in zip(answer[::2], answer[1::2], strict=True)}

    def _new_holder(self) -> str:
        # A lease that ran out is never renewed, as others may be clearing up behind it: its holder takes a new name.
        return f"{self._server_id}.{token_hex(4)}"

    async def _begin(self) -> None:
        """Take it, and find servers of the same id: there is no other of it now, or ought not to be."""
        await self._ask("take")
        [holders] = await self._link.run(("ZRANGE", self._keys.leases, 0, -1))
        names = {holder.decode() for holder in holders} - {self.holder}
        self._bury({name for name in names if name.rpartition(".")[0] == self._server_id})

    async def _renew(self) -> None:
        """Renew it, or take one under a new name."""
        held, forgotten = await self._ask("renew")
        if not held:
            self.holder = self._new_holder()
            if not forgotten:
                self._lengthen()
            self._tell()
            await patiently(lambda: self._ask("take"))  # or the next try would find this one's name lost, too

    def _lengthen(self) -> None:
        """Take longer leases after one ran out: else the people of a slow server leave and come back by turns."""
        now = time.monotonic()
        late = now - self._renewed_at
        self._lost_at = now
        self._seconds = min(max(2 * self._seconds, 1.5 * late), LONGEST_LEASE_SECONDS)
        logger.warning("this server did not renew its lease for %.0f s: its people had left their rooms", late)

    async def _ask(self, how: str) -> tuple[bool, bool]:
        """Take or renew it; gives whether it is held, and whether Redis has lost its memory since it was renewed."""
        sent = time.monotonic()
        if sent - self._lost_at > CALM_SECONDS:
            self._seconds = LEASE_SECONDS
        [(held, now, dead, since)] = await self._link.run(
            LEASE.call(
                [self._keys.leases, self._keys.lives, self._keys.since, self._keys.heard],
                *(self.holder, round(self._seconds * 1000), how, self.name, REMEMBER_SECONDS * 1000),
                round(AWAY_SECONDS * 1000),
            )
        )
        self._clock.measured(now, sent, time.monotonic())
        forgotten = since > self._renewed_then
        if held:
            self._renewed_then = now
            self._renewed_at = sent  # the answer may have waited here, as long as this server stood still
        self._bury({holder.decode() for holder in dead})
        return bool(held), forgotten

    def _bury(self, holders: set[str]) -> None:
        if holders:
            self.dead |= holders
            self._tell()

    def _tell(self) -> None:
        for changed in self._changed:
            changed()


async def patiently(act: Callable[[], Awaitable[object]]) -> None:
    """Do something as often as it takes until Redis answers."""
    while True:
        try:
            await act()
        except StoreUnavailable:
            await trio.sleep(RETRY_SECONDS)
        else:
            return
