"""What the rules of a room are over several servers: the newest hold, and all are told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import trio
import trio.testing

from evanesce.model import Access
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
from evanesce.store.message_log import RoomClosed
from evanesce.store.presence import Bar, Barred, RulesMissing
from evanesce.store.rules import Removal, RoomRules
from tests.core.store.backends import Backend, RedisBackend, events, eventually, join, joiners, until
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
    of,
    subject,
    vote,
)
from tests.patience import PATIENCE


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
