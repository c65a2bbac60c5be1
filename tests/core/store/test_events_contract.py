"""What the followers of a room receive, in memory, on one Redis and on a cluster."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio

from evanesce.errors import StoreUnavailable
from evanesce.store import Store
from evanesce.store.events import HistoryLost, PresenceChanged, RoomEvent, Typing
from evanesce.store.message_log import LogEntry, RepeatedEntry, RoomClosed, Stored
from evanesce.store.presence import Member
from tests.core.store.backends import (
    ALL,
    Backend,
    appended,
    draft,
    events,
    eventually,
    join,
    of_kind,
    send,
    until,
)
from tests.patience import PATIENCE, within

pytestmark = pytest.mark.slow
ADA, BOB, CYD = Member("ada", "Ada"), Member("bob", "Bob"), Member("cyd", "Cyd")


async def test_a_follower_misses_nothing_from_its_start_on(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    sent: list[str] = []
    done = trio.Event()

    async def send_all() -> None:
        while len(sent) < 300:
            sent.extend(await send(store, room_id, "x"))
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_all)
        for _ in range(5):
            async with store.events.follow(room_id, 10) as feed:
                at_entry = await store.messages.history(room_id, None, *ALL)
                [first, *_] = of_kind(await until(feed, LogEntry), LogEntry)
            assert not isinstance(at_entry, RoomClosed)
            known = [each.message.message_id for each in at_entry.messages]
            assert first.message.message_id in known or first.number == at_entry.number + 1
        with trio.fail_after(PATIENCE):
            await done.wait()


async def test_what_is_handed_over_and_what_is_returned_are_one_sequence(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    heard: list[RoomEvent] = []
    handed: list[RoomEvent] = []

    def handle(batch: Sequence[RoomEvent]) -> None:
        heard.extend(batch)
        handed.extend(batch)

    async def listen() -> None:
        while True:
            heard.extend(await feed.next())

    async with store.events.follow(room_id, 10) as feed, trio.open_nursery() as nursery:
        await send(store, room_id, "0")  # before anybody listens
        feed.deliver_to(handle)
        nursery.start_soon(listen)
        for number in range(1, 50):
            await send(store, room_id, str(number))
            if number % 7 == 0:
                await store.events.typing(room_id, str(number))
        await eventually(lambda: len(heard) == 50 + 7)
        nursery.cancel_scope.cancel()
    told = [each.message.content if isinstance(each, LogEntry) else each for each in heard]
    expected = [item for n in range(50) for item in ([str(n), Typing(str(n))] if n and n % 7 == 0 else [str(n)])]
    assert told == expected
    assert len(handed) > 25, "most come as they arrive"
    count = len(heard)
    await send(store, room_id, "after it was left")
    async with store.events.follow(room_id, 10) as again:
        await send(store, room_id, "to another follower")
        await until(again, LogEntry)
    assert len(heard) == count


async def test_two_servers_hear_the_same_in_the_same_order(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")

    async def send_all(store: Store, name: str) -> None:
        for n in range(100):
            await send(store, room_id, f"{name} {n}")

    async with one.events.follow(room_id, 10) as here, two.events.follow(room_id, 10) as there:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, one, "one")
            nursery.start_soon(send_all, two, "two")
        heard_here = of_kind(await until(here, LogEntry, 200), LogEntry)
        heard_there = of_kind(await until(there, LogEntry, 200), LogEntry)
    assert [each.message for each in heard_here] == [each.message for each in heard_there]
    assert [each.cursor for each in heard_here] == [each.cursor for each in heard_there]
    assert {each.message.content for each in heard_here} == {
        f"{name} {n}" for name in ("one", "two") for n in range(100)
    }


async def test_typing_is_told(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    async with store.events.follow(room_id, 10) as feed:
        await store.events.typing(room_id, "ada")
        assert await events(feed, 1) == [Typing("ada")]


async def test_a_store_that_is_away_refuses_and_recovers(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    await send(store, room_id, "before")
    await join(store, room_id, [ADA])
    async with store.events.follow(room_id, 10) as feed:
        backend.away()
        for _ in range(2):
            with within(2.6), pytest.raises(StoreUnavailable):
                await store.messages.append(room_id, [draft(room_id)])
        await eventually(lambda: not store.health.healthy)  # of a cluster, every primary has to be found away
        backend.back()
        with within(2):
            await eventually(lambda: store.health.healthy)
        await eventually(lambda: appended(store, room_id, "after"))  # of a cluster, another primary may be back first
        with trio.fail_after(PATIENCE):
            heard = of_kind(await until(feed, LogEntry), LogEntry)
            while heard[-1].message.content != "after":
                heard += of_kind(await until(feed, LogEntry), LogEntry)
    assert len({each.message.message_id for each in heard}) == len(heard)
    assert (await store.presence.snapshot(room_id, 10)).members == (ADA,)


async def test_a_store_that_lost_its_memory_says_so(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    mine = draft(room_id, "mine")
    await one.messages.append(room_id, [mine])
    await join(one, room_id, [ADA])
    await join(two, room_id, [ADA, BOB])
    before = await one.messages.history(room_id, None, *ALL)
    assert not isinstance(before, RoomClosed)
    async with one.events.follow(room_id, 10) as feed:
        backend.forget()
        heard = await until(feed, PresenceChanged)
        [lost] = of_kind(heard, HistoryLost)
        assert lost.cursor.split("-")[0] == before.cursor.split("-")[0]
        answers = await one.messages.append(room_id, [mine])
        assert not isinstance(answers, RoomClosed)
        assert isinstance(answers[0], Stored)
        await send(one, room_id, "new")
        heard = await until(feed, LogEntry)
        given = of_kind(heard, LogEntry)
        with trio.fail_after(PATIENCE):
            while given[-1].message.content != "new":
                given += of_kind(await until(feed, LogEntry), LogEntry)
    # The feed began after `mine`, so that it was new to it; nothing comes twice.
    assert [each.message.content for each in given] == ["mine", "new"]
    assert given[0].number > before.number
    page = await one.messages.history(room_id, before.cursor, *ALL)
    assert not isinstance(page, RoomClosed)
    assert (page.missed, page.unsent) == (None, ())

    async def all_back() -> bool:
        return set((await one.presence.snapshot(room_id, 10)).members or ()) == {ADA, BOB}

    await eventually(all_back)
    assert await two.presence.leave(room_id, ["ada", "bob"]) == 1


async def test_a_message_that_was_stored_again_is_given_as_such(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    mine = draft(room_id, "mine")
    async with store.events.follow(room_id, 10) as feed:
        await store.messages.append(room_id, [mine])
        await until(feed, LogEntry)
        backend.forget()
        await until(feed, PresenceChanged)
        answers = await store.messages.append(room_id, [mine])
        assert not isinstance(answers, RoomClosed)
        assert isinstance(answers[0], Stored)
        assert not answers[0].duplicate
        await send(store, room_id, "new")
        given = of_kind(await until(feed, LogEntry), LogEntry)
        if len(given) == 1:
            given += of_kind(await until(feed, LogEntry), LogEntry)
    assert [(each.message.content, isinstance(each, RepeatedEntry)) for each in given] == [
        ("mine", True),
        ("new", False),
    ]
