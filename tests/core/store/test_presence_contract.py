"""What presence is over several servers, in memory, on one Redis and on a cluster."""

from __future__ import annotations

from uuid import uuid4

import pytest

from evanesce.store.events import Joined, Left, Renamed, Typing
from evanesce.store.message_log import RoomClosed
from evanesce.store.presence import Member, PresenceSnapshot
from tests.core.store.backends import Backend, events

pytestmark = pytest.mark.slow
ADA, BOB, CYD = Member("ada", "Ada"), Member("bob", "Bob"), Member("cyd", "Cyd")


async def test_people_are_counted_once_over_all_servers(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    async with one.events.follow(room_id, 10) as feed:
        answer = await one.presence.join(room_id, [ADA, BOB], 10, 10)
        assert not isinstance(answer, RoomClosed)
        presence, refused = answer
        assert presence.members is not None
        assert (presence.count, set(presence.members), refused) == (2, {ADA, BOB}, frozenset())
        again = await two.presence.join(room_id, [ADA], 10, 10)
        assert again == (presence, frozenset())
        assert await one.presence.join(room_id, [Member("ada", "Another name")], 10, 10) == (presence, frozenset())
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
    answer = await one.presence.join(room_id, [ADA, BOB, CYD], 2, 10)
    assert not isinstance(answer, RoomClosed)
    assert answer[1] == {"cyd"}
    answer = await two.presence.join(room_id, [CYD, BOB], 2, 1)
    assert not isinstance(answer, RoomClosed)
    presence, refused = answer
    assert (presence.count, presence.members, refused) == (2, None, frozenset({"cyd"}))
    assert await two.presence.leave(room_id, ["cyd"]) == 2


async def test_a_new_name_is_told_once_however_many_say_so(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    await one.presence.join(room_id, [ADA], 10, 10)
    answer = await two.presence.join(room_id, [ADA], 10, 10)
    assert not isinstance(answer, RoomClosed)
    async with one.events.follow(room_id, 10) as feed:
        new = Member("ada", 'Ada "Countess" Lovelace\n')
        for store in (one, two):
            await store.presence.rename(room_id, new)
            await store.presence.rename(room_id, Member("stranger", "X"))
        await one.events.typing(room_id, "ada")
        assert await events(feed, 2) == [Renamed(new, answer[0].version + 1), Typing("ada")]
    assert (await one.presence.snapshot(room_id, 10)).members == (new,)


async def test_a_server_that_stops_takes_its_people_along(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    await one.presence.join(room_id, [ADA], 10, 10)
    await two.presence.join(room_id, [ADA, BOB], 10, 10)
    async with one.events.follow(room_id, 10) as feed:
        await backend.close(two)
        [left] = await events(feed, 1)
    assert isinstance(left, Left)
    assert (left.user_id, left.count) == ("bob", 1)
