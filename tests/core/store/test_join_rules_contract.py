"""Whom the rules of a room let in, over several servers: bans, locked rooms, and who comes back."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import trio
import trio.testing

from evanesce.errors import StoreUnavailable
from evanesce.model import Access
from evanesce.store.events import MemberRemoved, RulesChanged
from evanesce.store.memory import memory_store
from evanesce.store.presence import Bar, Barred, JoinOutcome, Member
from evanesce.store.redis import lease
from evanesce.store.rules import COME_BACK_SECONDS, Ballot, Removal, RoomRules
from tests.core.store.backends import RULES, Backend, RedisBackend, events, eventually, join, joiners
from tests.core.store.ruled_rooms import (
    ADA,
    BOB,
    CREATOR,
    CYD,
    DAN,
    DAY,
    EVE,
    LOCKED,
    OPEN,
    barred,
    installed,
    subject,
    vote,
)

pytestmark = pytest.mark.slow


async def test_the_first_bar_that_applies_keeps_a_user_out(backend: Backend) -> None:
    """All rules and all circumstances, each with each other."""
    here, there = await backend.open("one"), await backend.open("two")
    flags = ("locked", "invite", "banned", "present", "away", "admitted", "full", "creator")
    for values in itertools.product((False, True), repeat=len(flags)):
        is_ = dict(zip(flags, values, strict=True))
        if is_["present"] and is_["away"]:
            continue
        person, room_id = CREATOR if is_["creator"] else ADA, str(uuid4())
        if is_["present"] or is_["away"]:
            await join(there, room_id, [person])
        if is_["away"]:
            await there.presence.leave(room_id, [person.user_id], lost=[person.user_id])
        access = Access.INVITE if is_["invite"] else Access.LINK
        rules = replace(RULES, version=1, locked=is_["locked"], access=access)
        ends = here.clock.now() + DAY
        await here.rules.install(room_id, rules, {subject(person): ends} if is_["banned"] else {})
        capacity = int(is_["present"]) if is_["full"] else 10
        outcome = await here.presence.join(room_id, joiners(person, admitted=is_["admitted"]), capacity, 10, rules)
        expected: Barred | None = None
        if is_["banned"]:
            expected = Barred(Bar.BANNED, ends)
        elif not is_["present"]:
            if is_["locked"] and not (is_["away"] or is_["creator"]):
                expected = Barred(Bar.LOCKED)
            elif is_["invite"] and not (is_["admitted"] or is_["creator"]):
                expected = Barred(Bar.UNINVITED)
            elif is_["full"]:
                expected = Barred(Bar.FULL)
        assert isinstance(outcome, JoinOutcome)
        assert outcome.barred == ({} if expected is None else {person.user_id: expected}), is_
        assert outcome.presence.count == (expected is None or is_["present"]), is_


async def test_one_call_lets_some_in_and_others_not(backend: Backend) -> None:
    store = await backend.open()
    room_id = await installed(store, LOCKED, BOB, **{subject(CYD): store.clock.now() + DAY})
    outcome = await store.presence.join(room_id, joiners(ADA, BOB, CREATOR, CYD), 10, 10, LOCKED)
    assert isinstance(outcome, JoinOutcome)
    assert {user_id: why.bar for user_id, why in outcome.barred.items()} == {"ada": Bar.LOCKED, "cyd": Bar.BANNED}
    assert set(outcome.presence.members or ()) == {BOB, CREATOR}


async def test_a_ban_ends(backend: Backend) -> None:
    store = await backend.open()
    ends = store.clock.now() + 300
    room_id = await installed(store, OPEN, **{subject(ADA): ends, subject(BOB): 1})
    assert await barred(store, room_id, BOB, OPEN) is None

    async def may_join() -> bool:
        outcome = await join(store, room_id, [ADA], rules=OPEN)
        assert outcome.barred == ({"ada": Barred(Bar.BANNED, ends)} if outcome.at < ends else {})
        return not outcome.barred

    await eventually(may_join)


async def test_the_most_bans_of_a_room_hold(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    ends = store.clock.now() + DAY
    bans = {f"subject of {number}": ends + number for number in range(10_000)}
    await store.rules.install(room_id, OPEN, bans)
    for number in (0, 499, 500, 999, 1_000, 9_999):
        assert await barred(store, room_id, Member(str(number), "X"), OPEN) == Barred(Bar.BANNED, ends + number)
    assert await barred(store, room_id, ADA, OPEN) is None


async def test_many_bans_are_sent_only_where_they_are_missing(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    ends = store.clock.now() + DAY
    bans = {f"subject of {number}": ends for number in range(10_000)}

    async def received(rules: RoomRules, removal: Removal | None = None) -> int:
        """Return how many bytes Redis gets for an installation."""
        before: dict[str, Any] = valkey.client.info("stats")
        assert await store.rules.install(room_id, rules, bans, removal) == []
        after: dict[str, Any] = valkey.client.info("stats")
        return after["total_net_input_bytes"] - before["total_net_input_bytes"]

    async with store.events.follow(room_id, 10) as feed:
        assert await received(OPEN) > 200_000
        for rules in (OPEN, LOCKED):
            assert await received(rules, Removal("ada", "creator", 0)) < 20_000
        assert await received(replace(OPEN, version=3), Removal("bob", "creator", 0)) > 200_000
        heard = await events(feed, 5)
    kinds = [RulesChanged, MemberRemoved, MemberRemoved, RulesChanged, MemberRemoved]
    assert [type(event) for event in heard] == kinds
    assert await barred(store, room_id, Member("0", "X"), OPEN) == Barred(Bar.BANNED, ends)


async def test_only_who_lost_the_connection_comes_back_to_a_locked_room(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    room_id = await installed(one, LOCKED, ADA, BOB, CYD, DAN)
    await join(two, room_id, [BOB], rules=LOCKED)
    lost = ["ada", "bob"]
    assert await one.presence.leave(room_id, ["ada", "bob", "cyd"], lost=lost) == 2
    assert await barred(two, room_id, CYD) == Barred(Bar.LOCKED), "who wanted to leave"
    await two.presence.leave(room_id, ["bob"])
    assert await barred(one, room_id, BOB) == Barred(Bar.LOCKED), "who left where the connection was still there"
    assert await barred(two, room_id, ADA) is None
    await two.presence.leave(room_id, ["ada"])
    assert await barred(two, room_id, ADA) == Barred(Bar.LOCKED), "who came back and wanted to leave"
    await one.presence.leave(room_id, ["dan"], lost=["dan"])
    await two.rules.install(room_id, LOCKED, {}, Removal("dan", "creator", 0))
    assert await barred(two, room_id, DAN) == Barred(Bar.LOCKED), "who was removed meanwhile"


async def test_who_is_known_to_return_comes_back_unless_the_store_knows_better(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    room_id = await installed(one, LOCKED, BOB, CYD, DAN, EVE)
    assert await barred(two, room_id, ADA) == Barred(Bar.LOCKED)
    assert await barred(two, room_id, ADA, returns=True) is None
    await two.presence.leave(room_id, ["ada"], lost=["ada"])
    assert await barred(one, room_id, ADA) is None, "who has lost the connection once more"
    await one.presence.leave(room_id, ["ada"])
    assert await barred(two, room_id, ADA, returns=True) == Barred(Bar.LOCKED), "who came back and wanted to leave"
    await one.presence.leave(room_id, ["bob"])
    assert await barred(two, room_id, BOB, returns=True) == Barred(Bar.LOCKED), "who wanted to leave"
    await two.rules.install(room_id, LOCKED, {}, Removal("cyd", "creator", 0))
    assert await barred(two, room_id, CYD, returns=True) == Barred(Bar.LOCKED), "who was removed"
    await join(two, room_id, [CREATOR], rules=LOCKED)
    await two.presence.leave(room_id, ["creator"])
    await one.rules.install(room_id, replace(OPEN, version=3), {})
    await join(one, room_id, [ADA], rules=replace(OPEN, version=3))
    await vote(one, room_id, ADA, EVE)
    assert isinstance(ballot := await vote(one, room_id, DAN, EVE), Ballot)
    assert ballot.removed
    ended = replace(LOCKED, version=4)
    await two.rules.install(room_id, ended, {subject(EVE): two.clock.now()})
    while (bar := await barred(two, room_id, EVE, ended, returns=True)) is not None and bar.bar is Bar.BANNED:
        await trio.lowlevel.checkpoint()  # the clocks differ by a millisecond
    assert bar == Barred(Bar.LOCKED), "whom the members removed"


async def test_who_returns_is_kept_out_by_all_other_rules(backend: Backend) -> None:
    store = await backend.open()
    ends = store.clock.now() + DAY
    rules = replace(LOCKED, access=Access.INVITE)
    room_id = await installed(store, rules, **{subject(BOB): ends})
    assert await barred(store, room_id, BOB, rules, returns=True) == Barred(Bar.BANNED, ends)
    assert await barred(store, room_id, ADA, rules, returns=True) == Barred(Bar.UNINVITED)
    assert await barred(store, room_id, ADA, rules, returns=True, admitted=True) is None
    outcome = await store.presence.join(room_id, joiners(CYD, returns=True, admitted=True), 1, 10, rules)
    assert isinstance(outcome, JoinOutcome)
    assert outcome.barred == {"cyd": Barred(Bar.FULL)}


async def test_the_store_knows_since_when_it_remembers(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    await join(store, room_id, [ADA])
    before = store.presence.remembers_since(room_id)
    assert before <= store.clock.now()
    await join(store, room_id, [BOB])
    assert store.presence.remembers_since(room_id) == before
    again = await backend.open("two")
    await join(again, room_id, [BOB])
    assert again.presence.remembers_since(room_id) == before, "the memory of a server is another thing"
    backend.forget()

    async def comes_in() -> bool:
        try:
            await join(store, room_id, [CYD])
        except StoreUnavailable:
            return False
        return store.presence.remembers_since(room_id) > before

    await eventually(comes_in)
    assert store.presence.remembers_since(room_id) <= store.clock.now()


async def test_after_a_restart_all_come_back_to_a_locked_room(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    room_id = await installed(two, LOCKED, ADA, BOB, CYD)
    await two.presence.leave(room_id, ["cyd"])
    await backend.close(two)
    again = await backend.open("two")
    assert await barred(again, room_id, ADA) is None
    assert await barred(one, room_id, BOB) is None
    assert await barred(one, room_id, CYD) == Barred(Bar.LOCKED)


async def test_the_users_of_a_dead_server_come_back_to_a_locked_room(
    valkey: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    one = await valkey.open("one")
    room_id = await installed(one, LOCKED, BOB)
    # What a server leaves behind that was killed.
    state, at = (f"evanesce:{{{room_id}}}:{name}" for name in ("people", "at:dead.1"))
    valkey.client.hset(state, "ada", '1 "Ada"')
    valkey.client.hset(at, "ada", "")
    valkey.client.sadd("evanesce:{servers}:rooms:dead.1", room_id)
    valkey.client.zadd("evanesce:{servers}:leases", {"dead.1": 1})

    async def gone() -> bool:
        return (await one.presence.snapshot(room_id, 10)).members == (BOB,)

    await eventually(gone)
    assert await barred(one, room_id, ADA) is None
    assert await barred(one, room_id, CYD) == Barred(Bar.LOCKED)


async def test_a_leave_that_got_no_answer_is_known_for_what_it_was(valkey: RedisBackend) -> None:
    store = await valkey.open()
    room_id = await installed(store, LOCKED, ADA, BOB)
    valkey.client.execute_command("ACL", "SETUSER", "default", "-evalsha")
    for user_id, lost in (("ada", ["ada"]), ("bob", [])):
        with pytest.raises(StoreUnavailable):
            await store.presence.leave(room_id, [user_id], lost=lost)
    valkey.client.execute_command("ACL", "SETUSER", "default", "+evalsha")

    async def gone() -> bool:
        return await store.presence.counts([room_id]) == [0]

    await eventually(gone)
    assert await barred(store, room_id, BOB) == Barred(Bar.LOCKED)
    assert await barred(store, room_id, ADA) is None


async def test_how_long_users_may_come_back(autojump_clock: trio.testing.MockClock) -> None:
    store = memory_store()
    for seconds, expected in ((COME_BACK_SECONDS - 0.1, None), (COME_BACK_SECONDS, Barred(Bar.LOCKED))):
        room_id = await installed(store, LOCKED, ADA)
        await store.presence.leave(room_id, ["ada"], lost=["ada"])
        await trio.sleep(seconds)
        assert await barred(store, room_id, ADA) == expected


async def test_how_long_users_may_come_back_in_redis(valkey: RedisBackend) -> None:
    store = await valkey.open()
    room_id = await installed(store, LOCKED, ADA, BOB)
    away = f"evanesce:{{{room_id}}}:away"
    await store.presence.leave(room_id, ["ada"], lost=["ada"])
    assert COME_BACK_SECONDS * 1000 - 5_000 < valkey.client.zscore(away, "ada") - store.clock.now() <= 60_000
    valkey.client.zadd(away, {"ada": store.clock.now() - 1_000})
    assert await barred(store, room_id, ADA) == Barred(Bar.LOCKED)
    await store.presence.leave(room_id, ["bob"], lost=["bob"])
    assert valkey.client.zrange(away, 0, -1) == [b"bob"], "what has ended is forgotten"
