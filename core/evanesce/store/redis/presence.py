"""The members of rooms, counted in Redis over all servers. A server's members count while its lease is valid.

The state that this server has requested is also kept in its memory. If Redis has lost its data, or the outcome of a
request is not known, the rooms are reconciled with that state.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import msgspec
import trio

from evanesce.model import Access
from evanesce.store.message_log import RoomClosed
from evanesce.store.presence import (
    Bar,
    Barred,
    Joiner,
    JoinOutcome,
    Member,
    PresenceObserver,
    PresenceSnapshot,
    RulesMissing,
)
from evanesce.store.redis.client import Client, Deadline
from evanesce.store.redis.homes import Home, Homes
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.lease import retry_until_available
from evanesce.store.redis.rules import ballots, mutes
from evanesce.store.redis.scripts import (
    COME_BACK,
    JOIN,
    KEEP,
    LEAVE,
    PRESENCE,
    RECONCILE,
    RENAME,
    Argument,
    Command,
    new_epoch,
)
from evanesce.store.rules import RoomRules

logger = logging.getLogger(__name__)

SLICE = 100
"""How many commands go into one call."""

_name = msgspec.json.Encoder()
_read_name = msgspec.json.Decoder(str)


@dataclass
class _Local:
    """The members of one room on this server, as they should be in Redis.

    `home` is where they are to be recorded, `noted` where they were recorded last, and `server` under which name.
    `left` are those who wanted to leave, until Redis is known to have that. `unanswered` are those whose join had no
    answer, so that nobody was told of it. `pending` counts the calls that wait for an answer; `reconciled`: Redis is
    known to have this state.
    """

    home: Home
    noted: Home
    server: str
    members: dict[str, str] = field(default_factory=dict[str, str])
    left: set[str] = field(default_factory=set[str])
    unanswered: set[str] = field(default_factory=set[str])
    pending: int = 0
    reconciled: bool = True


class RedisPresence:
    """The `Presence` of one server in all rooms. `run` must run beside it.

    Each home has a task of its own, so that a primary that is down delays no rooms of another one. `replicated`: a new
    connection may be to a replica without the newest data that became the primary. `inherit` takes over the keys that a
    dead server had to erase in a home.
    """

    def __init__(
        self,
        client: Client,
        keys: Keys,
        homes: Homes,
        inherit: Callable[[Home, str], Awaitable[object]],
        *,
        replicated: bool,
    ) -> None:
        self._client = client
        self._keys = keys
        self._homes = homes
        self._inherit = inherit
        self._rooms: dict[str, _Local] = {}
        self._work = {home: trio.Event() for home in homes}  # a room is not reconciled, or a server is dead
        self._replicated = replicated
        self._layout = -1
        self._observers: list[PresenceObserver] = []
        client.on_connect(self._connected)
        for home in homes:
            home.lease.on_change(partial(self._lease_changed, home))

    def _connected(self) -> None:
        if self._replicated:
            self._mark_all_dirty()
        for home in self._homes:
            home.lease.look()

    def _lease_changed(self, home: Home) -> None:
        for local in self._rooms.values():
            if local.home is home and local.server != home.lease.holder:
                local.reconciled = False
        self._work[home].set()

    def topology_read(self, layout: int) -> None:
        """Move rooms to other homes if their slots have moved. `layout` changes whenever any slot has moved."""
        if layout == self._layout:
            return
        self._layout = layout
        for room_id, local in self._rooms.items():
            if (home := self._home(room_id)) is local.home:
                continue
            if local.pending or not local.reconciled:  # it may be recorded twice already: it is moved next time
                self._layout = -1
                continue
            local.home = home
            self.mark_dirty(local)

    # For rooms

    def observe(self, changed: PresenceObserver) -> None:
        """See `Presence.observe`."""
        self._observers.append(changed)

    def _tell(self, room_id: str, arrived: Collection[str], departed: Collection[str]) -> None:
        if arrived or departed:
            for changed in self._observers:
                changed(room_id, tuple(arrived), tuple(departed))

    async def join(
        self,
        room_id: str,
        members: Sequence[Joiner],
        capacity: int,
        roster: int,
        rules: RoomRules,
        *,
        follows: bool = False,
    ) -> JoinOutcome | RulesMissing | RoomClosed:
        """See `Presence.join`."""
        lease = self._home(room_id).lease
        if lease.is_known or not self._client.up:  # if it is not up, the call is refused at once
            return await self._join(room_id, members, capacity, roster, rules, follows)
        with Deadline():
            # Nobody would remove those who are recorded under a name that has no lease.
            await lease.known()
            return await self._join(room_id, members, capacity, roster, rules, follows)

    async def _join(
        self, room_id: str, members: Sequence[Joiner], capacity: int, roster: int, rules: RoomRules, follows: bool
    ) -> JoinOutcome | RulesMissing | RoomClosed:
        local = self._local(room_id)
        keys = [
            *self._three(room_id),
            self._keys.at(room_id, local.home.lease.holder),
            *(make(room_id) for make in (self._keys.bans, self._keys.voted, self._keys.away)),
            *(make(room_id) for make in (self._keys.mutes, self._keys.votes)),
        ]
        known = (rules.version, rules.created_by, int(follows))
        unanswered = {person.user_id for person in members} - local.members.keys()
        earlier = local.unanswered & unanswered
        local.unanswered |= unanswered
        with _Pending(self, local):
            _, answer = await self._client.run(
                _note(local.home, room_id),
                JOIN.call(keys, new_epoch(), KEEP, capacity, roster, *known, *_joiners(members)),
            )
        local.unanswered -= unanswered
        if answer is None:
            self.forget(room_id)
            return RoomClosed()
        if answer == 0:
            self._tidy(room_id, local)
            return RulesMissing()
        outcome = _outcome(answer, rules)
        for person in members:
            if person.user_id not in outcome.barred:
                local.members.setdefault(person.user_id, person.display_name)
                local.left.discard(person.user_id)
        arrived = {user.decode() for user in answer[-1]}
        self._tell(room_id, arrived | (earlier - outcome.barred.keys()), ())
        self._tidy(room_id, local)
        return outcome

    async def leave(self, room_id: str, user_ids: Sequence[str], *, lost: Collection[str] = ()) -> int:
        """See `Presence.leave`."""
        local = self._local(room_id)
        for user_id in user_ids:
            local.members.pop(user_id, None)
        losing = [user_id for user_id in user_ids if user_id in lost]
        leaving = [user_id for user_id in user_ids if user_id not in lost]
        local.left.difference_update(losing)
        local.left.update(leaving)
        keys = [*self._three(room_id), self._keys.at(room_id, local.home.lease.holder), self._keys.away(room_id)]
        with _Pending(self, local):
            [[count, departed]] = await self._client.run(
                LEAVE.call(keys, new_epoch(), KEEP, COME_BACK, len(losing), *losing, *leaving)
            )
        if local.reconciled:  # otherwise they may be recorded under an earlier name of this server too
            local.left.difference_update(leaving)
        self._tell(room_id, (), [user.decode() for user in departed])
        self._tidy(room_id, local)
        return int(count)

    def remembers_since(self, room_id: str) -> int:
        """See `Presence.remembers_since`."""
        return self._home(room_id).lease.since

    async def rename(self, room_id: str, person: Member) -> None:
        """See `Presence.rename`."""
        local = self._rooms.get(room_id)
        keys = self._three(room_id)
        rename = RENAME.call(keys, new_epoch(), KEEP, person.user_id, _name.encode(person.display_name))
        if local is None or person.user_id not in local.members:
            await self._client.run(rename)
            return
        local.members[person.user_id] = person.display_name
        with _Pending(self, local):
            await self._client.run(rename)

    async def snapshot(self, room_id: str, roster: int) -> PresenceSnapshot:
        """See `Presence.snapshot`."""
        [answer] = await self._client.run(PRESENCE.call(self._three(room_id), new_epoch(), KEEP, roster))
        count, version, *rest = answer
        return _presence(count, version, rest[0] if rest else None)

    async def counts(self, room_ids: Sequence[str]) -> list[int]:
        """See `Presence.counts`."""
        counts: list[int] = []
        with Deadline():
            for start in range(0, len(room_ids), SLICE):
                rooms = room_ids[start : start + SLICE]
                counts += await self._client.run(*(("HLEN", self._keys.members(room_id)) for room_id in rooms))
        return counts

    # For feeds

    async def restore(self, room_id: str) -> None:
        """Ensure that the members of a room on this server are in Redis, after Redis was down."""
        if (local := self._rooms.get(room_id)) is not None:
            await local.home.lease.known()
            await self._reconcile(local.home, [room_id])

    def forget(self, room_id: str) -> None:
        """Forget the members of a room that was closed."""
        local = self._rooms.get(room_id)
        if local is not None:
            local.members.clear()
            self.mark_dirty(local)

    def suspect(self, room_id: str) -> None:
        """Reconcile a room, as Redis may have lost its members."""
        if (local := self._rooms.get(room_id)) is not None:
            self.mark_dirty(local)

    # The tasks

    async def run(self) -> None:
        """Reconcile rooms, and remove the members of dead servers, until cancelled."""
        async with trio.open_nursery() as nursery:
            for home in self._homes:
                nursery.start_soon(self._look_after, home)

    async def _look_after(self, home: Home) -> None:
        while True:
            await self._work[home].wait()
            await retry_until_available(home.lease.known)  # nothing is recorded under a name that Redis has lost
            self._work[home] = trio.Event()
            # First the own members: those under a name that this server has lost move to the new name, and do not
            # leave.
            await retry_until_available(partial(self._reconcile, home, list(self._rooms)))
            await retry_until_available(partial(self._clear_up_all, home))

    async def stop(self, home: Home) -> None:
        """Remove the members of this server from all rooms of a home. Raises `StoreUnavailable`."""
        for local in self._rooms.values():
            if local.home is home:
                local.members.clear()
                self.mark_dirty(local)
        await self._reconcile(home, list(self._rooms))
        await self._client.run(("UNLINK", home.keys.rooms(home.lease.holder)))

    async def _clear_up_all(self, home: Home) -> None:
        while home.lease.dead:
            await self._clear_up(home, next(iter(home.lease.dead)))

    async def _clear_up(self, home: Home, server: str) -> None:
        """Remove a dead server's members from their rooms. Other servers may do the same at the same time."""
        await self._inherit(home, server)
        [rooms] = await self._client.run(("SMEMBERS", home.keys.rooms(server)))
        for start in range(0, len(rooms), SLICE):
            room_ids = [room.decode() for room in rooms[start : start + SLICE]]
            answers = await self._client.run(*(self._set_users(room_id, server, server) for room_id in room_ids))
            for room_id, (departed, _) in zip(room_ids, answers, strict=True):
                self._tell(room_id, (), [user.decode() for user in departed])
        await self._client.run(("UNLINK", home.keys.rooms(server)))
        await home.lease.forget(server)
        if rooms:
            logger.info("a server is gone: its members were removed from %d rooms", len(rooms))

    async def _reconcile(self, home: Home, room_ids: Sequence[str]) -> None:
        """Reconcile those rooms of a home that need it and have no pending call."""
        dirty = [
            (room_id, local)
            for room_id in room_ids
            if (local := self._rooms.get(room_id)) is not None
            and local.home is home
            and not local.reconciled
            and not local.pending
        ]
        for start in range(0, len(dirty), SLICE):
            await self._reconcile_slice(home, dirty[start : start + SLICE])

    async def _reconcile_slice(self, home: Home, rooms: Sequence[tuple[str, _Local]]) -> None:
        server = home.lease.holder
        commands: list[Command] = []
        told: list[tuple[set[str], set[str]]] = []
        with ExitStack() as pending:
            for room_id, local in rooms:
                pending.enter_context(_Pending(self, local))
                local.reconciled = True
                left = local.left - local.members.keys()
                told.append((left, set(local.unanswered)))
                reconcile = self._set_users(room_id, server, local.server, left, local.members)
                commands += _note(home, room_id), reconcile
            answers = await self._client.run(*commands)
        for (room_id, local), (left, unanswered), changed in zip(rooms, told, answers[1::2], strict=True):
            local.left -= left
            # Those arrive whom another server had removed, because the lease of this one had expired.
            departed, arrived = ({user.decode() for user in users} - unanswered for users in changed)
            self._tell(room_id, arrived, departed)
            local.unanswered -= unanswered
            if local.noted is not home:
                self._client.post(("SREM", local.noted.keys.rooms(local.server), room_id))
            local.noted, local.server = home, server
            self._tidy(room_id, local)

    # Helpers

    def _set_users(
        self, room_id: str, server: str, earlier: str, left: Collection[str] = (), names: dict[str, str] | None = None
    ) -> Command:
        """Return the command that sets the users of a server in a room, which had the name `earlier` before.

        `left` are those who wanted to leave; whoever else is not there any more has lost the connection.
        """
        ats = (self._keys.at(room_id, name) for name in (server, earlier))
        keys = [*self._three(room_id), self._keys.away(room_id), *ats]
        return RECONCILE.call(keys, new_epoch(), KEEP, COME_BACK, len(left), *left, *_pairs(names or {}))

    def _mark_all_dirty(self) -> None:
        for local in self._rooms.values():
            self.mark_dirty(local)

    def mark_dirty(self, local: _Local) -> None:
        """Record that Redis may have another state of a room."""
        local.reconciled = False
        self._work[local.home].set()

    def _home(self, room_id: str) -> Home:
        return self._homes.of(self._keys.members(room_id))

    def _local(self, room_id: str) -> _Local:
        local = self._rooms.get(room_id)
        if local is None:
            home = self._home(room_id)
            local = self._rooms[room_id] = _Local(home, home, home.lease.holder)
        return local

    def _three(self, room_id: str) -> list[str]:
        return [self._keys.state(room_id), self._keys.members(room_id), self._keys.events(room_id)]

    def _tidy(self, room_id: str, local: _Local) -> None:
        """Forget a room without members on this server."""
        if not local.members and not local.pending and local.reconciled and self._rooms.get(room_id) is local:
            del self._rooms[room_id]
            self._client.post(("SREM", local.home.keys.rooms(local.home.lease.holder), room_id))


class _Pending:
    """While a call for a room is pending, the room is not reconciled. If the call fails, its outcome is not known."""

    def __init__(self, keeper: RedisPresence, local: _Local) -> None:
        self._keeper = keeper
        self._local = local

    def __enter__(self) -> None:
        self._local.pending += 1

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._local.pending -= 1
        if kind is not None or not self._local.reconciled:
            self._keeper.mark_dirty(self._local)


def _note(home: Home, room_id: str) -> Command:
    """Return the command that records for other servers that this one has members in a room."""
    return "SADD", home.keys.rooms(home.lease.holder), room_id


def _pairs(names: dict[str, str]) -> list[str | bytes]:
    return [part for user_id, name in names.items() for part in (user_id, _name.encode(name))]


def _joiners(members: Iterable[Joiner]) -> list[Argument]:
    return [
        part
        for person in members
        for part in (
            *(person.user_id, _name.encode(person.display_name), person.subject),
            *(int(person.admitted), int(person.returns)),
        )
    ]


def _outcome(answer: Any, rules: RoomRules) -> JoinOutcome:
    """Return what a join has come to, for a caller who knows `rules`."""
    at, count, version, flat, barred, newer, muted, running, _ = answer
    if newer is not None:
        number, ttl, access, locked = newer
        rules = replace(
            rules, version=int(number), message_ttl=int(ttl), access=Access(access.decode()), locked=bool(locked)
        )
    return JoinOutcome(
        presence=_presence(count, version, flat),
        barred={user.decode(): Barred(Bar(bar.decode()), int(until)) for user, bar, until in barred},
        at=int(at),
        rules=None if newer is None else rules,
        mutes={} if muted is None else mutes(muted),
        votes=[] if running is None else [ballot for ballot in ballots(running, int(at)) if not ballot.removed],
    )


def _presence(count: int, version: bytes, flat: Sequence[bytes] | None) -> PresenceSnapshot:
    if flat is None:
        return PresenceSnapshot(count, int(version), None)
    members = [
        Member(user_id.decode(), _read_name.decode(value.partition(b" ")[2]))
        for user_id, value in zip(flat[::2], flat[1::2], strict=True)
    ]
    return PresenceSnapshot(count, int(version), tuple(members))
