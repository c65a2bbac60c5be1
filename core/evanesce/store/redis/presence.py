"""Who is in which room: counted in Redis over all servers, under a lease of each server.

A server that dies cannot take its people out of their rooms. So each holds a lease that it keeps renewing, and whoever
finds one that ran out does it in its place. What this server has asked for is also kept here: after Redis lost its
memory, or answered so late that nobody knows what it did, the rooms are settled anew from that.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from secrets import token_hex

import msgspec
import trio

from evanesce.errors import StoreUnavailable
from evanesce.store.base import Gone, Person, Presence
from evanesce.store.redis.clock import Clock
from evanesce.store.redis.commands import Commands
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.log import KEEP, new_epoch
from evanesce.store.redis.scripts import ENTER, LEASE, LEAVE, PRESENCE, RENAME, SERVERS, SETTLE, Command

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

STOP_SECONDS = 1.0
"""How long a server that stops may take to leave its rooms."""

REMEMBER_SECONDS = 7 * 24 * 3600
"""How long it is remembered until when a server lived."""

SLICE = 100
"""How many commands go into one call."""

_name = msgspec.json.Encoder()
_read_name = msgspec.json.Decoder(str)


@dataclass
class _Local:
    """This server's people in one room, as it wants them to be.

    `server` is the name under which they were last noted, `pending` how many calls are on their way, `settled`
    whether Redis is known to agree.
    """

    server: str
    people: dict[str, str] = field(default_factory=dict[str, str])
    pending: int = 0
    settled: bool = True


class PresenceKeeper:
    """Presence in all rooms, and this server's lease. `run` must run beside it.

    `replicated`: a new connection may be to a replica that took its primary's place and had not heard of everything.
    """

    def __init__(self, link: Commands, keys: Keys, clock: Clock, server_id: str, *, replicated: bool) -> None:
        self._link = link
        self._keys = keys
        self._clock = clock
        self._server_id = server_id
        self._server = self._new_server()
        self.name = self._server
        """This server's name for as long as it lives, whatever becomes of its leases."""
        self._rooms: dict[str, _Local] = {}
        self._lease_seconds = LEASE_SECONDS
        self._renewed_at = self._lost_at = time.monotonic()
        self._renewed_then = 0  # the same by Redis's clock
        self._due = trio.Event()  # the lease has to be looked at now
        self._renewed = trio.Event()  # it was, since the last connection was made
        self._work = trio.Event()  # a room is in doubt, or a server is dead
        self._dead: set[str] = set()
        self._replicated = replicated
        link.watch(self._connected)

    def _connected(self) -> None:
        """Look at the lease, which Redis may have lost with everything else; a replica may have lost any of it."""
        if self._replicated:
            self._doubt_all()
        if self._renewed.is_set():
            self._renewed = trio.Event()
        self._due.set()

    def _new_server(self) -> str:
        # A lease that ran out is never renewed, as others may be clearing up behind it: its holder takes a new name.
        return f"{self._server_id}.{token_hex(4)}"

    # What rooms ask

    async def enter(
        self, room_id: str, people: Sequence[Person], capacity: int, roster: int
    ) -> tuple[Presence, frozenset[str]] | Gone:
        """Note that users came in on this server."""
        names = {person.user_id: person.display_name for person in people}
        local = self._rooms.setdefault(room_id, _Local(self._server))
        keys = [*self._three(room_id), self._keys.at(room_id, self._server)]
        with _Pending(self, local):
            _, answer = await self._link.run(
                self._note(room_id), ENTER.call(keys, new_epoch(), KEEP, capacity, roster, *_pairs(names))
            )
        if answer is None:
            self.forget(room_id)
            return Gone()
        count, version, flat, refused = answer
        full = frozenset(user.decode() for user in refused)
        for user_id, name in names.items():
            if user_id not in full:
                local.people.setdefault(user_id, name)
        self._tidy(room_id, local)
        return _presence(count, version, flat), full

    async def leave(self, room_id: str, user_ids: Sequence[str]) -> int:
        """Note that users left on this server."""
        local = self._rooms.setdefault(room_id, _Local(self._server))
        for user_id in user_ids:
            local.people.pop(user_id, None)
        keys = [*self._three(room_id), self._keys.at(room_id, self._server)]
        with _Pending(self, local):
            [count] = await self._link.run(LEAVE.call(keys, new_epoch(), KEEP, *user_ids))
        self._tidy(room_id, local)
        return int(count)

    async def rename(self, room_id: str, person: Person) -> None:
        """Change a user's name in a room."""
        local = self._rooms.get(room_id)
        keys = self._three(room_id)
        rename = RENAME.call(keys, new_epoch(), KEEP, person.user_id, _name.encode(person.display_name))
        if local is None or person.user_id not in local.people:
            await self._link.run(rename)
            return
        local.people[person.user_id] = person.display_name
        with _Pending(self, local):
            await self._link.run(rename)

    async def presence(self, room_id: str, roster: int) -> Presence:
        """Say who is in a room."""
        [answer] = await self._link.run(PRESENCE.call(self._three(room_id), new_epoch(), KEEP, roster))
        count, version, *rest = answer
        return _presence(count, version, rest[0] if rest else None)

    async def counts(self, room_ids: Sequence[str]) -> list[int]:
        """Say how many are in each room."""
        counts: list[int] = []
        for start in range(0, len(room_ids), SLICE):
            rooms = room_ids[start : start + SLICE]
            counts += await self._link.run(*(("HLEN", self._keys.people(room_id)) for room_id in rooms))
        return counts

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

    # What feeds ask

    async def restore(self, room_id: str) -> None:
        """Make sure that this server's people are in a room, after Redis was away."""
        if room_id in self._rooms:
            await self._renewed.wait()
            await self._settle([room_id])

    def forget(self, room_id: str) -> None:
        """A room was closed: nobody is in it."""
        local = self._rooms.get(room_id)
        if local is not None:
            local.people.clear()
            self.doubt(local)

    def suspect(self, room_id: str) -> None:
        """Settle a room anew: Redis may have forgotten who is in it."""
        if (local := self._rooms.get(room_id)) is not None:
            self.doubt(local)

    # The tasks

    async def run(self) -> None:
        """Renew the lease, settle what is in doubt, and clear up behind servers that died.

        The lease has a task of its own: the rest may take longer than a lease lasts.
        """
        await self._patiently(self._begin)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_lease)
            nursery.start_soon(self._put_right)

    async def _keep_lease(self) -> None:
        while True:
            self._due = trio.Event()
            await self._patiently(self._renew)
            if not self._due.is_set():  # else it may have been asked on a connection that is no more
                self._renewed.set()
            with trio.move_on_after(RENEW_SECONDS):
                await self._due.wait()

    async def _put_right(self) -> None:
        while True:
            await self._work.wait()
            await self._renewed.wait()  # nothing is settled under a name that Redis has forgotten
            self._work = trio.Event()
            # First its own: who is under a name that this server has lost moves to its new one, and does not leave.
            await self._patiently(lambda: self._settle(list(self._rooms)))
            await self._patiently(self._clear_up_all)

    async def stop(self) -> None:
        """Take this server's people out of all rooms, and give its lease back, within `STOP_SECONDS`."""
        with trio.move_on_after(STOP_SECONDS) as patience:
            patience.shield = True
            try:
                for local in self._rooms.values():
                    local.people.clear()
                    self.doubt(local)
                await self._settle(list(self._rooms))
                await self._link.run(
                    ("ZREM", self._keys.leases, self._server),
                    ("UNLINK", self._keys.rooms(self._server)),
                    ("ZADD", self._keys.lives, self._clock.now(), self.name),
                )
            except StoreUnavailable:
                logger.warning("presence of this server stays in the store until its lease runs out")

    async def _patiently(self, act: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await act()
            except StoreUnavailable:
                await trio.sleep(RETRY_SECONDS)
            else:
                return

    async def _begin(self) -> None:
        """Take a lease, and find the servers of the same id: there is no other of it now, or ought not to be."""
        await self._lease("take")
        [servers] = await self._link.run(("ZRANGE", self._keys.leases, 0, -1))
        names = (name.decode() for name in servers)
        self._bury([name for name in names if name.rpartition(".")[0] == self._server_id and name != self._server])

    async def _renew(self) -> None:
        """Renew the lease, or take one under a new name."""
        held, forgotten = await self._lease("renew")
        if not held:
            self._server = self._new_server()
            if not forgotten:
                self._lengthen()
            self._doubt_all()
            await self._patiently(lambda: self._lease("take"))  # or the next try would find this one's name lost, too

    def _lengthen(self) -> None:
        """Take longer leases after one ran out: else the people of a slow server leave and come back by turns."""
        now = time.monotonic()
        late = now - self._renewed_at
        self._lost_at = now
        self._lease_seconds = min(max(2 * self._lease_seconds, 1.5 * late), LONGEST_LEASE_SECONDS)
        logger.warning("this server did not renew its lease for %.0f s: its people had left their rooms", late)

    async def _lease(self, how: str) -> tuple[bool, bool]:
        """Ask for the lease: whether it is held, and whether Redis has lost its memory since it was renewed."""
        sent = time.monotonic()
        if sent - self._lost_at > CALM_SECONDS:
            self._lease_seconds = LEASE_SECONDS
        [(held, now, dead, since)] = await self._link.run(
            LEASE.call(
                [self._keys.leases, self._keys.lives, self._keys.since, self._keys.heard],
                *(self._server, round(self._lease_seconds * 1000), how, self.name, REMEMBER_SECONDS * 1000),
                round(AWAY_SECONDS * 1000),
            )
        )
        self._clock.measured(now, sent, time.monotonic())
        forgotten = since > self._renewed_then
        if held:
            self._renewed_then = now
            self._renewed_at = sent  # the answer may have waited here, as long as this server stood still
        self._bury([name.decode() for name in dead])
        return bool(held), forgotten

    def _bury(self, servers: Sequence[str]) -> None:
        """Note that servers are dead."""
        if servers:
            self._dead.update(servers)
            self._work.set()

    async def _clear_up_all(self) -> None:
        while self._dead:
            server = next(iter(self._dead))
            await self._clear_up(server)
            self._dead.discard(server)

    async def _clear_up(self, server: str) -> None:
        """Take a dead server's people out of their rooms. Others may do the same at the same time."""
        [rooms] = await self._link.run(("SMEMBERS", self._keys.rooms(server)))
        for start in range(0, len(rooms), SLICE):
            room_ids = [room.decode() for room in rooms[start : start + SLICE]]
            ats = [self._keys.at(room_id, server) for room_id in room_ids]
            await self._link.run(
                *(
                    SETTLE.call([*self._three(room_id), at, at], new_epoch(), KEEP)
                    for room_id, at in zip(room_ids, ats, strict=True)
                )
            )
        await self._link.run(("UNLINK", self._keys.rooms(server)), ("ZREM", self._keys.leases, server))
        logger.info("a server is gone: %d rooms were cleared of its people", len(rooms))

    async def _settle(self, room_ids: Sequence[str]) -> None:
        """Make Redis agree about those rooms that are in doubt and that nothing is on its way about."""
        doubtful = [
            (room_id, local)
            for room_id in room_ids
            if (local := self._rooms.get(room_id)) is not None and not local.settled and not local.pending
        ]
        for start in range(0, len(doubtful), SLICE):
            await self._settle_slice(doubtful[start : start + SLICE])

    async def _settle_slice(self, rooms: Sequence[tuple[str, _Local]]) -> None:
        server = self._server
        commands: list[Command] = []
        with ExitStack() as pending:
            for room_id, local in rooms:
                pending.enter_context(_Pending(self, local))
                local.settled = True
                keys = [*self._three(room_id), self._keys.at(room_id, server), self._keys.at(room_id, local.server)]
                settle = SETTLE.call(keys, new_epoch(), KEEP, *_pairs(local.people))
                commands += self._note(room_id), settle
            await self._link.run(*commands)
        for room_id, local in rooms:
            local.server = server
            self._tidy(room_id, local)

    # Between them

    def _doubt_all(self) -> None:
        for local in self._rooms.values():
            self.doubt(local)

    def doubt(self, local: _Local) -> None:
        """Note that Redis may not agree about a room."""
        local.settled = False
        self._work.set()

    def _note(self, room_id: str) -> Command:
        """Give the command that tells others where to clear up behind this server."""
        return "SADD", self._keys.rooms(self._server), room_id

    def _three(self, room_id: str) -> list[str]:
        return [self._keys.state(room_id), self._keys.people(room_id), self._keys.events(room_id)]

    def _tidy(self, room_id: str, local: _Local) -> None:
        """Forget a room that nobody here is in any more."""
        if not local.people and not local.pending and local.settled and self._rooms.get(room_id) is local:
            del self._rooms[room_id]
            self._link.post(("SREM", self._keys.rooms(self._server), room_id))


class _Pending:
    """While a call about a room is on its way, nothing is settled there; if it fails, what it did is in doubt."""

    def __init__(self, keeper: PresenceKeeper, local: _Local) -> None:
        self._keeper = keeper
        self._local = local

    def __enter__(self) -> None:
        self._local.pending += 1

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._local.pending -= 1
        if kind is not None or not self._local.settled:
            self._keeper.doubt(self._local)


def _pairs(names: dict[str, str]) -> list[str | bytes]:
    return [part for user_id, name in names.items() for part in (user_id, _name.encode(name))]


def _presence(count: int, version: bytes, flat: Sequence[bytes] | None) -> Presence:
    if flat is None:
        return Presence(count, int(version), None)
    people = [
        Person(user_id.decode(), _read_name.decode(value.partition(b" ")[2]))
        for user_id, value in zip(flat[::2], flat[1::2], strict=True)
    ]
    return Presence(count, int(version), tuple(people))
