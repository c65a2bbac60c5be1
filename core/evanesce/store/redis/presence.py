"""Who is in which room: counted in Redis over all servers, and for as long as the lease of each is renewed.

What this server has asked for is also kept here: after Redis lost its memory, or answered so late that nobody knows
what it did, the rooms are settled anew from that.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import msgspec
import trio

from evanesce.errors import StoreUnavailable
from evanesce.store.base import Gone, Person, Presence
from evanesce.store.redis.commands import Commands
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.lease import Lease, patiently
from evanesce.store.redis.log import KEEP, new_epoch
from evanesce.store.redis.scripts import ENTER, LEAVE, PRESENCE, RENAME, SETTLE, Command

logger = logging.getLogger(__name__)

STOP_SECONDS = 1.0
"""How long a server that stops may take to leave its rooms."""

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
    """Presence in all rooms. `run` must run beside it.

    `replicated`: a new connection may be to a replica that took its primary's place and had not heard of everything.
    """

    def __init__(self, link: Commands, keys: Keys, lease: Lease, *, replicated: bool) -> None:
        self._link = link
        self._keys = keys
        self._lease = lease
        self._rooms: dict[str, _Local] = {}
        self._work = trio.Event()  # a room is in doubt, or a server is dead
        self._replicated = replicated
        link.watch(self._connected)
        lease.on_change(self._lease_changed)

    def _connected(self) -> None:
        if self._replicated:
            self._doubt_all()
        self._lease.look()

    def _lease_changed(self) -> None:
        for local in self._rooms.values():
            if local.server != self._lease.holder:
                local.settled = False
        self._work.set()

    # What rooms ask

    async def enter(
        self, room_id: str, people: Sequence[Person], capacity: int, roster: int
    ) -> tuple[Presence, frozenset[str]] | Gone:
        """Note that users came in on this server."""
        names = {person.user_id: person.display_name for person in people}
        local = self._rooms.setdefault(room_id, _Local(self._lease.holder))
        keys = [*self._three(room_id), self._keys.at(room_id, self._lease.holder)]
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
        local = self._rooms.setdefault(room_id, _Local(self._lease.holder))
        for user_id in user_ids:
            local.people.pop(user_id, None)
        keys = [*self._three(room_id), self._keys.at(room_id, self._lease.holder)]
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

    # What feeds ask

    async def restore(self, room_id: str) -> None:
        """Make sure that this server's people are in a room, after Redis was away."""
        if room_id in self._rooms:
            await self._lease.known()
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

    # The task

    async def run(self) -> None:
        """Settle what is in doubt, and clear up behind servers that died, until cancelled."""
        while True:
            await self._work.wait()
            await self._lease.known()  # nothing is settled under a name that Redis has forgotten
            self._work = trio.Event()
            # First its own: who is under a name that this server has lost moves to its new one, and does not leave.
            await patiently(lambda: self._settle(list(self._rooms)))
            await patiently(self._clear_up_all)

    async def stop(self) -> None:
        """Take this server's people out of all rooms, and give its lease back, within `STOP_SECONDS`."""
        with trio.move_on_after(STOP_SECONDS) as patience:
            patience.shield = True
            try:
                for local in self._rooms.values():
                    local.people.clear()
                    self.doubt(local)
                await self._settle(list(self._rooms))
                await self._link.run(("UNLINK", self._keys.rooms(self._lease.holder)))
                await self._lease.end()
            except StoreUnavailable:
                logger.warning("presence of this server stays in the store until its lease runs out")

    async def _clear_up_all(self) -> None:
        while self._lease.dead:
            await self._clear_up(next(iter(self._lease.dead)))

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
        await self._link.run(("UNLINK", self._keys.rooms(server)))
        await self._lease.buried(server)
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
        server = self._lease.holder
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
        return "SADD", self._keys.rooms(self._lease.holder), room_id

    def _three(self, room_id: str) -> list[str]:
        return [self._keys.state(room_id), self._keys.people(room_id), self._keys.events(room_id)]

    def _tidy(self, room_id: str, local: _Local) -> None:
        """Forget a room that nobody here is in any more."""
        if not local.people and not local.pending and local.settled and self._rooms.get(room_id) is local:
            del self._rooms[room_id]
            self._link.post(("SREM", self._keys.rooms(self._lease.holder), room_id))


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
