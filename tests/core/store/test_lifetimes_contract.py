"""Messages of one room that live for different times, in memory, on one Redis and on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import msgspec
import pytest
import trio

from evanesce.model import Draft, Message, milliseconds
from evanesce.store import Store
from evanesce.store.memory import MemoryStore
from evanesce.store.message_log import LogEntry, Muted, RoomClosed, Stored
from evanesce.store.redis.message_log import RedisMessageLog
from evanesce.store.rules import RoomRules
from tests.core.store.backends import (
    ALL,
    Backend,
    append_one,
    contents,
    draft,
    events,
    eventually,
    of_kind,
    until,
)

pytestmark = pytest.mark.slow

DAY = 86_400_000
LATE = 0.3
"""How long after its end a message may still be read, in seconds, on a machine that others use too."""

ORDERS: dict[str, Sequence[float | None]] = {
    "long, short, long": [None, 0.8, None],
    "falling": [None, 2.4, 1.8, 1.2, 0.6],
    "rising": [0.6, 1.2, 1.8, 2.4, None],
    "one long before many short": [None, *([0.7] * 300)],
    "many short before one long": [*([0.7] * 300), None],
    "any": [Random(number).choice([0.5, 1.0, 1.5, 2.0, None]) for number in range(60)],
}
"""The TTLs of messages, in the order in which they are sent; None: that of the room."""


def with_ttl(message: Draft, ttl: float | None) -> Draft:
    return msgspec.structs.replace(message, ttl=ttl)


async def set_ttl(store: Store, room_id: str, ttl: int, version: int = 1) -> None:
    """Set a TTL of its own for a room, as its rules in the store do."""
    if isinstance(store, MemoryStore):
        store.server.room(room_id).rules = RoomRules("ada", ttl, version)
        return
    log = store.messages
    assert isinstance(log, RedisMessageLog)
    await log._client.run(("HSET", log._keys.state(room_id), "ttl", ttl, "rv", version))


async def set_mute(store: Store, room_id: str, user_id: str, seconds: float) -> int:
    """Forbid a user to write; return until when."""
    ends = store.clock.now() + round(seconds * 1000)
    if isinstance(store, MemoryStore):
        store.server.room(room_id).mutes[user_id] = ends
        return ends
    log = store.messages
    assert isinstance(log, RedisMessageLog)
    await log._client.run(
        ("HSET", log._keys.state(room_id), "mu", ends), ("ZADD", log._keys.mutes(room_id), ends, user_id)
    )
    return ends


async def stored(store: Store, room_id: str, drafts: Sequence[Draft], ttl: int | None = None) -> Sequence[Stored]:
    answers = await store.messages.append(room_id, drafts, ttl)
    assert not isinstance(answers, RoomClosed)
    found = [answer for answer in answers if isinstance(answer, Stored)]
    assert len(found) == len(drafts), answers
    return found


def life(each: Stored | Message) -> int:
    return milliseconds(each.expires_at) - milliseconds(each.created_at)


# How long a message lives


@pytest.mark.parametrize(
    ("rules", "known", "own", "lives"),
    [
        (None, None, None, 60_000),
        (None, None, 5.0, 5_000),
        (None, None, 0.25, 250),
        (None, None, 61.0, 60_000),
        (None, 90_000, None, 90_000),
        (None, 90_000, 61.0, 61_000),
        (None, 3_000, 61.0, 3_000),
        (DAY, DAY, None, DAY),
        (DAY, None, None, DAY),
        (DAY, 1_000, None, DAY),
        (DAY, None, 7.5, 7_500),
        (1_000, None, None, 1_000),
        (1_000, DAY, None, 1_000),
        (1_000, DAY, 30.0, 1_000),
        (1_000, DAY, 0.5, 500),
    ],
)
async def test_a_message_lives_for_its_own_ttl_up_to_that_of_its_room(
    backend: Backend, room_id: str, rules: int | None, known: int | None, own: float | None, lives: int
) -> None:
    store = await backend.open(ttl=60)
    if rules is not None:
        await set_ttl(store, room_id, rules)
    async with store.events.follow(room_id, 10) as feed:
        [first] = await stored(store, room_id, [with_ttl(draft(room_id), own)], known)
        alone = await append_one(store, with_ttl(draft(room_id, "alone"), own), known)
        given = of_kind(await events(feed, 2), LogEntry)
    assert isinstance(alone, Stored)
    assert [life(each) for each in (first, alone)] == [lives, lives]
    assert [life(each.message) for each in given] == [lives, lives]
    for each in given:
        assert lives / 1000 - 5 < each.deadline - trio.current_time() <= lives / 1000


async def test_each_message_of_a_group_has_its_own_end(backend: Backend, room_id: str) -> None:
    store = await backend.open(ttl=60)
    drafts = [with_ttl(draft(room_id, str(ttl)), ttl) for ttl in (None, 5.0, 61.0, 30.0, None, 5.0)]
    found = await stored(store, room_id, drafts)
    assert [life(each) for each in found] == [60_000, 5_000, 60_000, 30_000, 60_000, 5_000]
    again = await store.messages.append(room_id, drafts)
    assert not isinstance(again, RoomClosed)
    assert again == [Stored(each.created_at, each.expires_at, duplicate=True) for each in found]


async def test_a_changed_ttl_is_that_of_later_messages(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    lives: list[int] = []
    for ttl in (DAY, 1_000, 30_000, DAY):
        await set_ttl(one, room_id, ttl)
        for store in (one, two):  # neither is told
            [each] = await stored(store, room_id, [draft(room_id)], 60_000)
            lives.append(life(each))
    assert lives == [DAY, DAY, 1_000, 1_000, 30_000, 30_000, DAY, DAY]


# What is read while others have ended


@dataclass
class Sent:
    """What was sent to a room, and what of it is alive at a time of the store's clock."""

    contents: list[str] = field(default_factory=list[str])
    ends: list[int] = field(default_factory=list[int])
    unsent: set[int] = field(default_factory=set[int])

    def alive(self, now: int) -> list[str]:
        return [
            content
            for number, (content, ends) in enumerate(zip(self.contents, self.ends, strict=True))
            if ends > now and number not in self.unsent
        ]


async def send_order(store: Store, room_id: str, ttls: Sequence[float | None], *, group: int = 50) -> Sent:
    sent = Sent()
    for start in range(0, len(ttls), group):
        part = [
            with_ttl(draft(room_id, f"message {start + number}"), ttl)
            for number, ttl in enumerate(ttls[start : start + group])
        ]
        for each, answer in zip(part, await stored(store, room_id, part), strict=True):
            sent.contents.append(each.content)
            sent.ends.append(milliseconds(answer.expires_at))
    return sent


@pytest.mark.parametrize("order", ORDERS)
async def test_history_has_what_is_alive_and_counts_the_rest(backend: Backend, room_id: str, order: str) -> None:
    store = await backend.open(ttl=3.0)
    start = await store.messages.history(room_id, None, *ALL)
    assert not isinstance(start, RoomClosed)
    sent = await send_order(store, room_id, ORDERS[order])
    with trio.fail_after(30):
        while True:
            before = store.clock.now()
            whole = await store.messages.history(room_id, None, *ALL)
            since = await store.messages.history(room_id, start.cursor, *ALL)
            after = store.clock.now()
            assert not isinstance(whole, RoomClosed)
            assert not isinstance(since, RoomClosed)
            at_most, at_least = sent.alive(before - round(LATE * 1000)), sent.alive(after + 5)
            for page in (whole, since):
                found = [each.message.content for each in page.messages]
                assert found == [each for each in at_most if each in found], "it is in order, and nothing is late"
                assert set(at_least) <= set(found), "nothing is lost that lives"
                assert not page.more
            assert since.missed == len(sent.contents) - len(since.messages)
            if not at_most:
                return
            await trio.sleep(0.1)


async def test_a_long_message_behind_thousands_of_short_ones_is_read_and_counted(
    backend: Backend, room_id: str
) -> None:
    store = await backend.open(ttl=60)
    await set_ttl(store, room_id, DAY)
    start = await store.messages.history(room_id, None, *ALL)
    assert not isinstance(start, RoomClosed)
    sent = await send_order(store, room_id, [None, *([0.5] * 3_000), None], group=500)
    last = max(ends for ends in sent.ends if ends < milliseconds_from_now(store, DAY // 2))
    await eventually(lambda: store.clock.now() > last + LATE * 1000)
    for since, missed in ((None, 0), (start.cursor, 3_000)):
        page = await store.messages.history(room_id, since, *ALL)
        assert not isinstance(page, RoomClosed)
        assert [each.message.content for each in page.messages] == ["message 0", "message 3001"]
        assert (page.more, page.missed) == (False, missed)
    first = await store.messages.history(room_id, start.cursor, 1, 10_000, False)
    assert not isinstance(first, RoomClosed)
    assert ([each.message.content for each in first.messages], first.more) == (["message 0"], True)
    rest = await store.messages.history(room_id, first.cursor, 1, 10_000, False)
    assert not isinstance(rest, RoomClosed)
    assert [each.message.content for each in rest.messages] == ["message 3001"]
    assert (rest.more, rest.missed) == (False, 3_000)


def milliseconds_from_now(store: Store, ms: int) -> int:
    return store.clock.now() + ms


async def test_what_was_unsent_is_named_for_as_long_as_it_would_have_lived(backend: Backend, room_id: str) -> None:
    store = await backend.open(ttl=60)
    drafts = [with_ttl(draft(room_id, str(ttl)), ttl) for ttl in (None, 1.0, None)]
    ends = [milliseconds(each.expires_at) for each in await stored(store, room_id, drafts)]
    seen = await store.messages.history(room_id, None, *ALL)
    assert not isinstance(seen, RoomClosed)
    for each in drafts[:2]:
        assert await store.messages.unsend(room_id, each.message_id, "ada") is True
        await stored(store, room_id, [with_ttl(draft(room_id, "short"), 0.5) for _ in range(20)])

    async def named() -> list[str]:
        page = await store.messages.history(room_id, seen.cursor, *ALL)
        assert not isinstance(page, RoomClosed)
        return [each.message_id for each in page.unsent]

    at_once = await named()
    if store.clock.now() < ends[1]:
        assert at_once == [each.message_id for each in drafts[:2]]

    async def first_alone() -> bool:
        return await named() == [drafts[0].message_id]

    await eventually(first_alone)
    assert store.clock.now() >= ends[1]
    assert await contents(store, room_id) == ["None"]


async def test_a_feed_gives_each_message_once_in_whichever_order_they_end(backend: Backend, room_id: str) -> None:
    one, two = await backend.open("one"), await backend.open("two")
    async with two.events.follow(room_id, 10) as feed:
        sent = await send_order(one, room_id, ORDERS["any"], group=7)
        given = of_kind(await until(feed, LogEntry, len(sent.contents)), LogEntry)
    assert [each.message.content for each in given] == sent.contents
    assert [milliseconds(each.message.expires_at) for each in given] == sent.ends
    assert [each.number for each in given] == list(range(given[0].number, given[0].number + len(given)))


# Answers, and mutes


async def test_what_a_message_answers_is_stored_and_told(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    first = draft(room_id, "first")
    answers = [
        msgspec.structs.replace(draft(room_id, "reply"), reply_to=first.message_id),
        msgspec.structs.replace(draft(room_id, "short reply"), reply_to=first.message_id, ttl=20.0),
    ]
    async with store.events.follow(room_id, 10) as feed:
        await stored(store, room_id, [first, answers[0]])
        await append_one(store, answers[1])
        given = of_kind(await events(feed, 3), LogEntry)
    page = await store.messages.history(room_id, None, *ALL)
    assert not isinstance(page, RoomClosed)
    for found in (given, page.messages):
        assert [each.message.reply_to for each in found] == [None, first.message_id, first.message_id]
        assert [each.message.content for each in found] == ["first", "reply", "short reply"]
    assert b"replyTo" not in msgspec.json.encode(page.messages[0].message)


async def test_who_is_muted_sends_nothing_until_it_ends(backend: Backend, room_id: str) -> None:
    store = await backend.open()
    before = draft(room_id, "before")
    [known] = await stored(store, room_id, [before])
    ends = await set_mute(store, room_id, "ada", 1.0)
    longer = await set_mute(store, room_id, "cyd", 30.0)
    refused = [draft(room_id, "muted"), draft(room_id, "of another", sender="bob"), draft(room_id, "m", sender="cyd")]
    async with store.events.follow(room_id, 10) as feed:
        answers = await store.messages.append(room_id, [before, *refused])
        assert not isinstance(answers, RoomClosed)
        assert answers[:2] == [Stored(known.created_at, known.expires_at, duplicate=True), Muted(ends)]
        assert isinstance(answers[2], Stored)
        assert answers[3] == Muted(longer)
        assert await append_one(store, draft(room_id, "alone")) == Muted(ends)
        await eventually(lambda: store.clock.now() > ends + 5)
        assert isinstance(await append_one(store, draft(room_id, "after")), Stored)
        assert await append_one(store, draft(room_id, "still", sender="cyd")) == Muted(longer)
        given = of_kind(await events(feed, 2), LogEntry)
    assert [each.message.content for each in given] == ["of another", "after"]
    assert await contents(store, room_id) == ["before", "of another", "after"]
