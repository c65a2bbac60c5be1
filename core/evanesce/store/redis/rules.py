"""The rules of rooms in Redis, and how they are published.

The state of a room has its options. Sorted sets have, each by the time until when, who is banned (`bans`: as installed;
`voted`: by votes, until the database has those bans), who may not write, and who has left lately: some of them may come
back although the room is locked (see `lua/away.lua`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from evanesce.model import Access
from evanesce.store.events import MemberMuted, MemberRemoved, RoomEvent, RulesChanged, Voted
from evanesce.store.message_log import RoomClosed
from evanesce.store.redis.client import Client, Deadline
from evanesce.store.redis.clock import Clock
from evanesce.store.redis.homes import Homes
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.scripts import COME_BACK, INSTALL, KEEP, MUTE, VOTE, Argument, new_epoch
from evanesce.store.rules import (
    MOST_MUTES,
    MOST_TOLD,
    VOTE_BAN_SECONDS,
    VOTE_SECONDS,
    Ballot,
    Person,
    Removal,
    RoomRules,
    VoteRefused,
)

MOST = 2**53
"""The largest number of a line: Lua has no larger ones that are exact."""

MANY_BANS = 100
"""Redis is asked whether it needs the bans of a room that are more than these: every server may install the same."""

_encoder = msgspec.json.Encoder()
_text = msgspec.json.Decoder(str)


class RedisRules:
    """The `Rules` of all rooms."""

    def __init__(self, client: Client, keys: Keys, clock: Clock, homes: Homes) -> None:
        self._client = client
        self._keys = keys
        self._clock = clock
        self._homes = homes

    async def install(
        self, room_id: str, rules: RoomRules, bans: Mapping[str, int], removal: Removal | None = None
    ) -> Sequence[str] | RoomClosed:
        """See `Rules.install`."""
        with Deadline():
            return await self._install(room_id, rules, bans, removal)

    async def _install(
        self, room_id: str, rules: RoomRules, bans: Mapping[str, int], removal: Removal | None
    ) -> Sequence[str] | RoomClosed:
        keys = [*self._three(room_id), self._keys.bans(room_id), self._keys.voted(room_id), self._keys.away(room_id)]
        if removal is not None:
            keys += await self._all_at(room_id)
        options = (rules.version, rules.message_ttl, rules.access, int(rules.locked), int(rules.encrypted))
        removed = ("", "", 0) if removal is None else (removal.user_id, _encoder.encode(removal.reason), removal.until)
        fixed = (*options, rules.created_by, *removed, VOTE_BAN_SECONDS * 1000, COME_BACK)

        async def ask(*rest: Argument) -> Any:
            [answer] = await self._client.run(INSTALL.call(keys, new_epoch(), KEEP, *fixed, *rest))
            return answer

        users: Any = await ask(0) if len(bans) > MANY_BANS else 0
        if users == 0:
            users = await ask(1, *(part for ban in bans.items() for part in ban))
        return RoomClosed() if users is None else [user.decode() for user in users]

    async def version(self, room_id: str) -> int:
        """See `Rules.version`."""
        [version] = await self._client.run(("HGET", self._keys.state(room_id), "rv"))
        return 0 if version is None else int(version)

    async def mute(
        self, room_id: str, user_id: str, seconds: float, subject: str | None = None
    ) -> int | RoomClosed | None:
        """See `Rules.mute`."""
        keys = [self._keys.state(room_id), self._keys.events(room_id), self._keys.mutes(room_id)]
        what = (user_id, subject or "", round(seconds * 1000), MOST_MUTES)
        [until] = await self._client.run(MUTE.call(keys, new_epoch(), KEEP, *what))
        if until is None:
            return RoomClosed()
        return None if until == b"full" else int(until)

    async def mutes(self, room_id: str) -> Mapping[str, int]:
        """See `Rules.mutes`."""
        [flat] = await self._client.run(("ZRANGE", self._keys.mutes(room_id), 0, -1, "WITHSCORES"))
        now = self._clock.now()
        return {user_id: until for user_id, until in mutes(flat).items() if until > now}

    async def votes(self, room_id: str) -> Sequence[Ballot]:
        """See `Rules.votes`."""
        [flat] = await self._client.run(("HGETALL", self._keys.votes(room_id)))
        return ballots(flat, self._clock.now())

    async def vote(
        self, room_id: str, voter: Person, person: Person, created_by: str
    ) -> Ballot | VoteRefused | RoomClosed:
        """See `Rules.vote`."""
        keys = [
            *self._three(room_id),
            *(make(room_id) for make in (self._keys.bans, self._keys.voted, self._keys.away)),
            self._keys.vote(room_id, person.subject),
            self._keys.votes(room_id),
        ]
        persons = (voter.user_id, voter.subject, person.user_id, person.subject)
        times = (VOTE_SECONDS * 1000, VOTE_BAN_SECONDS * 1000)
        with Deadline():
            keys += await self._all_at(room_id)
            [answer] = await self._client.run(
                VOTE.call(keys, new_epoch(), KEEP, *persons, created_by, *times, MOST_TOLD, COME_BACK)
            )
        if answer is None:
            return RoomClosed()
        if isinstance(answer, bytes):
            return VoteRefused(answer.decode())
        return Ballot(person.user_id, *map(int, answer))

    async def _all_at(self, room_id: str) -> list[str]:
        """Return the keys of who is in a room on each server that has a lease, also one that is gone."""
        [holders] = await self._client.run(("ZRANGE", self._homes.of(self._keys.members(room_id)).keys.leases, 0, -1))
        return [self._keys.at(room_id, holder.decode()) for holder in holders]

    def _three(self, room_id: str) -> list[str]:
        return [self._keys.state(room_id), self._keys.members(room_id), self._keys.events(room_id)]


def mutes(flat: Sequence[bytes]) -> dict[str, int]:
    """Return until when users may not write, of all that the set has; see `lua/mutes.lua`."""
    return {
        member.decode(): int(float(until))
        for member, until in zip(flat[::2], flat[1::2], strict=True)
        if not member.startswith(b":")
    }


def ballots(flat: Sequence[bytes], now: int) -> list[Ballot]:
    """Return the votes whose end is after `now`, of all that the hash has; see `lua/vote.lua`."""
    told = [
        Ballot(user_id.decode(), *map(int, ballot.split(b" ")))
        for user_id, ballot in zip(flat[::2], flat[1::2], strict=True)
    ]
    return [ballot for ballot in told if ballot.expires_at > now]


def _rules_changed(line: str) -> RulesChanged:
    _, version, ttl, access, locked, encrypted, created_by = line.split(" ")
    rules = RoomRules(
        created_by=created_by,
        message_ttl=_whole(ttl),
        version=_whole(version),
        access=Access(access),
        locked=_flag(locked),
        encrypted=_flag(encrypted),
    )
    return RulesChanged(rules)


def _removed(line: str) -> MemberRemoved:
    _, at, until, user_id, reason = line.split(" ", 4)
    return MemberRemoved(Removal(user_id, _text.decode(reason), _whole(until)), _whole(at))


def _muted(line: str) -> MemberMuted:
    _, until, user_id = line.split(" ")
    return MemberMuted(user_id, _whole(until))


def _voted(line: str) -> Voted:
    _, votes, needed, expires_at, until, user_id = line.split(" ")
    return Voted(Ballot(user_id, _whole(votes), _whole(needed), _whole(expires_at), _whole(until)))


def _whole(text: str) -> int:
    number = int(text)
    if not 0 <= number <= MOST:
        raise ValueError("a number is out of range")
    return number


def _flag(text: str) -> bool:
    return {"0": False, "1": True}[text]


READERS: dict[bytes, Callable[[str], RoomEvent]] = {b"o": _rules_changed, b"k": _removed, b"q": _muted, b"b": _voted}
"""How the lines of each kind are read; see `feed.py`. They raise `ValueError`, `LookupError` or `MsgspecError`."""
