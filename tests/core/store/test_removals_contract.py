"""Removals from a room, over several servers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import trio
import trio.testing

from evanesce.store.events import Joined, Left, MemberRemoved, RulesChanged
from evanesce.store.presence import Bar, Barred
from evanesce.store.rules import VOTE_BAN_SECONDS, Ballot, Removal
from tests.core.store.backends import RULES, Backend, RedisBackend, events, join, joiners, of_kind, until
from tests.core.store.ruled_rooms import ADA, BOB, CYD, DAN, DAY, EVE, LOCKED, OPEN, barred, installed, subject, vote


async def test_a_removal_is_told_in_any_case(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    room_id = await installed(one, OPEN, ADA, BOB)
    joined_at = (await join(two, room_id, [ADA], rules=OPEN)).at
    async with two.events.follow(room_id, 10) as feed:
        removal = Removal("ada", 'a "reason" of several words', one.clock.now() + DAY)
        newer = replace(OPEN, version=9)
        assert await one.rules.install(room_id, newer, {subject(ADA): removal.until}, removal) == ["bob"]
        again = Removal("bob", "creator", 0)
        for _ in range(2):
            await one.rules.install(room_id, newer, {}, again)
        changed, first, ada_left, second, bob_left, third = await events(feed, 6)
    assert changed == RulesChanged(newer)
    assert isinstance(first, MemberRemoved)
    assert isinstance(second, MemberRemoved)
    assert isinstance(third, MemberRemoved)
    assert [(left.user_id, left.count) for left in of_kind([ada_left, bob_left], Left)] == [("ada", 1), ("bob", 0)]
    assert (first.removal, second.removal) == (removal, again)
    assert joined_at <= first.at <= second.at <= two.clock.now()
    assert await barred(two, room_id, ADA, newer) == Barred(Bar.BANNED, removal.until), "in the room or not"
    later = await join(two, room_id, [BOB], rules=newer)
    assert not later.barred
    assert second.at <= later.at


@pytest.mark.parametrize("by", ["creator", "vote"])
async def test_who_is_removed_is_out_on_all_servers_at_once(by: str, backend: Backend) -> None:
    """And not only when each of them has heard of it; what they say late changes nothing."""
    one, two = await backend.open("one"), await backend.open("two")
    room_id = await installed(one, OPEN, ADA, BOB, CYD, DAN)
    await join(two, room_id, [DAN, EVE], rules=OPEN)
    if by == "creator":
        await one.rules.install(room_id, replace(LOCKED, version=3), {}, Removal("dan", "creator", 0))
        for store in (one, two):
            assert await barred(store, room_id, DAN, replace(LOCKED, version=3)) == Barred(Bar.LOCKED)
        ended = 0
    else:
        ballot = [await vote(one, room_id, voter, DAN) for voter in (ADA, BOB, CYD)][-1]
        assert isinstance(ballot, Ballot)
        assert ballot.removed
        ended = ballot.until - VOTE_BAN_SECONDS * 1000
    assert set((await two.presence.snapshot(room_id, 10)).members or ()) == {ADA, BOB, CYD, EVE}
    await one.rules.install(room_id, replace(OPEN, version=4), {subject(DAN): ended})
    assert (await join(two, room_id, [DAN], rules=OPEN)).presence.count == 5
    assert await one.presence.leave(room_id, ["dan"]) == 5, "the end of what was removed"
    assert await two.presence.leave(room_id, ["dan"], lost=["dan"]) == 4


async def test_who_is_removed_is_out_though_their_server_is_dead(valkey: RedisBackend) -> None:
    one = await valkey.open("one")
    room_id = await installed(one, LOCKED, BOB)
    # What a server leaves behind that was killed, and whose lease holds.
    members, at = (f"evanesce:{{{room_id}}}:{name}" for name in ("people", "at:dead.1"))
    valkey.client.hset(members, "ada", '1 "Ada"')
    valkey.client.hset(at, "ada", "")
    valkey.client.zadd("evanesce:{servers}:leases", {"dead.1": one.clock.now() + DAY})
    assert await one.rules.install(room_id, LOCKED, {}, Removal("ada", "creator", 0)) == ["bob"]
    assert await barred(one, room_id, ADA) == Barred(Bar.LOCKED)


async def test_what_comes_at_once_is_in_one_order(backend: Backend) -> None:
    """A join is before the rules that forbid it, and then the installation names its user, or it is refused."""
    one, two = await backend.open("one"), await backend.open("two")
    users: Any = None
    outcome: Any = None
    seen: set[bool] = set()

    async def install(room_id: str) -> None:
        nonlocal users
        users = await one.rules.install(room_id, LOCKED, {}, Removal("nobody", "creator", 0))

    async def come(room_id: str) -> None:
        nonlocal outcome
        for _ in range(turn // 2 % 3):  # an installation needs more than one round trip
            await two.presence.counts([room_id])
        outcome = await two.presence.join(room_id, joiners(ADA), 10, 10, RULES)

    for turn in range(60):
        room_id = str(uuid4())
        async with one.events.follow(room_id, 10) as feed:
            async with trio.open_nursery() as nursery:
                for act in (install, come) if turn % 2 else (come, install):
                    nursery.start_soon(act, room_id)
            heard = [type(event) for event in await events(feed, 2 + (not outcome.barred))]
        came = outcome.barred == {}
        seen.add(came)
        assert outcome.barred == ({} if came else {"ada": Barred(Bar.LOCKED)})
        assert users == (["ada"] if came else [])
        assert heard == ([Joined] if came else []) + [RulesChanged, MemberRemoved]
        assert (outcome.rules is None) == came
    assert seen == {False, True}


async def test_a_removal_is_not_before_a_join_although_the_clock_was_set_back(valkey: RedisBackend) -> None:
    """A step is made by what is stored, as if it had been written before."""
    one, two = await valkey.open("one"), await valkey.open("two")
    for kind in ("creator", "vote"):
        room_id = await installed(one, OPEN, ADA, BOB, CYD)
        ahead = one.clock.now() + DAY
        valkey.client.hset(f"evanesce:{{{room_id}}}:state", "t", ahead)
        joined = await join(two, room_id, [DAN], rules=OPEN)
        assert joined.at == ahead
        async with two.events.follow(room_id, 10) as feed:
            if kind == "creator":
                await one.rules.install(room_id, replace(OPEN, version=3), {}, Removal("dan", "creator", 0))
            else:
                await vote(one, room_id, BOB, DAN)
                await vote(one, room_id, ADA, DAN)
                await vote(one, room_id, CYD, DAN)
            [removed] = of_kind(await until(feed, MemberRemoved), MemberRemoved)
        assert removed.at == ahead
        assert removed.removal.until < one.clock.now() + DAY, "bans go by the clock as it is"
        assert (await join(two, room_id, [EVE], rules=OPEN)).at >= removed.at
