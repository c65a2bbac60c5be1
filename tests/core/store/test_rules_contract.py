"""What the rules of rooms are over several servers: who may join, removals, mutes and votes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import ANY
from uuid import uuid4

import pytest
import redis
import trio
import trio.testing

from evanesce.errors import StoreUnavailable
from evanesce.model import Access
from evanesce.store import Store
from evanesce.store.events import (
    Joined,
    Left,
    MemberMuted,
    MemberRemoved,
    PresenceChanged,
    RoomEvent,
    RulesChanged,
    RulesUncertain,
    Typing,
    Voted,
)
from evanesce.store.memory import memory_store
from evanesce.store.memory import room as memory_room
from evanesce.store.memory import rules as memory_rules
from evanesce.store.message_log import Muted, Outcome, RoomClosed
from evanesce.store.presence import Bar, Barred, Joiner, JoinOutcome, Member, RulesMissing
from evanesce.store.redis import lease
from evanesce.store.redis import rules as redis_rules
from evanesce.store.redis.feed import RoomFeed
from evanesce.store.rules import (
    COME_BACK_SECONDS,
    MOST_MUTES,
    VOTE_BAN_SECONDS,
    VOTE_SECONDS,
    Ballot,
    Person,
    Removal,
    RoomRules,
    VoteRefused,
)
from tests.core.store.backends import (
    RULES,
    Backend,
    RedisBackend,
    draft,
    events,
    eventually,
    join,
    joiners,
    of_kind,
    until,
)
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow

CREATOR = Member(RULES.created_by, "Creator")
ADA, BOB, CYD, DAN, EVE = PEOPLE = [Member(name, name.title()) for name in ("ada", "bob", "cyd", "dan", "eve")]
LOCKED = replace(RULES, version=1, locked=True)
OPEN = replace(LOCKED, version=2, locked=False)
DAY = 86_400_000


def subject(person: Member) -> str:
    return joiners(person)[0].subject


def of(person: Member) -> Person:
    return Person(person.user_id, subject(person))


async def barred(store: Store, room_id: str, person: Member, rules: RoomRules = LOCKED, **more: Any) -> Barred | None:
    """Let one user join; return what keeps the user from that."""
    outcome = await store.presence.join(room_id, joiners(person, **more), 100, 10, rules)
    assert isinstance(outcome, JoinOutcome)
    return outcome.barred.get(person.user_id)


async def vote(store: Store, room_id: str, voter: Member, person: Member) -> Ballot | VoteRefused:
    outcome = await store.rules.vote(room_id, of(voter), of(person), CREATOR.user_id)
    assert not isinstance(outcome, RoomClosed)
    return outcome


async def installed(store: Store, rules: RoomRules, *people: Member, **bans: int) -> str:
    """Return a new room with rules, in which some people are."""
    room_id = str(uuid4())
    if people:
        await join(store, room_id, people)
    await store.rules.install(room_id, rules, bans)
    return room_id


# Who may join


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


# Rules


async def test_the_newest_rules_hold_and_are_told_once(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    newest = RoomRules(CREATOR.user_id, 90_000, 7, Access.INVITE, locked=True, encrypted=True)
    await join(one, room_id, [ADA, BOB])
    async with two.events.follow(room_id, 10) as feed:
        ends = one.clock.now() + DAY
        for rules, bans in (
            (replace(newest, version=0), {subject(CYD): ends}),  # the default rules are not kept
            (replace(newest, version=3, locked=False), {subject(CYD): ends}),
            (newest, {subject(DAN): ends}),
            (replace(newest, locked=False), {subject(EVE): ends}),
            (replace(newest, version=6, message_ttl=1), {subject(EVE): ends}),
        ):
            users = await one.rules.install(room_id, rules, bans)
            assert not isinstance(users, RoomClosed)
            assert set(users) == {"ada", "bob"}
        await one.events.typing(room_id, "end")
        first, *rest = await events(feed, 3)
        assert rest == [RulesChanged(newest), Typing("end")]
        assert isinstance(first, RulesChanged)
        assert first.rules.version == 3
    bars = {person.user_id: await barred(two, room_id, person, newest) for person in (CYD, DAN, EVE)}
    assert bars == {"cyd": Barred(Bar.LOCKED), "dan": Barred(Bar.BANNED, ends), "eve": Barred(Bar.LOCKED)}


async def test_a_caller_with_old_rules_gets_the_new_ones(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    newest = RoomRules(CREATOR.user_id, 90_000, 7, Access.INVITE, locked=True, encrypted=True)
    known = replace(newest, version=3, message_ttl=60_000, access=Access.LINK, locked=False)
    assert await store.rules.version(room_id) == 0
    await store.rules.install(room_id, newest, {})
    assert await store.rules.version(room_id) == 7
    assert (await join(store, room_id, [CREATOR], rules=known)).rules == newest
    assert (await join(store, room_id, [CREATOR], rules=replace(known, version=0))).rules == newest
    assert (await join(store, room_id, [CREATOR], rules=newest)).rules is None


async def test_a_store_with_older_rules_decides_nothing(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    async with store.events.follow(room_id, 10) as feed:
        assert await store.presence.join(room_id, joiners(ADA), 10, 10, LOCKED) == RulesMissing()
        await store.rules.install(room_id, LOCKED, {})
        assert await store.presence.join(room_id, joiners(CREATOR), 10, 10, OPEN) == RulesMissing()
        await store.rules.install(room_id, OPEN, {})
        assert await barred(store, room_id, ADA, OPEN) is None
        assert [type(event) for event in await events(feed, 3)] == [RulesChanged, RulesChanged, Joined]
    assert (await store.presence.snapshot(room_id, 10)).members == (ADA,)


async def test_a_store_that_lost_its_memory_has_no_rules(backend: Backend) -> None:
    store = await backend.open()
    room_id = await installed(store, LOCKED, ADA, **{subject(BOB): store.clock.now() + DAY})
    await store.rules.mute(room_id, "ada", 60)
    async with store.events.follow(room_id, 10) as feed:
        backend.forget()
        heard = await until(feed, RulesUncertain)
        shown = [place for place, event in enumerate(heard) if isinstance(event, PresenceChanged)]
        assert shown
        assert shown[-1] < next(place for place, event in enumerate(heard) if isinstance(event, RulesUncertain))
        await eventually(lambda: store.health.healthy)
        assert await store.rules.mutes(room_id) == {}
        assert await store.presence.join(room_id, joiners(BOB), 10, 10, LOCKED) == RulesMissing()
        users = await store.rules.install(room_id, LOCKED, {subject(BOB): store.clock.now() + DAY})
        assert users == ["ada"], "who is there is known again before the rules are"
        why = await barred(store, room_id, BOB)
        assert why is not None
        assert why.bar is Bar.BANNED
        await until(feed, RulesChanged)


async def test_a_closed_room_has_no_rules(backend: Backend) -> None:
    store = await backend.open()
    room_id = await installed(store, LOCKED, ADA, BOB, CYD, **{subject(DAN): store.clock.now() + DAY})
    await store.rules.mute(room_id, "ada", 60)
    await vote(store, room_id, ADA, BOB)
    await store.messages.close_room(room_id, "closed")
    assert await store.presence.join(room_id, joiners(ADA), 10, 10, OPEN) == RoomClosed()
    assert await store.rules.install(room_id, OPEN, {}, Removal("ada", "creator", 0)) == RoomClosed()
    assert await store.rules.mute(room_id, "ada", 60) == RoomClosed()
    assert await store.rules.vote(room_id, of(ADA), of(BOB), "creator") == RoomClosed()
    assert await store.rules.mutes(room_id) == {}
    await store.presence.leave(room_id, ["ada"], lost=["ada"])
    if isinstance(backend, RedisBackend):
        kinds = {key.decode().rpartition("}:")[2] for key in backend.client.scan_iter(f"*{room_id}*")}
        assert kinds <= {"state", f"vote:{subject(BOB)}"}, "a vote ends by itself"


# Removals


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


# Mutes


async def test_a_mute_is_told_and_ends(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    assert (await join(one, room_id, [ADA])).mutes == {}
    async with two.events.follow(room_id, 10) as feed:
        before = one.clock.now()
        ends = await one.rules.mute(room_id, "ada", 3_600)
        assert isinstance(ends, int)
        assert before + 3_590_000 < ends < before + 3_700_000
        soon = await two.rules.mute(room_id, "bob", 0.3)
        assert isinstance(soon, int)
        assert (await one.rules.mutes(room_id)).items() >= {("ada", ends)}
        assert (await join(two, room_id, [CYD])).mutes.items() >= {("ada", ends)}

        async def ended() -> bool:
            mutes = await two.rules.mutes(room_id), (await join(two, room_id, [CYD])).mutes
            return mutes == ({"ada": ends}, {"ada": ends})

        await eventually(ended)
        for _ in range(2):
            assert await two.rules.mute(room_id, "ada", 0) == 0
        assert await one.rules.mutes(room_id) == {}
        assert (await join(two, room_id, [CYD])).mutes == {}
        heard = of_kind(await events(feed, 5), MemberMuted)
    assert heard == [MemberMuted("ada", ends), MemberMuted("bob", soon), MemberMuted("ada", 0), MemberMuted("ada", 0)]


async def is_muted(store: Store, room_id: str, user_id: str) -> bool:
    [outcome] = await appended(store, room_id, user_id)
    return isinstance(outcome, Muted)


async def appended(store: Store, room_id: str, user_id: str) -> Sequence[Outcome]:
    outcomes = await store.messages.append(room_id, [draft(room_id, sender=user_id)])
    assert not isinstance(outcomes, RoomClosed)
    return outcomes


AGAIN = Joiner("ada-again", "Ada", subject(ADA))


@pytest.mark.parametrize("known", [True, False], ids=["subject known", "subject known from a join"])
@pytest.mark.parametrize("present", [True, False], ids=["present", "absent"])
async def test_a_mute_holds_for_the_person_with_another_account(
    backend: Backend, room_id: str, known: bool, present: bool
) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    if present:
        await join(one, room_id, [ADA])
    ends = await one.rules.mute(room_id, "ada", 3_600, subject(ADA) if known else None)
    if not known:
        await join(two, room_id, [ADA])
    await one.rules.mute(room_id, "bob", 3_600, subject(BOB))
    async with one.events.follow(room_id, 10) as feed:
        outcome = await two.presence.join(room_id, [AGAIN, *joiners(CYD)], 10, 10, RULES)
        assert isinstance(outcome, JoinOutcome)
        assert outcome.mutes["ada-again"] == ends
        assert outcome.mutes.keys() <= {"ada", "ada-again", "bob"}
        assert await one.rules.mutes(room_id) == outcome.mutes
        heard = await events(feed, 3)
        assert of_kind(heard, MemberMuted) == [MemberMuted("ada-again", ends)]
    assert [await is_muted(two, room_id, user) for user in ("ada", "ada-again", "cyd")] == [True, True, False]
    await one.rules.mute(room_id, "ada-again", 0, subject(ADA) if known else None)
    assert (await one.rules.mutes(room_id)).keys() == {"bob"}
    await two.presence.leave(room_id, ["ada-again"])
    outcome = await two.presence.join(room_id, [AGAIN, Joiner("another-ada", "Ada", subject(ADA))], 10, 10, RULES)
    assert isinstance(outcome, JoinOutcome)
    assert outcome.mutes.keys() == {"bob"}
    assert not await is_muted(one, room_id, "another-ada")


async def test_a_later_mute_is_that_of_all_accounts(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    await store.rules.mute(room_id, "ada", 3_600, subject(ADA))
    await store.presence.join(room_id, [AGAIN], 10, 10, RULES)
    sooner = await store.rules.mute(room_id, "ada-again", 1_800, subject(ADA))
    assert await store.rules.mutes(room_id) == {"ada-again": sooner}
    outcome = await store.presence.join(room_id, joiners(ADA), 10, 10, RULES)
    assert isinstance(outcome, JoinOutcome)
    assert outcome.mutes == {"ada": sooner, "ada-again": sooner}


async def test_mutes_at_the_same_time_are_of_different_people(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(store.rules.mute, room_id, f"user-{number}", 3_600, f"subject {number}")
    await store.rules.mute(room_id, "user-7", 0, "subject 7")
    assert (await store.rules.mutes(room_id)).keys() == {f"user-{number}" for number in range(50) if number != 7}


async def test_so_many_people_are_muted_in_a_room(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    async with trio.open_nursery() as nursery:
        for number in range(MOST_MUTES - 1):
            nursery.start_soon(store.rules.mute, room_id, f"user-{number}", 3_600, f"subject {number}")
    ends = await store.rules.mute(room_id, "soon", 0.3, "subject of soon")
    assert isinstance(ends, int)
    assert await store.rules.mute(room_id, "user-3", 7_200, "subject 3") is not None, "muted already"
    assert await store.rules.mute(room_id, "one-more", 0, "subject of another") == 0

    async def ended() -> bool:
        return await store.rules.mute(room_id, "one-more", 3_600, "subject of another") is not None

    async with store.events.follow(room_id, 10) as feed:
        await eventually(ended)
        assert store.clock.now() >= ends - 100  # it is an estimate
        assert await store.rules.mute(room_id, "too-many", 3_600, "subject of too many") is None
        await store.events.typing(room_id, "end")
        assert [type(event) for event in await events(feed, 2)] == [MemberMuted, Typing], "nobody hears of a refusal"
    assert not await is_muted(store, room_id, "too-many")
    assert len(await store.rules.mutes(room_id)) == MOST_MUTES


async def test_a_person_of_two_marks_is_one_who_is_muted(
    backend: Backend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mute without a subject is noted for the account, and for the person when the account joins."""
    for module in (memory_rules, redis_rules):
        monkeypatch.setattr(module, "MOST_MUTES", 2)
    store = await backend.open()
    assert isinstance(await store.rules.mute(room_id, "ada", 3_600), int)
    await join(store, room_id, [ADA])
    bobs = await store.rules.mute(room_id, "bob", 3_600, subject(BOB))
    assert isinstance(bobs, int), "one other person is muted"
    assert await store.rules.mute(room_id, "cyd", 3_600, subject(CYD)) is None
    for module in (memory_rules, redis_rules):
        monkeypatch.setattr(module, "MOST_MUTES", 1)
    assert await store.rules.mute(room_id, "bob", 7_200, subject(BOB)) is None
    assert (await store.rules.mutes(room_id))["bob"] == bobs, "a mute that is refused ends none"


async def test_who_follows_a_room_is_not_told_its_mutes_with_every_join(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    await store.rules.mute(room_id, "ada", 3_600)
    for follows in (False, True):
        outcome = await store.presence.join(room_id, joiners(BOB), 10, 10, RULES, follows=follows)
        assert isinstance(outcome, JoinOutcome)
        assert outcome.mutes.keys() == (set() if follows else {"ada"})


# Votes


async def test_how_many_votes_are_needed(backend: Backend) -> None:
    """More than half of those who are present without the person in question, and at least two."""
    one, two = await backend.open("one"), await backend.open("two")
    for others, needed in ((2, 2), (3, 2), (4, 3), (5, 3), (6, 4)):
        voters = [Member(f"voter {number}", "V") for number in range(others)]
        room_id = await installed(one, LOCKED, ADA, *voters)
        async with two.events.follow(room_id, 10) as feed:
            ballots = [await vote((one, two)[n % 2], room_id, voter, ADA) for n, voter in enumerate(voters[:needed])]
            *heard, left = await events(feed, needed + 2)
        assert all(isinstance(ballot, Ballot) for ballot in ballots)
        expires_at = ballots[0].expires_at if isinstance(ballots[0], Ballot) else 0
        now = one.clock.now()
        assert now + VOTE_SECONDS * 1000 - 10_000 < expires_at <= now + VOTE_SECONDS * 1000
        last = ballots[-1]
        assert isinstance(last, Ballot)
        expected = [Ballot("ada", n, needed, expires_at) for n in range(1, needed)]
        expected.append(Ballot("ada", needed, needed, expires_at, last.until))
        assert ballots == expected
        assert heard[:-1] == [Voted(ballot) for ballot in expected]
        [*_, removed] = heard
        assert isinstance(removed, MemberRemoved)
        ends = removed.at + VOTE_BAN_SECONDS * 1000
        assert removed.removal == Removal("ada", "vote", ends)
        assert last.until == ends
        assert isinstance(left, Left)
        assert await barred(two, room_id, ADA) == Barred(Bar.BANNED, ends)


@pytest.mark.parametrize("there", [True, False], ids=["person is there", "person has left"])
@pytest.mark.parametrize("creator", [False, True], ids=["creator has left", "creator is there"])
@pytest.mark.parametrize("others", range(1, 5))
async def test_a_vote_counts_who_is_present(backend: Backend, others: int, there: bool, creator: bool) -> None:
    """Also where the person in question, or the creator, has left or come since the vote began."""
    store = await backend.open()
    voters = [Member(f"voter {number}", "V") for number in range(others)]
    more = [Member(f"gone {number}", "G") for number in range(2)]
    room_id = await installed(store, OPEN, ADA, *voters, *more)
    assert isinstance(await vote(store, room_id, voters[0], ADA), Ballot)
    await store.presence.leave(room_id, [one.user_id for one in more] + ([] if there else ["ada"]))
    if creator:
        await join(store, room_id, [CREATOR], rules=OPEN)
    outcome = await vote(store, room_id, voters[0], ADA)
    if creator:
        assert outcome == VoteRefused.CREATOR
    elif others + there < 3:
        assert outcome == VoteRefused.TOO_FEW
    else:
        assert isinstance(outcome, Ballot)
        assert (outcome.votes, outcome.needed) == (1, max(2, others // 2 + 1))


async def test_only_a_vote_decides_a_vote_and_by_who_is_there_then(backend: Backend, room_id: str) -> None:
    """Who leaves, or loses the connection, has not voted."""
    store = await backend.open()
    people = [*PEOPLE, Member("fay", "Fay"), Member("gus", "Gus")]
    await join(store, room_id, people)
    async with store.events.follow(room_id, 10) as feed:
        first = await vote(store, room_id, BOB, ADA)
        second = await vote(store, room_id, CYD, ADA)
        assert isinstance(first, Ballot)
        assert second == replace(first, votes=2, needed=4)
        await store.presence.leave(room_id, ["dan", "eve", "fay"], lost=["dan", "eve", "fay"])
        await store.events.typing(room_id, "end")
        kinds = [type(event) for event in await events(feed, 6)]
        assert kinds == [Voted, Voted, Left, Left, Left, Typing], "two of three are enough, but nobody has voted"
        ended = await vote(store, room_id, CYD, ADA)
        assert isinstance(ended, Ballot)
        assert (ended.votes, ended.needed, ended.removed) == (2, 2, True)
        removed = MemberRemoved(Removal("ada", "vote", ended.until), ANY)
        assert await events(feed, 3) == [Voted(ended), removed, Left("ada", 3, ANY)]


async def test_a_voter_with_another_account_has_one_vote(backend: Backend, room_id: str) -> None:
    """Also as long as the server that has the connection of the erased account does not know that it ends."""
    store = await backend.open()
    await join(store, room_id, PEOPLE)
    first = await vote(store, room_id, BOB, ADA)
    assert isinstance(first, Ballot)
    await join(store, room_id, [Member("bob-again", "Bob")])
    anew = await store.rules.vote(room_id, Person("bob-again", subject(BOB)), of(ADA), CREATOR.user_id)
    assert anew == replace(first, votes=1, needed=3)
    await store.presence.leave(room_id, ["bob"])
    anew = await store.rules.vote(room_id, Person("bob-again", subject(BOB)), of(ADA), CREATOR.user_id)
    assert anew == first


async def test_the_person_in_question_does_not_escape_by_another_account(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    await join(store, room_id, [ADA, BOB, CYD, DAN])
    first = await vote(store, room_id, BOB, ADA)
    assert isinstance(first, Ballot)
    await store.presence.leave(room_id, ["ada"])
    again = Person("ada-again", subject(ADA))
    await join(store, room_id, [Member("ada-again", "Ada")])
    outcome = await store.rules.vote(room_id, again, again, CREATOR.user_id)
    assert outcome == replace(first, user_id="ada-again"), "the person in question has no vote"
    ended = await store.rules.vote(room_id, of(CYD), again, CREATOR.user_id)
    assert isinstance(ended, Ballot)
    assert (ended.user_id, ended.votes, ended.expires_at) == ("ada-again", 2, first.expires_at)
    assert ended.removed
    why = await barred(store, room_id, ADA, RULES)
    assert why is not None
    assert why.bar is Bar.BANNED


async def running(store: Store, room_id: str, *, follows: bool = False) -> Sequence[Ballot]:
    """Return the votes that somebody is told of who joins."""
    outcome = await store.presence.join(
        room_id, [Joiner("new", "New", "subject of new")], 100, 10, RULES, follows=follows
    )
    assert isinstance(outcome, JoinOutcome)
    await store.presence.leave(room_id, ["new"])
    return outcome.votes


async def test_who_joins_is_told_the_votes_that_run(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    await join(one, room_id, PEOPLE)
    assert await running(two, room_id) == []
    first = await vote(one, room_id, BOB, ADA)
    second = await vote(one, room_id, BOB, CYD)
    assert sorted(await running(two, room_id), key=lambda ballot: ballot.user_id) == [first, second]
    assert await running(two, room_id, follows=True) == []
    first = await vote(one, room_id, DAN, ADA)
    assert sorted(await running(two, room_id), key=lambda ballot: ballot.user_id) == [first, second]
    last = await vote(one, room_id, EVE, ADA)
    assert isinstance(last, Ballot)
    assert last.removed
    assert await running(two, room_id) == [second]
    kept = sorted(await two.rules.votes(room_id), key=lambda ballot: ballot.user_id)
    assert kept == [last, second], "who has missed the removal reads it"
    await one.messages.close_room(room_id, "closed")


async def test_so_many_votes_are_told_to_who_joins(
    backend: Backend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (memory_room, redis_rules):
        monkeypatch.setattr(module, "MOST_TOLD", 2)
    for module in (memory_rules, redis_rules):
        monkeypatch.setattr(module, "VOTE_SECONDS", 4)
    store = await backend.open()
    await join(store, room_id, PEOPLE)
    ballots = [await vote(store, room_id, BOB, person) for person in (ADA, CYD, DAN)]
    told = sorted(await running(store, room_id), key=lambda ballot: ballot.user_id)
    assert told == ballots[:2]
    third = await vote(store, room_id, EVE, DAN)
    assert isinstance(third, Ballot)
    assert third.votes == 2, "it counts all the same"

    await eventually(lambda: store.clock.now() > third.expires_at + 100)  # what a server knows of the store's clock
    assert await running(store, room_id) == []
    again = await vote(store, room_id, BOB, DAN)
    assert await running(store, room_id) == [again]


async def test_which_votes_are_refused(backend: Backend) -> None:
    store = await backend.open()
    three = [ADA, BOB, CYD]
    for people, voter, person, expected in (
        (three, DAN, ADA, VoteRefused.NOT_MEMBER),
        (three, ADA, DAN, VoteRefused.ABSENT),
        ([*three, CREATOR], ADA, BOB, VoteRefused.CREATOR),
        ([*three, CREATOR], ADA, CREATOR, VoteRefused.CREATOR),
        (three, ADA, CREATOR, VoteRefused.CREATOR),
        ([ADA, BOB], ADA, BOB, VoteRefused.TOO_FEW),
        ([ADA, BOB, CREATOR], DAN, CREATOR, VoteRefused.NOT_MEMBER),
        ([ADA, BOB, CREATOR], ADA, DAN, VoteRefused.ABSENT),
        ([ADA, CREATOR], ADA, CREATOR, VoteRefused.CREATOR),
    ):
        room_id = await installed(store, OPEN, *people)
        async with store.events.follow(room_id, 10) as feed:
            assert await vote(store, room_id, voter, person) == expected
            await store.events.typing(room_id, "end")
            assert await events(feed, 1) == [Typing("end")]
    room_id = await installed(store, OPEN, *three, **{subject(BOB): store.clock.now() + DAY})
    assert await vote(store, room_id, ADA, BOB) == VoteRefused.ABSENT, "who is banned is about to leave"


async def test_a_person_has_one_vote_for_as_long_as_they_are_there(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    await join(store, room_id, PEOPLE)
    async with store.events.follow(room_id, 10) as feed:
        first = await vote(store, room_id, BOB, ADA)
        assert isinstance(first, Ballot)
        assert (first.votes, first.needed, first.removed) == (1, 3, False)
        assert await vote(store, room_id, BOB, ADA) == first
        assert await vote(store, room_id, ADA, ADA) == first, "the person in question has none"
        assert await vote(store, room_id, CYD, ADA) == replace(first, votes=2)
        await store.presence.leave(room_id, ["bob"])
        ended = await vote(store, room_id, DAN, ADA)
        assert isinstance(ended, Ballot)
        assert ended.removed
        assert ended == replace(first, votes=2, needed=2, until=ended.until)
        heard = await events(feed, 7)
    assert [type(event) for event in heard] == [Voted, Voted, Voted, Left, Voted, MemberRemoved, Left]


async def test_leaving_does_not_end_a_vote(backend: Backend) -> None:
    store = await backend.open()
    room_id = await installed(store, LOCKED, ADA, BOB, CYD, DAN)
    await vote(store, room_id, BOB, ADA)
    await store.presence.leave(room_id, ["ada"], lost=["ada"])
    ballot = await vote(store, room_id, CYD, ADA)
    assert isinstance(ballot, Ballot)
    assert ballot.removed
    why = await barred(store, room_id, ADA)
    assert why is not None
    assert why.bar is Bar.BANNED
    await store.rules.install(
        room_id, replace(LOCKED, version=2), {subject(ADA): ballot.until - VOTE_BAN_SECONDS * 1000}
    )
    later = await barred(store, room_id, ADA, replace(LOCKED, version=2))
    assert later == Barred(Bar.LOCKED), "who was removed does not come back"


async def test_who_asks_again_hears_how_the_vote_has_ended(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    await join(store, room_id, [ADA, BOB, CYD, DAN])
    await vote(store, room_id, BOB, ADA)
    async with store.events.follow(room_id, 10) as feed:
        ended = await vote(store, room_id, CYD, ADA)
        assert await vote(store, room_id, CYD, ADA) == ended
        assert await vote(store, room_id, DAN, ADA) == VoteRefused.ABSENT
        assert isinstance(ended, Ballot)
        await store.rules.install(room_id, OPEN, {subject(ADA): ended.until - VOTE_BAN_SECONDS * 1000})
        assert await barred(store, room_id, ADA, OPEN) is None
        again = await vote(store, room_id, CYD, ADA)
        assert isinstance(again, Ballot)
        assert (again.votes, again.removed) == (1, False), "another vote begins"
        assert [type(event) for event in await events(feed, 6)] == [
            Voted,
            MemberRemoved,
            Left,
            RulesChanged,
            Joined,
            Voted,
        ]


async def test_the_database_takes_over_the_ban_of_a_vote(backend: Backend) -> None:
    store = await backend.open()
    room_id = await installed(store, OPEN, ADA, BOB, CYD)
    await vote(store, room_id, BOB, ADA)
    await vote(store, room_id, CYD, ADA)
    await store.rules.install(room_id, replace(OPEN, version=3), {subject(DAN): store.clock.now() + DAY})
    why = await barred(store, room_id, ADA, OPEN)
    assert why is not None
    assert why.until <= store.clock.now() + VOTE_BAN_SECONDS * 1000
    ends = store.clock.now() + DAY
    await store.rules.install(room_id, replace(OPEN, version=4), {subject(ADA): ends})
    assert await barred(store, room_id, ADA, OPEN) == Barred(Bar.BANNED, ends)
    await store.rules.install(room_id, replace(OPEN, version=5), {})
    assert await barred(store, room_id, ADA, OPEN) is None


@pytest.mark.parametrize("ended", [-2, -1, 0, 1])
async def test_what_has_ended_takes_the_place_of_no_later_vote(backend: Backend, ended: int) -> None:
    """Whatever was written of a person before the vote, as long as the database does not have the ban of the vote."""
    store = await backend.open()
    room_id = await installed(store, OPEN, ADA, BOB, CYD)
    await vote(store, room_id, BOB, ADA)
    ballot = await vote(store, room_id, CYD, ADA)
    assert isinstance(ballot, Ballot)
    voted_at = ballot.until - VOTE_BAN_SECONDS * 1000
    await eventually(lambda: store.clock.now() > voted_at + 50)  # it is an estimate
    newer = replace(OPEN, version=3)
    await store.rules.install(room_id, newer, {subject(ADA): voted_at + ended, subject(DAN): voted_at + ended})
    expected = Barred(Bar.BANNED, ballot.until) if ended < 0 else None
    assert await barred(store, room_id, ADA, newer) == expected
    assert await barred(store, room_id, DAN, newer) is None


async def test_a_vote_ends_after_its_time(autojump_clock: trio.testing.MockClock) -> None:
    store = memory_store()
    room_id = await installed(store, OPEN, ADA, BOB, CYD)
    await vote(store, room_id, BOB, ADA)
    await trio.sleep(VOTE_SECONDS)
    later = await vote(store, room_id, CYD, ADA)
    assert isinstance(later, Ballot)
    assert (later.votes, later.removed) == (1, False)


async def test_two_last_votes_at_once_remove_once(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    for turn in range(60):
        room_id = str(uuid4())
        await join(one, room_id, [ADA, BOB, CYD, DAN])
        await vote(one, room_id, BOB, ADA)
        outcomes: list[Ballot | VoteRefused] = []

        async def cast(store: Store, voter: Member, to: list[Ballot | VoteRefused], room: str) -> None:
            to.append(await vote(store, room, voter, ADA))

        async with one.events.follow(room_id, 10) as feed:
            async with trio.open_nursery() as nursery:
                for store, voter in [(one, CYD), (two, DAN)][:: 1 if turn % 2 else -1]:
                    nursery.start_soon(cast, store, voter, outcomes, room_id)
            assert [type(event) for event in await events(feed, 3)] == [Voted, MemberRemoved, Left]
        ballots = [outcome for outcome in outcomes if isinstance(outcome, Ballot)]
        assert [ballot.removed for ballot in ballots] == [True]
        assert [outcome for outcome in outcomes if not isinstance(outcome, Ballot)] == [VoteRefused.ABSENT]


async def test_a_vote_is_before_the_creator_comes_or_refused(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    outcome: Any = None
    seen: set[bool] = set()

    async def cast(room_id: str) -> None:
        nonlocal outcome
        outcome = await vote(one, room_id, CYD, ADA)

    async def come(room_id: str) -> None:
        for _ in range(turn // 2 % 3):  # a vote needs more than one round trip
            await two.presence.counts([room_id])
        await join(two, room_id, [CREATOR])

    for turn in range(60):
        room_id = str(uuid4())
        await join(one, room_id, [ADA, BOB, CYD])
        await vote(one, room_id, BOB, ADA)
        async with one.events.follow(room_id, 10) as feed:
            async with trio.open_nursery() as nursery:
                for act in (cast, come) if turn % 2 else (come, cast):
                    nursery.start_soon(act, room_id)
            removed = outcome != VoteRefused.CREATOR
            seen.add(removed)
            expected = [Voted, MemberRemoved, Left, Joined] if removed else [Joined]
            assert [type(event) for event in await events(feed, len(expected))] == expected
    assert seen == {False, True}


# What is lost on the way


async def test_after_a_lost_subscription_the_rules_are_uncertain(valkey: RedisBackend) -> None:
    store = await valkey.open()
    room_id = await installed(store, LOCKED, ADA)
    async with store.events.follow(room_id, 10) as feed:
        valkey.client.client_kill_filter(_type="pubsub")
        heard = await until(feed, RulesUncertain)
        while not of_kind(heard, PresenceChanged):
            heard += await feed.next()
        assert isinstance(heard[-1], RulesUncertain), "who is there is told first"


async def test_rules_that_were_installed_unheard_are_found(valkey: RedisBackend) -> None:
    store = await valkey.open()
    room_id = await installed(store, LOCKED, ADA)
    state = f"evanesce:{{{room_id}}}:state"
    async with store.events.follow(room_id, 10) as feed:
        assert isinstance(feed, RoomFeed)
        valkey.client.hset(state, "rv", 5)
        for _ in range(2):
            feed.look()
        assert await events(feed, 1) == [RulesUncertain()]
        await store.rules.install(room_id, replace(LOCKED, version=6), {})
        for _ in range(3):
            feed.look()
        assert [type(event) for event in await events(feed, 1)] == [RulesChanged], "known by then"
        valkey.client.hset(state, "rv", 7)
        _gap(valkey.client, room_id)
        assert [type(event) for event in await events(feed, 2)] == [PresenceChanged, RulesUncertain]


def _gap(client: redis.Redis, room_id: str) -> None:
    """Publish an event of presence before which another one is missing."""
    epoch = client.hget(f"evanesce:{{{room_id}}}:state", "epoch")
    version = client.hincrby(f"evanesce:{{{room_id}}}:state", "v", 2)
    assert isinstance(epoch, bytes)
    payload = epoch + f"\nd 1 {version} somebody".encode()
    client.execute_command("SPUBLISH", f"evanesce:{{{room_id}}}:events", payload)


@pytest.mark.parametrize(
    "line",
    [
        "o 3 60000 link 0 0",
        "o 3 60000 nobody 0 0 creator",
        "o 3 60000 link yes 0 creator",
        "o three 60000 link 0 0 creator",
        "o 3 60000 link 0 0 creator more",
        "k 1 0 ada",
        "k 1 0 ada vote",
        'k soon 0 ada "vote"',
        "q 1",
        "q soon ada",
        "q 1 ada more",
        "q -1 ada",
        "q 99999999999999999 ada",
        "b 1 2 3 0",
        "b 1 2 3 -1 ada",
        "b 1 2 3 0 ada more",
    ],
)
async def test_a_malformed_line_counts_as_lost(valkey: RedisBackend, room_id: str, line: str) -> None:
    store = await valkey.open()
    async with store.events.follow(room_id, 10) as feed:
        epoch = valkey.client.hget(f"evanesce:{{{room_id}}}:state", "epoch")
        assert isinstance(epoch, bytes)
        channel = f"evanesce:{{{room_id}}}:events"
        valkey.client.execute_command("SPUBLISH", channel, epoch + f"\n{line}".encode())
        assert [type(event) for event in await events(feed, 2)] == [PresenceChanged, RulesUncertain]


# What Redis holds


async def test_bans_that_expired_before_the_room_are_installed_again(valkey: RedisBackend) -> None:
    store = await valkey.open()
    bans = {subject(ADA): store.clock.now() + 30 * DAY}
    room_id = await installed(store, OPEN, **bans)
    key = f"evanesce:{{{room_id}}}:bans"
    kept = valkey.client.pttl(key)
    assert kept <= 2 * DAY, "no longer than the room"
    valkey.client.pexpire(key, 60_000)
    assert await barred(store, room_id, BOB, OPEN) is None
    assert valkey.client.pttl(key) > kept - 60_000, "a join renews it"
    valkey.client.delete(key)
    assert await store.presence.join(room_id, joiners(ADA), 10, 10, OPEN) == RulesMissing()
    await store.rules.install(room_id, OPEN, bans)
    assert await barred(store, room_id, ADA, OPEN) == Barred(Bar.BANNED, bans[subject(ADA)])


async def test_sets_have_a_bound(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    await join(store, room_id, [ADA])
    now = store.clock.now()
    for name, act in (
        ("mutes", lambda: store.rules.mute(room_id, "ada", 60)),
        ("away", lambda: store.presence.leave(room_id, ["ada"], lost=["ada"])),
    ):
        key = f"evanesce:{{{room_id}}}:{name}"
        valkey.client.zadd(key, {f"user {number}": now + 10_000 + number for number in range(10_002)})
        await act()
        assert valkey.client.zcard(key) == 10_000
        assert valkey.client.zrange(key, -1, -1) == [b"ada"]
        assert valkey.client.zscore(key, "user 2") is None, "the first to end go"


async def test_a_room_without_rules_costs_a_join_nothing_more(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()

    async def calls(rules: RoomRules) -> dict[str, int]:
        """Return how often Redis runs each command for a join of two; the server's other tasks may add some."""
        counts: list[dict[str, int]] = []
        for _ in range(5):
            valkey.client.config_resetstat()
            await join(store, room_id, [ADA, BOB], rules=rules)
            stats: dict[str, Any] = valkey.client.info("commandstats")
            names = ("zscore", "zrangebyscore", "zadd", "pexpire", "hmget", "hget", "hexists")
            counts.append({name: stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names})
            await store.presence.leave(room_id, ["ada", "bob"])
        return {name: least for name in counts[0] if (least := min(count[name] for count in counts))}

    await store.messages.append(room_id, [draft(room_id)])  # it has a state
    assert await calls(RULES) == {"hmget": 1, "hget": 2, "hexists": 2}
    await store.rules.install(room_id, OPEN, {subject(DAN): store.clock.now() + DAY})
    assert await calls(OPEN) == {"hmget": 1, "hget": 2, "hexists": 2, "zscore": 2, "pexpire": 1}


async def test_what_leaving_costs(valkey: RedisBackend, room_id: str) -> None:
    """The server's other tasks may add some commands."""
    store = await valkey.open()
    names = ("zadd", "zremrangebyscore", "zcard", "zrange", "zrangebyscore", "zrem", "pexpire")
    noted = {"zadd": 1, "zremrangebyscore": 1, "zcard": 1, "pexpire": 1}
    for rules, lost, expected in (
        (RULES, ["ada"], noted),
        (RULES, [], {"zrem": 1}),
        (OPEN, ["ada"], noted),
        (OPEN, [], noted | {"zrem": 1}),
    ):
        if rules.version:
            await store.rules.install(room_id, rules, {})
        counts: list[dict[str, int]] = []
        for _ in range(5):
            await join(store, room_id, [ADA, BOB], rules=rules)
            valkey.client.config_resetstat()
            await store.presence.leave(room_id, ["ada"], lost=lost)
            stats: dict[str, Any] = valkey.client.info("commandstats")
            counts.append({name: stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names})
        assert {name: least for name in names if (least := min(count[name] for count in counts))} == expected


async def test_followers_on_all_servers_hear_the_same(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    heard: tuple[list[RoomEvent], list[RoomEvent]] = ([], [])
    async with one.events.follow(room_id, 10) as here, two.events.follow(room_id, 10) as there:
        here.deliver_to(heard[0].extend)
        there.deliver_to(heard[1].extend)
        async with trio.open_nursery() as nursery:

            async def listen(feed: Any, to: list[RoomEvent]) -> None:
                while True:
                    to.extend(await feed.next())

            nursery.start_soon(listen, here, heard[0])
            nursery.start_soon(listen, there, heard[1])
            await join(one, room_id, [ADA, BOB, CYD])
            await two.rules.mute(room_id, "ada", 60)
            await vote(one, room_id, ADA, BOB)
            await two.rules.install(room_id, LOCKED, {}, Removal("cyd", "creator", 0))
            with trio.fail_after(PATIENCE):
                await eventually(lambda: len(heard[0]) == len(heard[1]) == 8)
            nursery.cancel_scope.cancel()
    assert heard[0] == heard[1]
    kinds = [Joined, Joined, Joined, MemberMuted, Voted, RulesChanged, MemberRemoved, Left]
    assert [type(event) for event in heard[0]] == kinds
