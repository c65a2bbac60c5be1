"""What presence is over several servers, in memory, on one Redis and on a cluster."""

from __future__ import annotations

from uuid import uuid4

import pytest

from evanesce.store.events import Joined, Left, Renamed, Typing
from evanesce.store.presence import Bar, Barred, Member, PresenceSnapshot
from tests.core.store.backends import Backend, PresenceLog, events, join

pytestmark = pytest.mark.slow
ADA, BOB, CYD = Member("ada", "Ada"), Member("bob", "Bob"), Member("cyd", "Cyd")


async def test_people_are_counted_once_over_all_servers(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    async with one.events.follow(room_id, 10) as feed:
        outcome = await join(one, room_id, [ADA, BOB])
        presence = outcome.presence
        assert presence.members is not None
        assert (presence.count, set(presence.members), outcome.barred) == (2, {ADA, BOB}, {})
        for store, person in ((two, ADA), (one, Member("ada", "Another name"))):
            again = await join(store, room_id, [person])
            assert (again.presence, again.barred) == (presence, {})
        assert await one.presence.leave(room_id, ["ada", "nobody"]) == 2
        assert await two.presence.leave(room_id, ["ada"]) == 1
        first = presence.version
        assert await events(feed, 3) == [
            Joined(ADA, 1, first - 1),
            Joined(BOB, 2, first),
            Left("ada", 1, first + 1),
        ]
        assert await two.presence.snapshot(room_id, 10) == PresenceSnapshot(1, first + 1, (BOB,))
        assert await two.presence.counts([room_id, str(uuid4())]) == [1, 0]
        assert await two.presence.counts([]) == []


async def test_a_room_takes_as_many_as_its_capacity_says(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    outcome = await join(one, room_id, [ADA, BOB, CYD], 2)
    assert outcome.barred == {"cyd": Barred(Bar.FULL)}
    outcome = await join(two, room_id, [CYD, BOB], 2, 1)
    presence = outcome.presence
    assert (presence.count, presence.members, outcome.barred) == (2, None, {"cyd": Barred(Bar.FULL)})
    assert await two.presence.leave(room_id, ["cyd"]) == 2


async def test_a_new_name_is_told_once_however_many_say_so(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    await join(one, room_id, [ADA])
    outcome = await join(two, room_id, [ADA])
    async with one.events.follow(room_id, 10) as feed:
        new = Member("ada", 'Ada "Countess" Lovelace\n')
        for store in (one, two):
            await store.presence.rename(room_id, new)
            await store.presence.rename(room_id, Member("stranger", "X"))
        await one.events.typing(room_id, "ada")
        assert await events(feed, 2) == [Renamed(new, outcome.presence.version + 1), Typing("ada")]
    assert (await one.presence.snapshot(room_id, 10)).members == (new,)


async def test_a_server_that_stops_takes_its_people_along(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    await join(one, room_id, [ADA])
    await join(two, room_id, [ADA, BOB])
    async with one.events.follow(room_id, 10) as feed:
        await backend.close(two)
        [left] = await events(feed, 1)
    assert isinstance(left, Left)
    assert (left.user_id, left.count) == ("bob", 1)


async def test_one_server_is_told_of_each_change_over_all_servers(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    first, second = PresenceLog(one), PresenceLog(two)
    await join(one, room_id, [ADA, BOB])
    await join(two, room_id, [ADA, CYD])
    await join(two, room_id, [CYD])
    await one.presence.leave(room_id, ["ada", "bob", "nobody"])
    await two.presence.leave(room_id, ["ada"], lost=["ada"])
    assert first.told == [(room_id, {"ada", "bob"}, set()), (room_id, set(), {"bob"})]
    assert second.told == [(room_id, {"cyd"}, set()), (room_id, set(), {"ada"})]
