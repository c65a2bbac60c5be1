"""Redis killed, stopped, cut off, full, restricted: what was promised is kept."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
import trio
import trio.testing

from evanesce.config.model import RedisTable
from evanesce.errors import StoreUnavailable
from evanesce.store.events import Feed, HistoryLost, PresenceChanged
from evanesce.store.message_log import LogEntry, RoomClosed
from evanesce.store.presence import Member
from evanesce.store.redis import feed as feeds
from evanesce.store.redis import node_client, open_redis_store
from tests.core.store.backends import Record, RedisBackend, draft, events, eventually, join, of_kind, send, until
from tests.patience import Taken, within

pytestmark = pytest.mark.slow


async def grows(items: list[str], by: int) -> None:
    target = len(items) + by
    await eventually(lambda: len(items) >= target)


@pytest.mark.parametrize("moment", range(3))
async def test_killed_under_load_it_acknowledges_nothing_false(valkey: RedisBackend, room_id: str, moment: int) -> None:
    store = await valkey.open()
    record = Record()
    async with store.events.follow(room_id, 10) as feed, trio.open_nursery() as nursery:
        nursery.start_soon(record.listen, feed)
        for _ in range(5):
            nursery.start_soon(record.send, store, room_id)
        await grows(record.acknowledged, 200 + moment * 37)
        valkey.forget()
        await eventually(lambda: record.refused)
        with within(2):
            await grows(record.acknowledged, 100)
        await record.finish(store, room_id)
        nursery.cancel_scope.cancel()
    assert len(set(record.given)) == len(record.given)
    [lost] = [place for place, each in enumerate(record.heard) if isinstance(each, HistoryLost)]
    # Acknowledged messages that are missing were stored before the loss, which was reported.
    missing = set(record.acknowledged) - set(record.given)
    after = {each.message.message_id for each in of_kind(record.heard[lost:], LogEntry)}
    first_after = next(n for n, message_id in enumerate(record.acknowledged) if message_id in after)
    assert missing.isdisjoint(record.acknowledged[first_after + 5 :])
    numbers = [each.number for each in of_kind(record.heard, LogEntry)]
    assert numbers == sorted(numbers)


async def test_stopped_under_load_nothing_is_lost_or_doubled(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    record = Record()
    async with store.events.follow(room_id, 10) as feed, trio.open_nursery() as nursery:
        nursery.start_soon(record.listen, feed)
        for _ in range(5):
            nursery.start_soon(record.send, store, room_id)
        await grows(record.acknowledged, 100)
        taken = Taken()
        valkey.away()
        await trio.sleep(5)  # longer than every time-out
        valkey.back()
        with within(1):
            await grows(record.acknowledged, 50)
        late = taken.seconds()
        await record.finish(store, room_id)
        nursery.cancel_scope.cancel()
    assert record.refused
    assert record.slowest < 2.5 + late
    assert not of_kind(record.heard, HistoryLost)
    assert len(set(record.given)) == len(record.given)
    assert set(record.acknowledged) <= set(record.given)


async def test_a_cut_subscription_loses_nothing(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    record = Record()
    await join(store, room_id, [Member("ada", "Ada")])
    async with store.events.follow(room_id, 10) as feed, trio.open_nursery() as nursery:
        nursery.start_soon(record.listen, feed)
        for _ in range(3):
            nursery.start_soon(record.send, store, room_id)
        for _ in range(5):
            await grows(record.acknowledged, 100)
            valkey.client.client_kill_filter(_type="pubsub")
        await grows(record.acknowledged, 100)
        await record.finish(store, room_id)
        nursery.cancel_scope.cancel()
    assert not record.refused
    assert not of_kind(record.heard, HistoryLost)
    assert set(record.given[:-1]) == set(record.acknowledged)
    assert len(set(record.given)) == len(record.given) == len(record.acknowledged) + 1
    numbers = [each.number for each in of_kind(record.heard, LogEntry)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    changes = of_kind(record.heard, PresenceChanged)
    assert changes
    assert all(change.presence.members == (Member("ada", "Ada"),) for change in changes)


async def test_what_is_said_while_nobody_listens_is_fetched_or_told(valkey: RedisBackend, room_id: str) -> None:
    one, other = await valkey.open("one", ttl=2), await valkey.open("two", ttl=60)
    async with one.events.follow(room_id, 10) as feed:
        await one.messages.append(room_id, [draft(room_id, "heard")])
        await events(feed, 1)
        subscriber = _channel_listener(feed)
        subscriber.muted = True
        taken_back = draft(room_id, "taken back")
        await other.messages.append(room_id, [draft(room_id, "missed"), taken_back])
        await other.messages.unsend(room_id, taken_back.message_id, "ada")
        subscriber.muted = False
        await other.messages.append(room_id, [draft(room_id, "after")])
        heard = await until(feed, LogEntry, 2)
        assert [each.message.content for each in of_kind(heard, LogEntry)] == ["missed", "after"]
        assert not of_kind(heard, HistoryLost)
        subscriber.muted = True
        brief = draft(room_id, "expires unheard")
        await one.messages.append(room_id, [brief])
        key = f"evanesce:{{{room_id}}}:message:{brief.message_id}"
        await eventually(lambda: not valkey.client.exists(key))
        subscriber.muted = False
        await other.messages.append(room_id, [draft(room_id, "late")])
        heard = await until(feed, LogEntry)
        assert [type(each) for each in heard] == [HistoryLost, LogEntry]


async def test_what_was_lost_comes_before_what_is_handed_over(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    record = Record()
    async with store.events.follow(room_id, 10) as feed, trio.open_nursery() as nursery:
        subscriber = _channel_listener(feed)
        nursery.start_soon(record.listen, feed)
        sent: list[str] = []
        for number in range(60):
            subscriber.muted = number % 5 in (1, 2)
            sent += await send(store, room_id, str(number))
        subscriber.muted = False
        sent += await send(store, room_id, "last")
        await eventually(lambda: sent[-1] in record.given)
        nursery.cancel_scope.cancel()
    assert record.given == sent
    assert not of_kind(record.heard, HistoryLost)


class _Muted:
    """Stands before a feed and, while `muted`, lets nothing through: as if Redis had lost it."""

    def __init__(self, feed: feeds.RoomFeed) -> None:
        self.muted = False
        self._push = feed.push

    def push(self, payloads: Sequence[bytes]) -> None:
        if not self.muted:
            self._push(payloads)


def _channel_listener(feed: Feed) -> _Muted:
    assert isinstance(feed, feeds.RoomFeed)
    muted = _Muted(feed)
    feed.push = muted.push  # type: ignore[method-assign]  # the subscriber looks it up at every call
    return muted


async def test_a_follower_that_does_not_listen_costs_no_memory(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "PAYLOADS", 10)
    store = await valkey.open()
    async with store.events.follow(room_id, 10) as feed:
        for n in range(100):
            await store.messages.append(room_id, [draft(room_id, str(n))])
        heard = of_kind(await until(feed, LogEntry, 100), LogEntry)
    assert [each.message.content for each in heard] == [str(n) for n in range(100)]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"noise",
        b"-\nm",
        b"-\nm 1 x 1 1 {}",
        b"-\nx [" + b"[" * 5000,
        b"-\nt \xff",
        b"-\ne 1 99 u",
        b"-\nm 1 1 1 1 {}",
    ],
)
async def test_what_another_client_publishes_ends_no_follower(
    valkey: RedisBackend, room_id: str, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store = await valkey.open()
    await store.messages.append(room_id, [draft(room_id, "before")])
    async with store.events.follow(room_id, 10) as feed:
        for _ in range(3):
            valkey.client.execute_command("SPUBLISH", f"evanesce:{{{room_id}}}:events", payload)
        await store.messages.append(room_id, [draft(room_id, "after")])
        heard = await until(feed, LogEntry)
    assert [each.message.content for each in of_kind(heard, LogEntry)] == ["after"]
    assert caplog.text.count("is malformed") <= 1


async def test_an_emptied_script_cache_is_filled_again(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    async with store.events.follow(room_id, 10) as feed:
        for n in range(3):
            valkey.client.script_flush()
            await store.messages.append(room_id, [draft(room_id, str(n))])
        assert len(await events(feed, 3)) == 3


async def test_a_lost_connection_is_replaced_before_anybody_notices(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    for _ in range(5):
        own = valkey.client.client_id()
        others = {each["id"] for each in valkey.client.client_list(_type="normal")} - {str(own)}
        valkey.client.client_kill_filter(_type="normal", skipme=True)

        def ended(others: set[str] = others) -> bool:
            return others.isdisjoint(each["id"] for each in valkey.client.client_list(_type="normal"))

        await eventually(ended)
        await trio.sleep(0.05)  # longer than what a connection in use is trusted unseen
        await store.messages.append(room_id, [draft(room_id)])
    history = await store.messages.history(room_id, None, 10, 100_000)
    assert not isinstance(history, RoomClosed)
    assert len(history.messages) == 5


async def test_a_full_redis_is_told(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    valkey.client.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailable, match="full"):
        await store.messages.append(room_id, [draft(room_id)])
    assert store.health.healthy
    valkey.client.config_set("maxmemory", 0)
    history = await store.messages.history(room_id, None, 10, 1_000)
    assert not isinstance(history, RoomClosed)
    assert (history.messages, history.more) == ((), False)


async def test_a_replica_is_told(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    await store.messages.append(room_id, [draft(room_id)])
    valkey.client.replicaof("127.0.0.1", "1")
    with pytest.raises(StoreUnavailable, match="replica"):
        await store.messages.append(room_id, [draft(room_id)])
    valkey.client.replicaof("no", "one")
    await store.messages.append(room_id, [draft(room_id)])


async def test_what_waits_is_bounded(valkey: RedisBackend, monkeypatch: pytest.MonkeyPatch, room_id: str) -> None:
    store = await valkey.open()
    refused: list[str] = []

    async def send() -> None:
        try:
            await store.messages.append(room_id, [draft(room_id)])
        except StoreUnavailable as error:
            refused.append(error.message)

    await eventually(lambda: valkey.client.exists("evanesce:{servers}:lag"))  # the last key that it writes at its start
    await trio.testing.wait_all_tasks_blocked(0.1)  # and has its answer
    monkeypatch.setattr(node_client, "OUTSTANDING", 5)
    valkey.away()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        valkey.back()
    assert 15 <= len(refused) < 20
    assert all("busy" in message for message in refused)


async def test_a_redis_that_is_not_there_yet_is_found_when_it_comes(valkey: RedisBackend, room_id: str) -> None:
    socket = valkey.url.removeprefix("unix://")
    os.rename(socket, f"{socket}.away")
    async with open_redis_store(RedisTable(url=valkey.url), ttl=60, server_id="one") as store:
        assert not store.health.healthy
        with within(0.5), pytest.raises(StoreUnavailable):
            await store.messages.append(room_id, [draft(room_id)])
        with within(0.5), pytest.raises(StoreUnavailable):
            async with store.events.follow(room_id, 10):
                pytest.fail("there is nothing to follow")
        os.rename(f"{socket}.away", socket)
        with within(0.5):
            await eventually(lambda: store.health.healthy)
        await store.messages.append(room_id, [draft(room_id)])


async def test_the_store_ends_at_once_though_redis_hangs(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    await join(store, room_id, [Member("ada", "Ada")])
    valkey.away()
    with within(4):
        await valkey.close(store)
    valkey.back()


async def test_a_clock_that_goes_back_turns_no_order_round(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open(ttl=60)
    mine = [draft(room_id, str(n)) for n in range(3)]
    await store.messages.append(room_id, mine[:1])
    # To the room it was ten minutes later before.
    state = f"evanesce:{{{room_id}}}:state"
    valkey.client.hincrby(state, "t", 600_000)
    async with store.events.follow(room_id, 10) as feed:
        await store.messages.append(room_id, mine[1:])
        page = await store.messages.history(room_id, None, 2, 10_000)
        assert not isinstance(page, RoomClosed)
        assert [each.message.content for each in page.messages] == ["0", "1"]
        assert page.more
        assert await store.messages.unsend(room_id, mine[1].message_id, "ada") is True
        rest = await store.messages.history(room_id, page.cursor, 2, 10_000)
        assert not isinstance(rest, RoomClosed)
        assert [each.message.content for each in rest.messages] == ["2"]
        assert (rest.more, rest.missed) == (False, 0)
        assert [unsent.message_id for unsent in rest.unsent] == [mine[1].message_id]
        heard = await events(feed, 3)
    given = of_kind(heard, LogEntry)
    assert given[0].number < given[1].number
    assert all(each.deadline - trio.current_time() <= 60 for each in given)


async def test_after_a_reconnect_a_join_says_what_redis_refuses(valkey: RedisBackend, room_id: str) -> None:
    """Nobody is recorded before the server has its lease, which a full Redis refuses as well."""
    store = await valkey.open()
    await join(store, "before", [Member("ada", "Ada")])
    valkey.client.config_set("maxmemory", 1)
    valkey.client.client_kill_filter(_type="normal", skipme=True)

    async def told() -> bool:
        try:
            await join(store, room_id, [Member("ada", "Ada")])
        except StoreUnavailable as error:
            return "is full" in error.message
        return False

    await eventually(told)
    with within(1), pytest.raises(StoreUnavailable, match="is full"):
        await join(store, room_id, [Member("ada", "Ada")])
    valkey.client.config_set("maxmemory", 0)
    await eventually(lambda: store.health.healthy)

    async def joined() -> bool:
        try:
            await join(store, room_id, [Member("ada", "Ada")])
        except StoreUnavailable:
            return False
        return True

    await eventually(joined)
