"""What every message log does, in memory, on one Redis and on a cluster."""

from __future__ import annotations

from uuid import uuid4

import pytest
import trio
from msgspec.structs import replace

from evanesce.errors import StoreUnavailable
from evanesce.model import milliseconds
from evanesce.store import Store
from evanesce.store.events import Closed
from evanesce.store.message_log import Conflict, LogEntry, MessageUnsent, RoomClosed, Stored
from evanesce.store.presence import Member
from tests.core.store.backends import (
    ALL,
    RULES,
    Backend,
    append_one,
    contents,
    draft,
    events,
    eventually,
    join,
    joiners,
    of_kind,
    send,
)

pytestmark = pytest.mark.slow
ADA, BOB, CYD = Member("ada", "Ada"), Member("bob", "Bob"), Member("cyd", "Cyd")


async def expired(store: Store, room_id: str) -> None:
    """Wait until nothing is alive in a room."""

    async def nothing() -> bool:
        return not await contents(store, room_id)

    await eventually(nothing)


async def test_a_message_lives_for_the_ttl_of_the_stores_clock(backend: Backend, room_id: str) -> None:
    store = await backend.open(ttl=60)
    mine = draft(room_id, 'שלום 👩‍👩‍👧 \n \t "quoted" \\ \u2028')
    async with store.events.follow(room_id, 10) as feed:
        answers = await store.messages.append(room_id, [mine])
        assert not isinstance(answers, RoomClosed)
        [stored] = answers
        assert isinstance(stored, Stored)
        assert not stored.duplicate
        assert milliseconds(stored.expires_at) - milliseconds(stored.created_at) == 60_000
        [given] = await events(feed, 1)
        assert isinstance(given, LogEntry)
    message = given.message
    assert (message.message_id, message.room_id, message.content) == (mine.message_id, room_id, mine.content)
    assert (message.sender_id, message.sender_name) == ("ada", "Ada")
    assert (message.created_at, message.expires_at) == (stored.created_at, stored.expires_at)
    assert store.clock.now() >= milliseconds(message.created_at)
    assert 58 < given.deadline - trio.current_time() <= 60


async def test_order_numbers_and_cursors_follow_one_another(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    async with store.events.follow(room_id, 10) as feed:
        await send(store, room_id, "1", "2", "3")
        await send(store, room_id, "4")
        given = of_kind(await events(feed, 4), LogEntry)
    assert [each.message.content for each in given] == ["1", "2", "3", "4"]
    first = given[0].number
    assert [each.number for each in given] == [first, first + 1, first + 2, first + 3]
    assert len({each.cursor for each in given}) == 4


async def test_a_message_alone_has_the_outcomes_of_one_in_a_group(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    mine = draft(room_id, "alone")
    async with store.events.follow(room_id, 10) as feed:
        first = await append_one(store, mine)
        again = await append_one(store, mine)
        other = await append_one(store, draft(room_id, message_id=mine.message_id, sender="bob"))
        await send(store, room_id, "after")
        given = of_kind(await events(feed, 2), LogEntry)
    assert isinstance(first, Stored)
    assert not first.duplicate
    assert again == replace(first, duplicate=True)
    assert other == Conflict()
    assert [each.message.content for each in given] == ["alone", "after"]
    assert (given[0].message.created_at, given[0].message.expires_at) == (first.created_at, first.expires_at)
    await store.messages.close_room(room_id, "closed")
    assert await append_one(store, draft(room_id)) == RoomClosed()


async def test_a_message_alone_is_refused_while_the_store_is_away(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    await append_one(store, draft(room_id, "before"))
    backend.away()
    try:
        for _ in range(3):  # some are sent before the store counts as away
            with pytest.raises(StoreUnavailable):
                await append_one(store, draft(room_id, "lost"))
    finally:
        backend.back()

    async def stored() -> bool:
        try:
            return isinstance(await append_one(store, draft(room_id, "after")), Stored)
        except StoreUnavailable:
            return False

    await eventually(stored)
    assert [text for text in await contents(store, room_id) if text != "lost"][:2] == ["before", "after"]


async def test_a_repeated_id_is_stored_and_published_once(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    mine = draft(room_id)
    async with store.events.follow(room_id, 10) as feed:
        first = await store.messages.append(room_id, [mine, mine])
        again = await store.messages.append(room_id, [draft(room_id, "changed", message_id=mine.message_id)])
        await send(store, room_id, "after")
        given = of_kind(await events(feed, 2), LogEntry)
    assert not isinstance(first, RoomClosed)
    assert not isinstance(again, RoomClosed)
    times = first[0]
    assert isinstance(times, Stored)
    assert [first[1], again[0]] == [Stored(times.created_at, times.expires_at, duplicate=True)] * 2
    assert [each.message.content for each in given] == ["hello", "after"]


async def test_a_message_is_found_by_its_sender_on_every_server_while_it_lives(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one", ttl=2), await backend.open("two", ttl=2)
    mine, taken_back = draft(room_id), draft(room_id)
    assert await one.messages.find(room_id, mine.message_id, "ada") is None
    answers = await one.messages.append(room_id, [mine, taken_back])
    assert not isinstance(answers, RoomClosed)
    assert isinstance(answers[0], Stored)
    for store in (one, two):
        assert await store.messages.find(room_id, mine.message_id, "ada") == replace(answers[0], duplicate=True)
        assert await store.messages.find(room_id, mine.message_id, "bob") is None
        assert await store.messages.find(f"{room_id}-other", mine.message_id, "ada") is None
    await one.messages.unsend(room_id, taken_back.message_id, "ada")
    assert await two.messages.find(room_id, taken_back.message_id, "ada") is None

    async def gone() -> bool:
        return await two.messages.find(room_id, mine.message_id, "ada") is None

    await eventually(gone)
    assert two.clock.now() >= milliseconds(answers[0].expires_at)


async def test_an_id_of_somebody_elses_or_of_an_unsent_message_conflicts(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    mine = draft(room_id)
    await store.messages.append(room_id, [mine])
    other = draft(room_id, message_id=mine.message_id, sender="bob")
    new = draft(room_id, "new")
    answers = await store.messages.append(room_id, [other, new])
    assert not isinstance(answers, RoomClosed)
    assert answers[0] == Conflict()
    assert isinstance(answers[1], Stored)
    assert await store.messages.unsend(room_id, mine.message_id, "ada") is True
    assert await store.messages.append(room_id, [mine]) == [Conflict()]
    assert await contents(store, room_id) == ["new"]


async def test_a_message_is_unsent_by_its_sender_alone(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    [message_id] = await send(store, room_id, "mine")
    async with store.events.follow(room_id, 10) as feed:
        assert await store.messages.unsend(room_id, message_id, "bob") is False
        assert await store.messages.unsend(room_id, str(uuid4()), "ada") is None
        assert await store.messages.unsend(room_id, message_id, "ada") is True
        assert await store.messages.unsend(room_id, message_id, "ada") is None
        [gone] = await events(feed, 1)
        await send(store, room_id, "next")
        [given] = await events(feed, 1)
    assert isinstance(gone, MessageUnsent)
    assert isinstance(given, LogEntry)
    assert (gone.message_id, gone.number + 1) == (message_id, given.number)


async def test_two_rooms_have_nothing_to_do_with_each_other(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    other_room = str(uuid4())
    mine = draft(room_id)
    async with store.events.follow(other_room, 10) as feed:
        await store.messages.append(room_id, [mine])
        await store.messages.append(other_room, [draft(other_room, "other", message_id=mine.message_id, sender="bob")])
        [given] = await events(feed, 1)
    assert isinstance(given, LogEntry)
    assert given.message.content == "other"


async def test_history_comes_in_pages_by_count_and_by_bytes(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    await send(store, room_id, *"abcdefg")
    page = await store.messages.history(room_id, None, 3, 10_000_000)
    assert not isinstance(page, RoomClosed)
    assert [each.message.content for each in page.messages] == ["a", "b", "c"]
    assert (page.more, page.missed, page.unsent) == (True, 0, ())
    assert (page.cursor, page.number) == (page.messages[-1].cursor, page.messages[-1].number)
    small = await store.messages.history(room_id, page.cursor, 3, 1)
    assert not isinstance(small, RoomClosed)
    assert [each.message.content for each in small.messages] == ["d"]
    assert small.more
    rest = await store.messages.history(room_id, small.cursor, 3, 10_000_000)
    assert not isinstance(rest, RoomClosed)
    assert [each.message.content for each in rest.messages] == ["e", "f", "g"]
    assert (rest.more, rest.missed) == (False, 0)
    assert rest.cursor == rest.messages[-1].cursor


async def test_a_page_of_nothing_says_whether_there_is_more(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    empty = await store.messages.history(room_id, None, 0, 1)
    assert not isinstance(empty, RoomClosed)
    assert (empty.messages, empty.more, empty.missed) == ((), False, 0)
    await send(store, room_id, "a", "b")
    page = await store.messages.history(room_id, None, 0, 1)
    assert not isinstance(page, RoomClosed)
    assert (page.messages, page.more) == ((), True)
    assert await contents(store, room_id, page.cursor) == ["a", "b"]
    assert await contents(store, room_id, empty.cursor) == ["a", "b"]


async def test_a_long_history_is_counted_to_its_end(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    start = await store.messages.history(room_id, None, *ALL)
    assert not isinstance(start, RoomClosed)
    ids = [
        message_id for n in range(12) for message_id in await send(store, room_id, *(f"{n}.{m}" for m in range(100)))
    ]
    for message_id in ids[::100]:
        assert await store.messages.unsend(room_id, message_id, "ada") is True
    page = await store.messages.history(room_id, start.cursor, 500, 10_000_000)
    assert not isinstance(page, RoomClosed)
    assert (len(page.messages), page.more, page.missed) == (500, True, 12)
    everything = await store.messages.history(room_id, start.cursor, 2_000, 10_000_000)
    assert not isinstance(everything, RoomClosed)
    assert (len(everything.messages), everything.more, everything.missed) == (1_188, False, 12)


async def test_pages_that_count_only_up_to_their_end_add_up(backend: Backend, room_id: str) -> None:
    """Count messages that expired or were unsent, on the same page or a later one, but none that were read before."""
    store = await backend.open(ttl=1.0)
    seen = await send(store, room_id, *(f"seen {n}" for n in range(3)))
    start = await store.messages.history(room_id, None, *ALL)
    assert not isinstance(start, RoomClosed)
    await send(store, room_id, *(f"expires {n}" for n in range(40)))
    await expired(store, room_id)
    store = await backend.open("two", ttl=60)
    ids = await send(store, room_id, *(f"{n}" for n in range(600)))
    for message_id in (ids[3], ids[250], ids[599]):
        assert await store.messages.unsend(room_id, message_id, "ada") is True
    [last] = await send(store, room_id, "last")
    cursor, told, missed, taken_back = start.cursor, list[str](), 0, 0
    while True:
        page = await store.messages.history(room_id, cursor, 100, 10_000_000, False)
        assert not isinstance(page, RoomClosed)
        assert page.missed is not None
        # What an earlier page left out may be named; what was seen has expired.
        assert {one.message_id for one in page.unsent} <= {ids[3], ids[250], ids[599]}
        assert len(page.messages) == 100 or not page.more
        told += [each.message.message_id for each in page.messages]
        missed, taken_back, cursor = missed + page.missed, taken_back + page.missed_unsent, page.cursor
        if not page.more:
            break
    assert told == [message_id for message_id in ids if message_id not in (ids[3], ids[250], ids[599])] + [last]
    assert (missed, taken_back) == (43, 3)
    assert not set(seen) & set(told)


async def test_pages_that_count_only_up_to_their_end_name_each_unsent_message(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    seen = await send(store, room_id, *(f"seen {n}" for n in range(4)))
    start = await store.messages.history(room_id, None, *ALL)
    assert not isinstance(start, RoomClosed)
    for message_id in seen[:3]:
        await send(store, room_id, *("x" for _ in range(10)))
        assert await store.messages.unsend(room_id, message_id, "ada") is True
    cursor, named = start.cursor, list[tuple[int, str]]()
    while True:
        page = await store.messages.history(room_id, cursor, 4, 10_000_000, False)
        assert not isinstance(page, RoomClosed)
        assert page.missed == page.missed_unsent == 0
        named += [(one.number, one.message_id) for one in page.unsent]
        if not page.more:
            break
        cursor = page.cursor
    assert [message_id for _, message_id in named] == seen[:3]
    assert named == sorted(named)


async def test_what_came_since_a_cursor_and_what_of_it_is_gone(backend: Backend, room_id: str) -> None:
    store = await backend.open(ttl=2)
    first, second = await send(store, room_id, "before 1", "before 2")
    seen = await store.messages.history(room_id, None, *ALL)
    assert not isinstance(seen, RoomClosed)
    unsent, _ = await send(store, room_id, "unsent", "kept")
    assert await store.messages.unsend(room_id, unsent, "ada") is True
    assert await store.messages.unsend(room_id, first, "ada") is True
    page = await store.messages.history(room_id, seen.cursor, *ALL)
    assert not isinstance(page, RoomClosed)
    assert [each.message.content for each in page.messages] == ["kept"]
    assert (page.missed, page.missed_unsent) == (1, 1)
    assert [unsent.message_id for unsent in page.unsent] == [first]
    await expired(store, room_id)
    await send(store, room_id, "late")
    page = await store.messages.history(room_id, seen.cursor, *ALL)
    assert not isinstance(page, RoomClosed)
    assert [each.message.content for each in page.messages] == ["late"]
    assert (page.missed, page.unsent) == (2, ())
    assert second not in {each.message.message_id for each in page.messages}


async def test_the_position_of_a_quiet_room_serves_as_cursor(backend: Backend, room_id: str) -> None:
    store = await backend.open(ttl=2)
    await send(store, room_id, "gone soon")
    await expired(store, room_id)
    empty = await store.messages.history(room_id, None, *ALL)
    assert not isinstance(empty, RoomClosed)
    assert (empty.messages, empty.more, empty.missed) == ((), False, 0)
    await send(store, room_id, "new")
    page = await store.messages.history(room_id, empty.cursor, *ALL)
    assert not isinstance(page, RoomClosed)
    assert [each.message.content for each in page.messages] == ["new"]
    assert page.missed == 0


async def test_a_cursor_that_does_not_serve_gives_all_and_no_count(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    other_room = str(uuid4())
    await send(store, other_room, "elsewhere")
    elsewhere = await store.messages.history(other_room, None, *ALL)
    await send(store, room_id, "a", "b")
    here = await store.messages.history(room_id, None, *ALL)
    assert not isinstance(elsewhere, RoomClosed)
    assert not isinstance(here, RoomClosed)
    epoch, time, number, messages = here.cursor.split("-")
    old = f"{epoch}-{int(time) - 25 * 3600 * 1000}-{number}-{messages}"
    future = f"{epoch}-{int(time) + 3_600_000}-{number}-{messages}"
    ahead = f"{epoch}-{time}-{int(number) + 1}-{messages}"
    for since in ("", "nonsense", "x" * 5_000, "\0", elsewhere.cursor, old, future, ahead):
        page = await store.messages.history(room_id, since, *ALL)
        assert not isinstance(page, RoomClosed)
        assert [each.message.content for each in page.messages] == ["a", "b"], since
        assert (page.missed, page.unsent) == (None, ()), since


async def test_a_closed_room_is_gone_for_everybody(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    [message_id] = await send(one, room_id, "erased")
    await join(one, room_id, [ADA])
    async with two.events.follow(room_id, 10) as feed:
        await one.messages.close_room(room_id, "its creator closed it")
        await one.messages.close_room(room_id, "twice")
        assert await events(feed, 1) == [Closed("its creator closed it")]
    assert await two.messages.append(room_id, [draft(room_id)]) == RoomClosed()
    assert await two.messages.unsend(room_id, message_id, "ada") == RoomClosed()
    assert await two.messages.history(room_id, None, *ALL) == RoomClosed()
    assert await two.presence.join(room_id, joiners(BOB), 10, 10, RULES) == RoomClosed()
    assert await one.presence.leave(room_id, ["ada"]) == 0
    assert await one.presence.counts([room_id]) == [0]
    async with two.events.follow(room_id, 10) as feed:
        assert await events(feed, 1) == [Closed("its creator closed it")]


async def test_a_cancelled_call_harms_no_other(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    for n in range(50):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.messages.append, room_id, [draft(room_id, "cancelled")])
            nursery.start_soon(store.messages.history, room_id, None, *ALL)
            nursery.start_soon(store.presence.snapshot, room_id, 10)
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await store.one_time_values.put(f"key {n}", f"value {n}".encode(), 60)
        assert await store.one_time_values.take(f"key {n}") == f"value {n}".encode()
