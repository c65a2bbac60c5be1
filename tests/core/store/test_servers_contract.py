"""What every message store does for several servers: presence, notices, duties, and who lives."""

from __future__ import annotations

from uuid import uuid4

import pytest
import trio

from evanesce.errors import StoreUnavailable
from evanesce.model import timestamp
from evanesce.store.base import (
    Departed,
    Entered,
    Gone,
    MessageStore,
    Person,
    Presence,
    Renamed,
    TokenRevoked,
    UserErased,
    UserRenamed,
    Writing,
)
from evanesce.store.redis import lease
from evanesce.testing import memory_store
from tests.core.store.backends import Backend, eventually, happenings

ADA, BOB, CYD = Person("ada", "Ada"), Person("bob", "Bob"), Person("cyd", "Cyd")


async def test_people_are_counted_once_over_all_servers(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    async with one.follow(room_id, 10) as feed:
        answer = await one.enter(room_id, [ADA, BOB], 10, 10)
        assert not isinstance(answer, Gone)
        presence, refused = answer
        assert presence.people is not None
        assert (presence.count, set(presence.people), refused) == (2, {ADA, BOB}, frozenset())
        again = await two.enter(room_id, [ADA], 10, 10)
        assert again == (presence, frozenset())
        assert await one.enter(room_id, [Person("ada", "Another name")], 10, 10) == (presence, frozenset())
        assert await one.leave(room_id, ["ada", "nobody"]) == 2
        assert await two.leave(room_id, ["ada"]) == 1
        first = presence.version
        assert await happenings(feed, 3) == [
            Entered(ADA, 1, first - 1),
            Entered(BOB, 2, first),
            Departed("ada", 1, first + 1),
        ]
        assert await two.presence(room_id, 10) == Presence(1, first + 1, (BOB,))
        assert await two.counts([room_id, str(uuid4())]) == [1, 0]
        assert await two.counts([]) == []


async def test_a_room_takes_as_many_as_its_capacity_says(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    answer = await one.enter(room_id, [ADA, BOB, CYD], 2, 10)
    assert not isinstance(answer, Gone)
    assert answer[1] == {"cyd"}
    answer = await two.enter(room_id, [CYD, BOB], 2, 1)
    assert not isinstance(answer, Gone)
    presence, refused = answer
    assert (presence.count, presence.people, refused) == (2, None, frozenset({"cyd"}))
    assert await two.leave(room_id, ["cyd"]) == 2


async def test_a_new_name_is_told_once_however_many_say_so(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    await one.enter(room_id, [ADA], 10, 10)
    answer = await two.enter(room_id, [ADA], 10, 10)
    assert not isinstance(answer, Gone)
    async with one.follow(room_id, 10) as feed:
        new = Person("ada", 'Ada "Countess" Lovelace\n')
        for store in (one, two):
            await store.rename(room_id, new)
            await store.rename(room_id, Person("stranger", "X"))
        await one.writing(room_id, "ada")
        assert await happenings(feed, 2) == [Renamed(new, answer[0].version + 1), Writing("ada")]
    assert (await one.presence(room_id, 10)).people == (new,)


async def test_a_server_that_stops_takes_its_people_along(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    await one.enter(room_id, [ADA], 10, 10)
    await two.enter(room_id, [ADA, BOB], 10, 10)
    async with one.follow(room_id, 10) as feed:
        await backend.close(two)
        [departed] = await happenings(feed, 1)
    assert isinstance(departed, Departed)
    assert (departed.user_id, departed.count) == ("bob", 1)


# Between servers


async def test_every_server_hears_notices(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    notices = [TokenRevoked("s"), UserErased("u"), UserRenamed("u", "Zoë")]
    with trio.fail_after(10):
        # A subscription takes a moment: who asks too early may lose some.
        with trio.move_on_after(0) as not_yet:
            await two.notices()
        while not_yet.cancelled_caught:
            await one.announce(TokenRevoked("probe"))
            with trio.move_on_after(0.1) as not_yet:
                while await two.notices() != TokenRevoked("probe"):
                    pass
        for notice in notices:
            await one.announce(notice)
        for store in (one, two):
            heard = [await store.notices()]
            while len(heard) < 3 or heard[-3:] != notices:
                heard.append(await store.notices())


async def test_what_is_put_is_taken_once(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    await one.put("key", b"\0value", 60)
    taken: list[bytes | None] = []

    async def take(store: MessageStore) -> None:
        taken.append(await store.take("key"))

    async with trio.open_nursery() as nursery:
        for store in (one, two, one, two):
            nursery.start_soon(take, store)
    assert (len(taken), taken.count(b"\0value"), taken.count(None)) == (4, 1, 3)
    await one.put("brief", b"x", 0.05)
    await trio.sleep(0.1)  # the key's time has to pass: there is nothing to wait for but it
    assert await two.take("brief") is None


async def test_a_store_that_works_says_so(backend: Backend) -> None:
    store = await backend.open()
    assert store.healthy
    assert await store.check()


@pytest.fixture
def brief_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases of 1 s."""
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(memory_store, "LEASE_SECONDS", 1.0)


async def lives(name: str, store: MessageStore) -> None:
    """Wait until `store` says that a server lives."""

    async def known() -> bool:
        servers = await store.servers() or {}
        return servers.get(name, "") > timestamp(store.now())

    await eventually(known)


@pytest.mark.usefixtures("brief_leases")
async def test_a_server_lives_under_a_name_of_its_own_until_it_ends(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    await lives(one.server_name, two)
    await lives(two.server_name, one)
    await backend.close(one)
    known = await two.servers()
    assert known is not None
    assert known[one.server_name] <= timestamp(two.now())
    again = await backend.open("one")
    assert again.server_name != one.server_name
    await lives(again.server_name, two)


@pytest.mark.usefixtures("brief_leases")
async def test_who_lives_is_not_known_right_after_the_memory_was_lost(backend: Backend) -> None:
    store, gone = await backend.open("one"), await backend.open("gone")
    await lives(gone.server_name, store)
    await backend.close(gone)
    backend.forget()

    async def unknown() -> bool:
        try:
            return await store.servers() is None
        except StoreUnavailable:
            return False

    await eventually(unknown)
    await lives(store.server_name, store)
    known = await store.servers()
    assert known is not None
    assert known.keys() == {store.server_name}


async def test_a_duty_is_one_servers_and_for_a_while(backend: Backend) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    assert [await store.claim("sweep", 0.2) for store in (one, two, one)] == [True, False, False]
    assert await two.claim("another", 60)

    async def free() -> bool:
        return await two.claim("sweep", 60)

    await eventually(free)
    assert not await one.claim("sweep", 60)
