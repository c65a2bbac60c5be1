"""Erases expired keys on time.

Redis erases an expired key when the key is accessed, or when it finds the key by sampling, which may take minutes among
many other keys. So servers access each key that they have written just after its end, with EXISTS: the primary then
erases it and tells its replicas. No key is erased before its end, as Redis itself decides that.

`expiring.py` reports every key that is written. The `Plan` has the time at which to access it, and the `Register` has
it for other servers. For a room they have only the index, which names the messages (`walk.py`).
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from evanesce.errors import StoreUnavailable
from evanesce.logs import folded
from evanesce.store.lag import ExpiryLag
from evanesce.store.redis.client import Deadline
from evanesce.store.redis.clock import Clock, Step
from evanesce.store.redis.cluster_client import ClusterClient
from evanesce.store.redis.expiring import Expiring
from evanesce.store.redis.homes import Home, Homes
from evanesce.store.redis.lag_reports import LagReports
from evanesce.store.redis.lease import retry_until_available
from evanesce.store.redis.node_client import NodeClient
from evanesce.store.redis.plan import LATE, RETRY, Plan
from evanesce.store.redis.register import PAGE, Register
from evanesce.store.redis.schedule import HORIZON
from evanesce.store.redis.topology import slot_of_key
from evanesce.store.redis.walk import UNKNOWN, Ending, Walk

logger = logging.getLogger(__name__)

TICK = 0.02
"""How long keys that become due are collected, in seconds, before they are accessed together."""

BATCH = 256
"""How many keys and indices go into one call, so that messages never wait long for it."""

GROUP = 64
"""How many keys go into one command."""

STEPS = 16
"""How many steps back of Redis's clock may wait to be handled."""

ENTRIES = 1_024
"""How many entries of indices are read in one call."""


@dataclass(slots=True)
class _Call:
    """The content of one call: single keys, keys of rooms that are due, and rooms whose index has to be read."""

    keys: list[Ending] = field(default_factory=list[Ending])
    walked: list[tuple[Walk, list[Ending]]] = field(default_factory=list[tuple[Walk, list[Ending]]])
    reads: list[Walk] = field(default_factory=list[Walk])

    def endings(self) -> Iterator[Ending]:
        """Yield all keys. Those whose lag does not count have an unknown end."""
        yield from self.keys
        for walk, entries in self.walked:
            for entry in entries:
                yield entry if entry[1] > walk.counted_from else (entry[0], UNKNOWN)


class Eraser:
    """Erases the keys of one home that one server has written. `run` must run beside it, on the Trio thread.

    `ttl` is that of messages, in milliseconds, and `longest` the longest that a message may have. The erasers of all
    homes share the limits of memory: this one uses one of `share` equal parts.
    """

    def __init__(
        self, client: NodeClient | ClusterClient, home: Home, ttl: int, longest: int, lag: ExpiryLag, *, share: int = 1
    ) -> None:
        self._client = client
        self._clock = home.clock
        self._lease = lease = home.lease
        self._lag = lag
        self._longest = longest
        self._register = Register(client, home.keys, lease)
        self._plan = Plan(client, home.keys, self._register, ttl, home.clock.now(), self._wake, share=share)
        self._due: dict[object, deque[Ending]] = {}  # by the node of the keys, with a task for each
        self._news = trio.Event()
        self._refused = False  # the last call failed
        self._holder = lease.holder
        self._register_lost = True
        self._register_work = trio.Event()
        self._stepped, self._steps = trio.open_memory_channel[Step](STEPS)
        client.on_connect(self._connected)
        self._clock.on_step_back(self._clock_stepped)
        lease.on_change(self._lease_changed)

    def note(self, keys: Sequence[Expiring]) -> None:
        """Record keys that are about to be written."""
        self._plan.note(keys, self._clock.now())

    # Connections, leases and other servers

    def _connected(self) -> None:
        """Handle a new connection: Redis may have lost the register, and may only now run earlier commands."""
        self._plan.connected(self._clock.now())
        self._register_lost = True
        self._register_work.set()
        self._news.set()

    def _lease_changed(self) -> None:
        if self._lease.holder != self._holder:
            self._holder = self._lease.holder
            self._connected()

    async def inherit(self, holder: str) -> None:
        """Take over the keys that a dead server had to erase, as others may too. Raises `StoreUnavailable`."""
        count = 0
        while (page := await self._register.left_by(holder)).keys:
            await self._plan.inherit(page.keys, page.since, self._clock.now())
            await self._register.strike_out(holder, [key for key, _ in page.keys])
            count += len(page.keys)
        await self._register.drop(holder)
        if count:  # not for each home of a cluster: a server leaves keys in few of them
            logger.info("this server now erases %d keys and rooms that another one left", count)

    async def close(self) -> bool:
        """Leave the remaining keys to other servers. Return whether there are any. Raises `StoreUnavailable`."""
        return await self._register.close(self._clock.now())

    def _clock_stepped(self, step: Step) -> None:
        logger.warning("the clock of Redis was set back by %.1f s", step.back / 1000)
        if isinstance(self._client, ClusterClient):
            return  # the clock is that of one node, and it is not known which rooms are there
        with suppress(trio.WouldBlock):
            self._stepped.send_nowait(step)

    # The tasks

    async def run(self) -> None:
        """Erase keys that are due, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_register)
            nursery.start_soon(self._follow_steps)
            while True:
                self._news = trio.Event()
                now = self._clock.now()
                if self._client.up:
                    self._start_due(nursery, now)
                    if self._plan.schedule.horizon < now + HORIZON // 2 and self._plan.schedule.has_room:
                        self._register_work.set()
                next_look = self._plan.schedule.next_look()
                next_look = now + HORIZON if next_look is None else next_look
                if not self._client.up:
                    next_look = now + RETRY
                with trio.move_on_at(self._clock.deadline(next_look)):
                    await self._news.wait()
                await trio.sleep(TICK if next_look > now else 0)

    def _wake(self) -> None:
        self._news.set()

    def _start_due(self, nursery: trio.Nursery, until: int) -> None:
        """Pass the keys that are due to the tasks of their nodes, so that a node that is down delays no other."""
        for key, end in self._plan.schedule.pop(until, PAGE):
            place = self._client.node_of(key) if isinstance(self._client, ClusterClient) else None
            if place not in self._due:
                self._due[place] = deque()
                nursery.start_soon(self._erase_at, place, nursery)
            self._due[place].append((key, end))

    async def _erase_at(self, place: object, nursery: trio.Nursery) -> None:
        """Access all keys that are due on one node, one call after the other."""
        due = self._due[place]
        while due:
            batch = [due.popleft() for _ in range(min(BATCH, len(due)))]
            if await self._erase(batch):
                # Keys that are late, as in a room where many ended at once, do not wait for others to become due.
                self._start_due(nursery, self._clock.now() - round(TICK * 1000))
            else:
                batch += due
                due.clear()
                self._plan.retry(batch, self._clock.now())
        del self._due[place]

    async def _erase(self, batch: Sequence[Ending]) -> bool:
        """Access keys. Return False if Redis does not answer."""
        try:
            with Deadline():
                await self._ask(self._prepare(batch))
        except StoreUnavailable as error:
            if self._client.up and not self._refused:
                logger.warning("expired keys are not erased: %s", error.message)
            self._refused = True
            return False
        except Exception as error:  # a defect, or an index of another program: the other keys are still erased
            logger.error("%d expired keys are left to Redis to erase: %s", len(batch), folded(error))
            return True
        self._refused = False
        return True

    async def _keep_register(self) -> None:
        """Write keys that the register has lost, and load the keys that are due soon, until cancelled."""
        while True:
            self._register_work = trio.Event()
            if self._register_lost:
                await retry_until_available(self._write_register)
            await retry_until_available(self._confirm_later)
            if self._plan.schedule.has_room:
                await retry_until_available(self._load)
            with trio.move_on_after(HORIZON / 4000):
                await self._register_work.wait()

    async def _write_register(self) -> None:
        self._register_lost = False
        try:
            await self._register.renew()
            now = self._clock.now()
            await self._register.add_all((key, end or now) for key, end in self._plan.schedule.held())
        except StoreUnavailable:
            self._register_lost = True
            raise

    async def _confirm_later(self) -> None:
        """Write later keys again, and wait for the answer: Redis may have refused them before."""
        schedule = self._plan.schedule
        while page := schedule.unconfirmed(PAGE):
            await self._register.add_all(page)
            schedule.confirm(page)

    async def _load(self) -> None:
        await self._register.renew()
        now = self._clock.now()
        schedule = self._plan.schedule
        while schedule.horizon < now + HORIZON and schedule.has_room:
            after = schedule.horizon
            # Keys that are written while Redis answers, and for which there is no room, set it back.
            schedule.horizon = now + HORIZON
            try:
                found = await self._register.between(after + 1, now + HORIZON)
            except StoreUnavailable:
                schedule.horizon = min(schedule.horizon, after)
                raise
            if len(found) == PAGE:  # a server never writes a whole page of keys that end in the same millisecond
                schedule.horizon = min(schedule.horizon, max(found[-1][1] - 1, after + 1))
            for key, end in found:
                if end <= schedule.horizon and not schedule.is_held_until(key, end):
                    self._plan.add(key, end, now)

    async def _follow_steps(self) -> None:
        """Shorten the TTLs of messages after Redis's clock was set back, until cancelled."""
        async for step in self._steps:
            with trio.move_on_after(self._longest / 1000):  # by then all messages from before the step have ended
                await retry_until_available(partial(self._shorten_all, step))

    async def _shorten_all(self, step: Step) -> None:
        for index in self._plan.indices():
            try:
                await self._shorten_room(index, step)
            except (ValueError, LookupError) as error:  # an index of another program: the other rooms are still handled
                logger.error("Redis's clock was set back: messages of a room may live longer: %s", folded(error))

    async def _shorten_room(self, index: str, step: Step) -> None:
        start = "-"
        while True:
            [entries] = await self._client.run(("XRANGE", index, start, "+", "COUNT", GROUP))
            await self._shorten(self._plan.written_before(index, entries, step, self._clock.now()), step)
            if len(entries) < GROUP:
                return
            start = f"({entries[-1][0].decode()}"

    async def _shorten(self, keys: Sequence[Ending], step: Step) -> None:
        """Shorten the TTLs of keys by the step of the clock. It is safe to do this twice."""
        if not keys:
            return
        least = self._clock.at_least()
        remaining = [(key, max(1, end - step.back - least)) for key, end in keys]
        await self._client.run(*(("PEXPIRE", key, left, "LT") for key, left in remaining))
        now = self._clock.now()
        for key, left in remaining:
            self._plan.add(key, now + left, now)

    # One call

    def _prepare(self, batch: Sequence[Ending]) -> _Call:
        now = self._clock.now()
        call, ended, left = _Call(), now - LATE, 2 * BATCH
        for key, end in batch:
            walk = self._plan.walk(key, now)
            if walk is None:
                call.keys.append((key, end))
                continue
            reads = walk.next_end is None or walk.next_read <= now
            if reads:
                call.reads.append(walk)
            entries = walk.due(ended, left)
            left -= len(entries)
            if entries or not reads:
                call.walked.append((walk, entries))
        return call

    async def _ask(self, call: _Call) -> None:
        """Send a call, and continue with each of its rooms."""
        groups = list(self._groups(call.endings()))
        count, full = max(4, ENTRIES // max(1, len(call.reads))), self._plan.is_full
        sent = self._clock.now()
        answers = await self._client.run(
            *(("EXISTS", *(key for key, _ in group)) for group in groups),
            *(walk.read(count, full=full) for walk in call.reads),
        )
        now = self._clock.now()
        alive = [entry for group, left in zip(groups, answers, strict=False) if left for entry in group]
        gone = [entry for group, left in zip(groups, answers, strict=False) if not left for entry in group]
        if alive:
            gone += await self._postpone_existing(alive)
        self._lag.add((now - end) / 1000 for _, end in gone if end != UNKNOWN)
        self._plan.gone(key for key, _ in gone)
        self._plan.strike_out(key for key, _ in call.keys)
        for walk, entries in call.walked:
            self._plan.erased(walk, entries, now, reads=walk in call.reads)
        await self._take_read(call.reads, answers[len(groups) :], sent)

    async def _take_read(self, walks: Sequence[Walk], answers: Sequence[Sequence[Any]], sent: int) -> None:
        """Handle the entries that were read of each index, and erase the indices that are empty."""
        empty: list[Walk] = []
        now = self._clock.now()
        for walk, entries in zip(walks, answers, strict=True):
            if entries or walk.next_end is not None:
                self._plan.read(walk, entries, sent, now)
            else:
                empty.append(walk)
        if empty:
            lasts = await self._client.run(*(walk.drop() for walk in empty))
            for walk, last in zip(empty, lasts, strict=True):
                self._plan.drained(walk, last, sent, now)

    def _groups(self, endings: Iterable[Ending]) -> Iterator[list[Ending]]:
        """Split keys into groups for one command: of limited size, and in a cluster of one slot."""
        by_slot: dict[int, list[Ending]] = defaultdict(list)
        clustered = isinstance(self._client, ClusterClient)
        for ending in endings:
            by_slot[slot_of_key(ending[0]) if clustered else 0].append(ending)
        for group in by_slot.values():
            for start in range(0, len(group), GROUP):
                yield group[start : start + GROUP]

    async def _postpone_existing(self, keys: Sequence[Ending]) -> list[Ending]:
        """Plan keys that still exist for their end. Return those that are gone by now."""
        remaining = await self._client.run(*(("PTTL", key) for key, _ in keys))
        now = self._clock.now()
        gone: list[Ending] = []
        for (key, end), left in zip(keys, remaining, strict=True):
            if left >= 0:
                self._plan.postpone(key, now + left, now)
            elif left == -2:
                gone.append((key, end))
        return gone


class Erasers:
    """The erasers of a server, one for each home. `run` must run beside it. For `ttl` and `longest` see `Eraser`."""

    def __init__(
        self, client: NodeClient | ClusterClient, homes: Homes, clock: Clock, ttl: int, longest: int, lag: ExpiryLag
    ) -> None:
        self._homes = homes
        self._erasers = {home: Eraser(client, home, ttl, longest, lag, share=len(homes)) for home in homes}
        self.reports = LagReports(client, homes, clock, lag)
        """How late this server and the others erase."""

    def note(self, keys: Sequence[Expiring]) -> None:
        """Record keys that one command is about to write. They have the same slot, and so the same home."""
        self._erasers[self._homes.of(keys[0][0])].note(keys)

    async def inherit(self, home: Home, holder: str) -> None:
        """Take over the keys that a dead server had to erase in a home. Raises `StoreUnavailable`."""
        await self._erasers[home].inherit(holder)

    async def close(self, home: Home) -> bool:
        """Leave the remaining keys of a home to other servers, and return whether there are any; see `Eraser.close`."""
        return await self._erasers[home].close()

    async def delete_report(self) -> None:
        """Delete this server's report. If Redis does not answer, the report expires after 30 s."""
        with suppress(StoreUnavailable):
            await self.reports.delete()

    async def run(self) -> None:
        """Erase keys that are due, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.reports.run)
            for eraser in self._erasers.values():
                nursery.start_soon(eraser.run)
