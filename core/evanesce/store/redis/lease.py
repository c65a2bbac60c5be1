"""The leases of servers: a server's members are in their rooms while its lease is valid.

A server that dies cannot remove its members from their rooms. So each server renews a lease, and another server that
finds an expired lease removes the members.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from secrets import token_hex

import trio

from evanesce.errors import StoreUnavailable
from evanesce.store.redis.client import Client, Deadline
from evanesce.store.redis.clock import Clock
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.scripts import LEASE, SERVERS

logger = logging.getLogger(__name__)

LEASE_SECONDS = 9.0
"""How long the members of a server stay in their rooms after its last renewal."""

LONGEST_LEASE_SECONDS = 60.0
"""The longest lease of a server that has lost one because it was slow."""

SHORTEN_SECONDS = 600.0
"""After how long without losing a lease the leases of a server are as short as before."""

RENEW_SECONDS = 2.5
"""How often a lease is renewed and expired ones are looked for. Members of a dead server leave within 12 s."""

AWAY_SECONDS = 5.0
"""After how long without a renewal by any server the store itself was down. With `RENEW_SECONDS` less than a lease."""

RETRY_SECONDS = 0.25
"""After how long a failed call is tried again."""

REMEMBER_SECONDS = 7 * 24 * 3600
"""How long it is remembered when the lease of a server expired."""


class Lease:
    """This server's lease in one home, and the expired leases of others there. `keep` must run beside it.

    The lease is renewed while this server removes the members of dead servers, which may take longer than a lease.
    `name` is the name that the server has in another home already.
    """

    def __init__(self, client: Client, keys: Keys, clock: Clock, server_id: str, name: str | None = None) -> None:
        self._client = client
        self._keys = keys
        self._clock = clock
        self._server_id = server_id
        self.holder = self._new_holder()
        """The name under which this server's members are recorded, until the lease expires."""
        self.name = name or self.holder
        """The name of this server process, also after a lease has expired."""
        self.since = 0
        """Since when Redis has these records, in milliseconds of its clock; 0 while that is not known."""
        self.dead: set[str] = set()
        """The holders of expired leases, until `forget`."""
        self._changed: list[Callable[[], None]] = []
        self._seconds = LEASE_SECONDS
        self._renewed_at = self._lost_at = time.monotonic()
        self._renewed_then = 0  # the same, by Redis's clock
        self._due = trio.Event()  # it has to be renewed now
        self._known = trio.Event()  # it was renewed since the last connection was made
        self._tried = trio.Event()  # the present attempt to renew it has ended
        self._refusal: StoreUnavailable | None = None  # why the last attempt failed
        clock.on_remeasure(self._look_again)

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call `changed` when the `holder` has changed, or a server is `dead`."""
        self._changed.append(changed)

    def look(self) -> None:
        """Renew the lease soon, as Redis may have lost its data."""
        if self._known.is_set():
            self._known = trio.Event()
        self._due.set()

    @property
    def age(self) -> float:
        """How many seconds ago it was renewed."""
        return time.monotonic() - self._renewed_at

    @property
    def is_known(self) -> bool:
        """Whether `known` returns at once."""
        return self._known.is_set()

    async def known(self) -> None:
        """Wait until the lease of this `holder` was renewed on the present connection.

        Raises `StoreUnavailable` if this takes longer than `CALL_SECONDS`, or with what Redis says if it refuses.
        """
        with Deadline():
            while not self._known.is_set():
                await self._tried.wait()
                if self._refusal is not None and not self._known.is_set():
                    raise StoreUnavailable(self._refusal.message, advice=self._refusal.advice)

    async def _look_again(self) -> None:
        self.look()
        await self.known()

    async def keep(self) -> None:
        """Acquire the lease, and renew it until cancelled."""
        await retry_until_available(self._begin, self._ended)
        while True:
            self._due = trio.Event()
            await retry_until_available(self._renew, self._ended)
            if not self._due.is_set():  # otherwise it may have been renewed on an earlier connection
                self._known.set()
            self._ended(None)
            with trio.move_on_after(RENEW_SECONDS):
                await self._due.wait()

    def _ended(self, refusal: StoreUnavailable | None) -> None:
        """Tell those who wait in `known` how an attempt has ended."""
        self._refusal = refusal
        self._tried.set()
        self._tried = trio.Event()

    async def forget(self, holder: str) -> None:
        """Forget a dead holder, after its members were removed from their rooms."""
        await self._client.run(("ZREM", self._keys.leases, holder))
        self.dead.discard(holder)

    async def end(self, *, leaves: bool) -> None:
        """End the lease. If this server `leaves` keys to erase, the lease ends as an expired one, for others to find.

        Raises `StoreUnavailable`.
        """
        lease = ("ZADD", self._keys.leases, 1, self.holder) if leaves else ("ZREM", self._keys.leases, self.holder)
        await self._client.run(lease, ("ZADD", self._keys.expiries, self._clock.now(), self.name), urgent=True)

    async def servers(self) -> dict[str, int] | None:
        """Return when the lease of each server expires, or expired, in milliseconds; None while that is not known."""
        [answer] = await self._client.run(
            SERVERS.call(
                [self._keys.expiries, self._keys.since, self._keys.heard],
                *(round(LEASE_SECONDS * 1000), REMEMBER_SECONDS * 1000, round(AWAY_SECONDS * 1000)),
            )
        )
        if answer is None:
            return None
        return {name.decode(): int(float(until)) for name, until in zip(answer[::2], answer[1::2], strict=True)}

    async def running(self) -> list[str]:
        """Return the names of the servers that have a lease now."""
        now = self._clock.now()
        [names] = await self._client.run(("ZRANGEBYSCORE", self._keys.expiries, f"({now}", "+inf"))
        return [name.decode() for name in names]

    def _new_holder(self) -> str:
        # An expired lease is never renewed, as others may be removing its members: its holder takes a new name.
        return f"{self._server_id}.{token_hex(4)}"

    async def _begin(self) -> None:
        """Acquire the lease, and declare other servers with the same id dead: this one is their successor."""
        await self._ask("take")
        [holders] = await self._client.run(("ZRANGE", self._keys.leases, 0, -1), urgent=True)
        names = {holder.decode() for holder in holders} - {self.holder}
        self._add_dead({name for name in names if name.rpartition(".")[0] == self._server_id})

    async def _renew(self) -> None:
        """Renew the lease, or acquire one under a new name."""
        held, forgotten = await self._ask("renew")
        if not held:
            # Others may have removed the members of the old name, and this server may have added some since.
            self.dead.add(self.holder)
            self.holder = self._new_holder()
            if not forgotten:
                self._lengthen()
            self.look()  # nobody is recorded under the new name before it has a lease
            self._call_changed()
            # Otherwise the next try would find this name lost too.
            await retry_until_available(lambda: self._ask("take"), self._ended)

    def _lengthen(self) -> None:
        """Make leases longer after one expired, or the members of a slow server would leave and return by turns."""
        now = time.monotonic()
        late = now - self._renewed_at
        self._lost_at = now
        self._seconds = min(max(2 * self._seconds, 1.5 * late), LONGEST_LEASE_SECONDS)
        logger.warning("this server did not renew its lease for %.0f s: its members had left their rooms", late)

    async def _ask(self, how: str) -> tuple[bool, bool]:
        """Acquire or renew the lease. Return whether it is held, and whether Redis has lost its data since."""
        sent = time.monotonic()
        if sent - self._lost_at > SHORTEN_SECONDS:
            self._seconds = LEASE_SECONDS
        [(held, now, dead, since)] = await self._client.run(
            LEASE.call(
                [self._keys.leases, self._keys.expiries, self._keys.since, self._keys.heard],
                *(self.holder, round(self._seconds * 1000), how, self.name, REMEMBER_SECONDS * 1000),
                round(AWAY_SECONDS * 1000),
            ),
            urgent=True,
        )
        self._clock.measured(now, sent, time.monotonic())
        self.since = since
        forgotten = since > self._renewed_then
        if held:
            self._renewed_then = now
            self._renewed_at = sent  # the answer may have waited while this process was stopped
        self._add_dead({holder.decode() for holder in dead})
        return bool(held), forgotten

    def _add_dead(self, holders: set[str]) -> None:
        if holders:
            self.dead |= holders
            self._call_changed()

    def _call_changed(self) -> None:
        for changed in self._changed:
            changed()


async def retry_until_available(
    act: Callable[[], Awaitable[object]], refused: Callable[[StoreUnavailable], None] | None = None
) -> None:
    """Call `act` until Redis answers, and `refused` each time that it does not."""
    while True:
        try:
            await act()
        except StoreUnavailable as error:
            if refused is not None:
                refused(error)
            await trio.sleep(RETRY_SECONDS)
        else:
            return
