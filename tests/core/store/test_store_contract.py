"""What every message store does with messages, run over the one in memory and those on real Valkeys."""

from __future__ import annotations

from uuid import uuid4

import pytest
import trio

from evanesce.errors import StoreUnavailable
from evanesce.model import milliseconds
from evanesce.store.base import (
    Closed,
    Conflict,
    Gone,
    Lost,
    MessageStore,
    MessageWithdrawn,
    Person,
    Positioned,
    PresenceChanged,
    Stored,
    Writing,
)
from tests.core.store.backends import Backend, draft, eventually, happenings, of_kind, until

ADA, BOB, CYD = Person("ada", "Ada"), Person("bob", "Bob"), Person("cyd", "Cyd")
ALL = 1_000, 10_000_000
"""Most messages, most bytes: more than any test here has."""


async def send(store: MessageStore, room_id: str, *contents: str) -> list[str]:
    drafts = [draft(room_id, content) for content in contents]
    answers = await store.append(room_id, drafts)
    assert not isinstance(answers, Gone)
    assert all(isinstance(answer, Stored) and not answer.duplicate for answer in answers)
    return [each.message_id for each in drafts]


async def contents(store: MessageStore, room_id: str, since: str | None = None) -> list[str]:
    history = await store.history(room_id, since, *ALL)
    assert not isinstance(history, Gone)
    return [each.message.content for each in history.messages]


async def expired(store: MessageStore, room_id: str) -> None:
    """Wait until nothing is alive in a room."""

    async def nothing() -> bool:
        return not await contents(store, room_id)

    await eventually(nothing)


# Messages


async def test_a_message_lives_for_the_ttl_of_the_stores_clock(backend: Backend, room_id: str) -> None:
    store = await backend.open(ttl=60)
    mine = draft(room_id, 'שלום 👩‍👩‍👧 \n \t "quoted" \\ \u2028')
    async with store.follow(room_id, 10) as feed:
        answers = await store.append(room_id, [mine])
        assert not isinstance(answers, Gone)
        [stored] = answers
        assert isinstance(stored, Stored)
        assert not stored.duplicate
        assert milliseconds(stored.expires_at) - milliseconds(stored.created_at) == 60_000
        [given] = await happenings(feed, 1)
        assert isinstance(given, Positioned)
    message = given.message
    assert (message.message_id, message.room_id, message.content) == (mine.message_id, room_id, mine.content)
    assert (message.sender_id, message.sender_name) == ("ada", "Ada")
    assert (message.created_at, message.expires_at) == (stored.created_at, stored.expires_at)
    assert store.now() >= milliseconds(message.created_at)
    assert 58 < given.deadline - trio.current_time() <= 60


async def test_order_numbers_and_cursors_follow_one_another(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    async with store.follow(room_id, 10) as feed:
        await send(store, room_id, "1", "2", "3")
        await send(store, room_id, "4")
        given = of_kind(await happenings(feed, 4), Positioned)
    assert [each.message.content for each in given] == ["1", "2", "3", "4"]
    first = given[0].number
    assert [each.number for each in given] == [first, first + 1, first + 2, first + 3]
    assert len({each.cursor for each in given}) == 4


async def test_a_repeated_id_is_stored_and_published_once(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    mine = draft(room_id)
    async with store.follow(room_id, 10) as feed:
        first = await store.append(room_id, [mine, mine])
        again = await store.append(room_id, [draft(room_id, "changed", message_id=mine.message_id)])
        await send(store, room_id, "after")
        given = of_kind(await happenings(feed, 2), Positioned)
    assert not isinstance(first, Gone)
    assert not isinstance(again, Gone)
    times = first[0]
    assert isinstance(times, Stored)
    assert [first[1], again[0]] == [Stored(times.created_at, times.expires_at, duplicate=True)] * 2
    assert [each.message.content for each in given] == ["hello", "after"]


async def test_an_id_of_somebody_elses_or_of_a_withdrawn_message_conflicts(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    mine = draft(room_id)
    await store.append(room_id, [mine])
    other = draft(room_id, message_id=mine.message_id, sender="bob")
    new = draft(room_id, "new")
    answers = await store.append(room_id, [other, new])
    assert not isinstance(answers, Gone)
    assert answers[0] == Conflict()
    assert isinstance(answers[1], Stored)
    assert await store.withdraw(room_id, mine.message_id, "ada") is True
    assert await store.append(room_id, [mine]) == [Conflict()]
    assert await contents(store, room_id) == ["new"]


async def test_a_message_is_withdrawn_by_its_sender_alone(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    [message_id] = await send(store, room_id, "mine")
    async with store.follow(room_id, 10) as feed:
        assert await store.withdraw(room_id, message_id, "bob") is False
        assert await store.withdraw(room_id, str(uuid4()), "ada") is None
        assert await store.withdraw(room_id, message_id, "ada") is True
        assert await store.withdraw(room_id, message_id, "ada") is None
        [gone] = await happenings(feed, 1)
        await send(store, room_id, "next")
        [given] = await happenings(feed, 1)
    assert isinstance(gone, MessageWithdrawn)
    assert isinstance(given, Positioned)
    assert (gone.message_id, gone.number + 1) == (message_id, given.number)


async def test_two_rooms_have_nothing_to_do_with_each_other(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    other_room = str(uuid4())
    mine = draft(room_id)
    async with store.follow(other_room, 10) as feed:
        await store.append(room_id, [mine])
        await store.append(other_room, [draft(other_room, "other", message_id=mine.message_id, sender="bob")])
        [given] = await happenings(feed, 1)
    assert isinstance(given, Positioned)
    assert given.message.content == "other"


# History


async def test_history_comes_in_pages_by_count_and_by_bytes(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    await send(store, room_id, *"abcdefg")
    page = await store.history(room_id, None, 3, 10_000_000)
    assert not isinstance(page, Gone)
    assert [each.message.content for each in page.messages] == ["a", "b", "c"]
    assert (page.more, page.missed, page.unsent) == (True, 0, ())
    assert (page.cursor, page.number) == (page.messages[-1].cursor, page.messages[-1].number)
    small = await store.history(room_id, page.cursor, 3, 1)
    assert not isinstance(small, Gone)
    assert [each.message.content for each in small.messages] == ["d"]
    assert small.more
    rest = await store.history(room_id, small.cursor, 3, 10_000_000)
    assert not isinstance(rest, Gone)
    assert [each.message.content for each in rest.messages] == ["e", "f", "g"]
    assert (rest.more, rest.missed) == (False, 0)
    assert rest.cursor == rest.messages[-1].cursor


async def test_a_page_of_nothing_says_whether_there_is_more(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    empty = await store.history(room_id, None, 0, 1)
    assert not isinstance(empty, Gone)
    assert (empty.messages, empty.more, empty.missed) == ((), False, 0)
    await send(store, room_id, "a", "b")
    page = await store.history(room_id, None, 0, 1)
    assert not isinstance(page, Gone)
    assert (page.messages, page.more) == ((), True)
    assert await contents(store, room_id, page.cursor) == ["a", "b"]
    assert await contents(store, room_id, empty.cursor) == ["a", "b"]


async def test_a_long_history_is_counted_to_its_end(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    start = await store.history(room_id, None, *ALL)
    assert not isinstance(start, Gone)
    ids = [
        message_id for n in range(12) for message_id in await send(store, room_id, *(f"{n}.{m}" for m in range(100)))
    ]
    for message_id in ids[::100]:
        assert await store.withdraw(room_id, message_id, "ada") is True
    page = await store.history(room_id, start.cursor, 500, 10_000_000)
    assert not isinstance(page, Gone)
    assert (len(page.messages), page.more, page.missed) == (500, True, 12)
    everything = await store.history(room_id, start.cursor, 2_000, 10_000_000)
    assert not isinstance(everything, Gone)
    assert (len(everything.messages), everything.more, everything.missed) == (1_188, False, 12)


async def test_what_came_since_a_cursor_and_what_of_it_is_gone(backend: Backend, room_id: str) -> None:
    store = await backend.open(ttl=0.5)
    first, second = await send(store, room_id, "before 1", "before 2")
    seen = await store.history(room_id, None, *ALL)
    assert not isinstance(seen, Gone)
    withdrawn, _ = await send(store, room_id, "withdrawn", "kept")
    assert await store.withdraw(room_id, withdrawn, "ada") is True
    assert await store.withdraw(room_id, first, "ada") is True
    page = await store.history(room_id, seen.cursor, *ALL)
    assert not isinstance(page, Gone)
    assert [each.message.content for each in page.messages] == ["kept"]
    assert (page.missed, page.taken_back) == (1, 1)
    assert [withdrawal.message_id for withdrawal in page.unsent] == [first]
    await expired(store, room_id)
    await send(store, room_id, "late")
    page = await store.history(room_id, seen.cursor, *ALL)
    assert not isinstance(page, Gone)
    assert [each.message.content for each in page.messages] == ["late"]
    assert (page.missed, page.unsent) == (2, ())
    assert second not in {each.message.message_id for each in page.messages}


async def test_the_position_of_a_quiet_room_serves_as_cursor(backend: Backend, room_id: str) -> None:
    store = await backend.open(ttl=0.2)
    await send(store, room_id, "gone soon")
    await expired(store, room_id)
    empty = await store.history(room_id, None, *ALL)
    assert not isinstance(empty, Gone)
    assert (empty.messages, empty.more, empty.missed) == ((), False, 0)
    await send(store, room_id, "new")
    page = await store.history(room_id, empty.cursor, *ALL)
    assert not isinstance(page, Gone)
    assert [each.message.content for each in page.messages] == ["new"]
    assert page.missed == 0


async def test_a_cursor_that_does_not_serve_gives_all_and_no_count(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    other_room = str(uuid4())
    await send(store, other_room, "elsewhere")
    elsewhere = await store.history(other_room, None, *ALL)
    await send(store, room_id, "a", "b")
    here = await store.history(room_id, None, *ALL)
    assert not isinstance(elsewhere, Gone)
    assert not isinstance(here, Gone)
    epoch, time, number, messages = here.cursor.split("-")
    old = f"{epoch}-{int(time) - 25 * 3600 * 1000}-{number}-{messages}"
    future = f"{epoch}-{int(time) + 3_600_000}-{number}-{messages}"
    ahead = f"{epoch}-{time}-{int(number) + 1}-{messages}"
    for since in ("", "nonsense", "x" * 5_000, "\0", elsewhere.cursor, old, future, ahead):
        page = await store.history(room_id, since, *ALL)
        assert not isinstance(page, Gone)
        assert [each.message.content for each in page.messages] == ["a", "b"], since
        assert (page.missed, page.unsent) == (None, ()), since


# Following


async def test_a_follower_misses_nothing_from_its_start_on(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    sent: list[str] = []
    done = trio.Event()

    async def talk() -> None:
        while len(sent) < 300:
            sent.extend(await send(store, room_id, "x"))
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk)
        for _ in range(5):
            async with store.follow(room_id, 10) as feed:
                at_entry = await store.history(room_id, None, *ALL)
                [first, *_] = of_kind(await until(feed, Positioned), Positioned)
            assert not isinstance(at_entry, Gone)
            known = [each.message.message_id for each in at_entry.messages]
            assert first.message.message_id in known or first.number == at_entry.number + 1
        with trio.fail_after(10):
            await done.wait()


async def test_two_servers_hear_the_same_in_the_same_order(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")

    async def talk(store: MessageStore, name: str) -> None:
        for n in range(100):
            await send(store, room_id, f"{name} {n}")

    async with one.follow(room_id, 10) as here, two.follow(room_id, 10) as there:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk, one, "one")
            nursery.start_soon(talk, two, "two")
        heard_here = of_kind(await until(here, Positioned, 200), Positioned)
        heard_there = of_kind(await until(there, Positioned, 200), Positioned)
    assert [each.message for each in heard_here] == [each.message for each in heard_there]
    assert [each.cursor for each in heard_here] == [each.cursor for each in heard_there]
    assert {each.message.content for each in heard_here} == {
        f"{name} {n}" for name in ("one", "two") for n in range(100)
    }


async def test_typing_is_told(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    async with store.follow(room_id, 10) as feed:
        await store.writing(room_id, "ada")
        assert await happenings(feed, 1) == [Writing("ada")]


# Closed rooms


async def test_a_closed_room_is_gone_for_everybody(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    [message_id] = await send(one, room_id, "erased")
    await one.enter(room_id, [ADA], 10, 10)
    async with two.follow(room_id, 10) as feed:
        await one.close_room(room_id, "its creator closed it")
        await one.close_room(room_id, "twice")
        assert await happenings(feed, 1) == [Closed("its creator closed it")]
    assert await two.append(room_id, [draft(room_id)]) == Gone()
    assert await two.withdraw(room_id, message_id, "ada") == Gone()
    assert await two.history(room_id, None, *ALL) == Gone()
    assert await two.enter(room_id, [BOB], 10, 10) == Gone()
    assert await one.leave(room_id, ["ada"]) == 0
    assert await one.counts([room_id]) == [0]
    async with two.follow(room_id, 10) as feed:
        assert await happenings(feed, 1) == [Closed("its creator closed it")]


# Faults


async def test_a_store_that_is_away_refuses_and_recovers(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    await send(store, room_id, "before")
    await store.enter(room_id, [ADA], 10, 10)
    async with store.follow(room_id, 10) as feed:
        backend.away()
        for _ in range(2):
            with trio.fail_after(2.6), pytest.raises(StoreUnavailable):
                await store.append(room_id, [draft(room_id)])
        await eventually(lambda: not store.healthy)  # of a cluster, every primary has to be found away
        backend.back()
        await eventually(lambda: store.healthy, 2)
        await send(store, room_id, "after")
        with trio.fail_after(10):
            heard = of_kind(await until(feed, Positioned), Positioned)
            while heard[-1].message.content != "after":
                heard += of_kind(await until(feed, Positioned), Positioned)
    assert len({each.message.message_id for each in heard}) == len(heard)
    assert (await store.presence(room_id, 10)).people == (ADA,)


async def test_a_store_that_lost_its_memory_says_so(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    mine = draft(room_id, "mine")
    await one.append(room_id, [mine])
    await one.enter(room_id, [ADA], 10, 10)
    await two.enter(room_id, [ADA, BOB], 10, 10)
    before = await one.history(room_id, None, *ALL)
    assert not isinstance(before, Gone)
    async with one.follow(room_id, 10) as feed:
        backend.forget()
        heard = await until(feed, PresenceChanged)
        [lost] = of_kind(heard, Lost)
        assert lost.cursor.split("-")[0] == before.cursor.split("-")[0]
        answers = await one.append(room_id, [mine])
        assert not isinstance(answers, Gone)
        assert isinstance(answers[0], Stored)
        await send(one, room_id, "new")
        heard = await until(feed, Positioned)
        given = of_kind(heard, Positioned)
        with trio.fail_after(10):
            while given[-1].message.content != "new":
                given += of_kind(await until(feed, Positioned), Positioned)
    # The feed began after `mine`, so that it was new to it; nothing comes twice.
    assert [each.message.content for each in given] == ["mine", "new"]
    assert given[0].number > before.number
    page = await one.history(room_id, before.cursor, *ALL)
    assert not isinstance(page, Gone)
    assert (page.missed, page.unsent) == (None, ())

    async def all_back() -> bool:
        return set((await one.presence(room_id, 10)).people or ()) == {ADA, BOB}

    await eventually(all_back)
    assert await two.leave(room_id, ["ada", "bob"]) == 1


async def test_a_message_is_given_once_though_it_was_stored_again(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    mine = draft(room_id, "mine")
    async with store.follow(room_id, 10) as feed:
        await store.append(room_id, [mine])
        await until(feed, Positioned)
        backend.forget()
        await until(feed, PresenceChanged)
        answers = await store.append(room_id, [mine])
        assert not isinstance(answers, Gone)
        assert isinstance(answers[0], Stored)
        assert not answers[0].duplicate
        await send(store, room_id, "new")
        given = of_kind(await until(feed, Positioned), Positioned)
    assert [each.message.content for each in given] == ["new"]


async def test_a_cancelled_call_harms_no_other(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    for n in range(50):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.append, room_id, [draft(room_id, "cancelled")])
            nursery.start_soon(store.history, room_id, None, *ALL)
            nursery.start_soon(store.presence, room_id, 10)
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await store.put(f"key {n}", f"value {n}".encode(), 60)
        assert await store.take(f"key {n}") == f"value {n}".encode()
