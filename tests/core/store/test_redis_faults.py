"""Redis killed, stopped, cut off, full, restricted; servers killed: what was promised is kept."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import trio
import trio.testing

from evanesce.config.model import RedisTable
from evanesce.errors import StoreUnavailable
from evanesce.model import timestamp
from evanesce.store.base import (
    Departed,
    Entered,
    Feed,
    Gone,
    Lost,
    MessageStore,
    Person,
    Positioned,
    PresenceChanged,
)
from evanesce.store.redis import feed as feeds
from evanesce.store.redis import link as links
from evanesce.store.redis import open_redis_store, presence
from evanesce.store.redis.scripts import SETTLE, Command
from tests.core.store.backends import Record, RedisBackend, draft, eventually, happenings, of_kind, python, until

ADA, BOB = Person("ada", "Ada"), Person("bob", "Bob")


async def grows(items: list[str], by: int) -> None:
    target = len(items) + by
    await eventually(lambda: len(items) >= target)


@pytest.mark.parametrize("moment", range(3))
async def test_killed_under_load_it_acknowledges_nothing_false(valkey: RedisBackend, room_id: str, moment: int) -> None:
    store = await valkey.open()
    record = Record()
    async with store.follow(room_id, 10) as feed, trio.open_nursery() as nursery:
        nursery.start_soon(record.listen, feed)
        for _ in range(5):
            nursery.start_soon(record.talk, store, room_id)
        await grows(record.acknowledged, 200 + moment * 37)
        valkey.forget()
        await eventually(lambda: record.refused, 2)
        with trio.fail_after(2):
            await grows(record.acknowledged, 100)
        await record.settled(store, room_id)
        nursery.cancel_scope.cancel()
    assert len(set(record.given)) == len(record.given)
    [lost] = [place for place, each in enumerate(record.heard) if isinstance(each, Lost)]
    # What was acknowledged and never heard of can only be from before the loss, which was told.
    unheard = set(record.acknowledged) - set(record.given)
    after = {each.message.message_id for each in of_kind(record.heard[lost:], Positioned)}
    first_after = next(n for n, message_id in enumerate(record.acknowledged) if message_id in after)
    assert unheard.isdisjoint(record.acknowledged[first_after + 5 :])
    numbers = [each.number for each in of_kind(record.heard, Positioned)]
    assert numbers == sorted(numbers)


async def test_stopped_under_load_nothing_is_lost_or_doubled(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    record = Record()
    async with store.follow(room_id, 10) as feed, trio.open_nursery() as nursery:
        nursery.start_soon(record.listen, feed)
        for _ in range(5):
            nursery.start_soon(record.talk, store, room_id)
        await grows(record.acknowledged, 100)
        valkey.away()
        await trio.sleep(5)  # longer than every time-out
        valkey.back()
        with trio.fail_after(1):
            await grows(record.acknowledged, 50)
        await record.settled(store, room_id)
        nursery.cancel_scope.cancel()
    assert record.refused
    assert record.slowest < 2.5
    assert not of_kind(record.heard, Lost)
    assert len(set(record.given)) == len(record.given)
    assert set(record.acknowledged) <= set(record.given)


async def test_a_cut_subscription_loses_nothing(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    record = Record()
    await store.enter(room_id, [Person("ada", "Ada")], 10, 10)
    async with store.follow(room_id, 10) as feed, trio.open_nursery() as nursery:
        nursery.start_soon(record.listen, feed)
        for _ in range(3):
            nursery.start_soon(record.talk, store, room_id)
        for _ in range(5):
            await grows(record.acknowledged, 100)
            valkey.client.client_kill_filter(_type="pubsub")
        await grows(record.acknowledged, 100)
        await record.settled(store, room_id)
        nursery.cancel_scope.cancel()
    assert not record.refused
    assert not of_kind(record.heard, Lost)
    assert set(record.given[:-1]) == set(record.acknowledged)
    assert len(set(record.given)) == len(record.given) == len(record.acknowledged) + 1
    numbers = [each.number for each in of_kind(record.heard, Positioned)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    changes = of_kind(record.heard, PresenceChanged)
    assert changes
    assert all(change.presence.people == (Person("ada", "Ada"),) for change in changes)


async def test_what_is_said_while_nobody_listens_is_fetched_or_told(valkey: RedisBackend, room_id: str) -> None:
    one, other = await valkey.open("one", ttl=0.4), await valkey.open("two", ttl=60)
    async with one.follow(room_id, 10) as feed:
        await one.append(room_id, [draft(room_id, "heard")])
        await happenings(feed, 1)
        subscriber = _channel_listener(feed)
        subscriber.muted = True
        taken_back = draft(room_id, "taken back")
        await other.append(room_id, [draft(room_id, "missed"), taken_back])
        await other.withdraw(room_id, taken_back.message_id, "ada")
        subscriber.muted = False
        await other.append(room_id, [draft(room_id, "after")])
        heard = await until(feed, Positioned, 2)
        assert [each.message.content for each in of_kind(heard, Positioned)] == ["missed", "after"]
        assert not of_kind(heard, Lost)
        subscriber.muted = True
        brief = draft(room_id, "expires unheard")
        await one.append(room_id, [brief])
        key = f"evanesce:{{{room_id}}}:message:{brief.message_id}"
        await eventually(lambda: not valkey.client.exists(key), 5)
        subscriber.muted = False
        await other.append(room_id, [draft(room_id, "late")])
        heard = await until(feed, Positioned)
        assert [type(each) for each in heard] == [Lost, Positioned]


class _Muted:
    """Stands before a feed and, while `muted`, lets nothing through: as if Redis had lost it."""

    def __init__(self, feed: feeds.RoomFeed) -> None:
        self.muted = False
        self._push = feed.push

    def push(self, payload: bytes) -> None:
        if not self.muted:
            self._push(payload)


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
    async with store.follow(room_id, 10) as feed:
        for n in range(100):
            await store.append(room_id, [draft(room_id, str(n))])
        heard = of_kind(await until(feed, Positioned, 100), Positioned)
    assert [each.message.content for each in heard] == [str(n) for n in range(100)]


async def test_an_emptied_script_cache_is_filled_again(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    async with store.follow(room_id, 10) as feed:
        for n in range(3):
            valkey.client.script_flush()
            await store.append(room_id, [draft(room_id, str(n))])
        assert len(await happenings(feed, 3)) == 3


async def test_a_lost_connection_is_replaced_before_anybody_notices(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    for _ in range(5):
        valkey.client.client_kill_filter(_type="normal", skipme=True)
        await trio.sleep(0.05)  # longer than what a connection in use is trusted unseen
        await store.append(room_id, [draft(room_id)])
    history = await store.history(room_id, None, 10, 100_000)
    assert not isinstance(history, Gone)
    assert len(history.messages) == 5


async def test_a_full_redis_is_told(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    valkey.client.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailable, match="full"):
        await store.append(room_id, [draft(room_id)])
    assert store.healthy
    valkey.client.config_set("maxmemory", 0)
    history = await store.history(room_id, None, 10, 1_000)
    assert not isinstance(history, Gone)
    assert (history.messages, history.more) == ((), False)


async def test_a_replica_is_told(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    await store.append(room_id, [draft(room_id)])
    valkey.client.replicaof("127.0.0.1", "1")
    with pytest.raises(StoreUnavailable, match="replica"):
        await store.append(room_id, [draft(room_id)])
    valkey.client.replicaof("no", "one")
    await store.append(room_id, [draft(room_id)])


async def test_what_waits_is_bounded(valkey: RedisBackend, monkeypatch: pytest.MonkeyPatch, room_id: str) -> None:
    monkeypatch.setattr(links, "OUTSTANDING", 5)
    store = await valkey.open()
    refused: list[str] = []

    async def send() -> None:
        try:
            await store.append(room_id, [draft(room_id)])
        except StoreUnavailable as error:
            refused.append(error.message)

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
        assert not store.healthy
        with trio.fail_after(0.1), pytest.raises(StoreUnavailable):
            await store.append(room_id, [draft(room_id)])
        with trio.fail_after(0.1), pytest.raises(StoreUnavailable):
            async with store.follow(room_id, 10):
                pytest.fail("there is nothing to follow")
        os.rename(f"{socket}.away", socket)
        await eventually(lambda: store.healthy, 0.5)
        await store.append(room_id, [draft(room_id)])


async def test_the_store_ends_at_once_though_redis_hangs(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    await store.enter(room_id, [Person("ada", "Ada")], 10, 10)
    valkey.away()
    with trio.fail_after(4):
        await valkey.close(store)
    valkey.back()


async def test_a_clock_that_goes_back_turns_no_order_round(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open(ttl=60)
    mine = [draft(room_id, str(n)) for n in range(3)]
    await store.append(room_id, mine[:1])
    # To the room it was ten minutes later before.
    state = f"evanesce:{{{room_id}}}:state"
    valkey.client.hincrby(state, "t", 600_000)
    async with store.follow(room_id, 10) as feed:
        await store.append(room_id, mine[1:])
        page = await store.history(room_id, None, 2, 10_000)
        assert not isinstance(page, Gone)
        assert [each.message.content for each in page.messages] == ["0", "1"]
        assert page.more
        assert await store.withdraw(room_id, mine[1].message_id, "ada") is True
        rest = await store.history(room_id, page.cursor, 2, 10_000)
        assert not isinstance(rest, Gone)
        assert [each.message.content for each in rest.messages] == ["2"]
        assert (rest.more, rest.missed) == (False, 0)
        assert [withdrawal.message_id for withdrawal in rest.unsent] == [mine[1].message_id]
        heard = await happenings(feed, 3)
    given = of_kind(heard, Positioned)
    assert given[0].number < given[1].number
    assert all(each.deadline - trio.current_time() <= 60 for each in given)


# Other servers

SERVER = """
import sys, trio
from evanesce.config.model import RedisTable
from evanesce.store.base import Person
from evanesce.store.redis import open_redis_store, presence
presence.LEASE_SECONDS, presence.RENEW_SECONDS = 1.0, 0.1
async def main():
    async with open_redis_store(RedisTable(url=sys.argv[1]), ttl=60, server_id="killed") as store:
        await store.enter(sys.argv[2], [Person("ada", "Ada"), Person("bob", "Bob")], 10, 10)
        print("ready", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


async def killed_server(valkey: RedisBackend, room_id: str) -> None:
    """Let a server put Ada and Bob into a room, and kill it."""
    async with python(SERVER, valkey.url, room_id) as (_, line):
        assert line == "ready"


async def test_a_killed_servers_people_leave(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "RENEW_SECONDS", 0.1)
    one, two = await valkey.open("one"), await valkey.open("two")
    await one.enter(room_id, [Person("ada", "Ada")], 10, 10)
    async with two.follow(room_id, 10) as feed:
        await killed_server(valkey, room_id)
        heard = await until(feed, Departed)
    assert [(each.user_id, each.count) for each in of_kind(heard, Departed)] == [("bob", 1)]
    assert (await two.presence(room_id, 10)).people == (Person("ada", "Ada"),)
    await eventually(lambda: not any(b"killed" in key for key in valkey.client.scan_iter()), 5)


async def test_a_server_that_comes_back_clears_up_behind_itself(valkey: RedisBackend, room_id: str) -> None:
    await killed_server(valkey, room_id)
    again = await valkey.open("killed")

    async def cleared() -> bool:
        return await again.counts([room_id]) == [0]

    await eventually(cleared, 5)


async def test_a_server_that_was_stopped_too_long_comes_in_again(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "RENEW_SECONDS", 0.1)
    one, two = await valkey.open("one"), await valkey.open("two")
    await one.enter(room_id, [Person("ada", "Ada")], 10, 10)
    leases = "evanesce:{servers}:leases"
    [name] = [server for server in valkey.client.zrange(leases, 0, -1) if server.startswith(b"one.")]
    valkey.client.zadd(leases, {name: 1})
    await eventually(lambda: valkey.client.zscore(leases, name) is None, 5)

    async def back() -> bool:
        return (await two.presence(room_id, 10)).people == (Person("ada", "Ada"),)

    await eventually(back, 5)
    assert await one.leave(room_id, ["ada"]) == 0


MANY = """
import sys, trio
from evanesce.config.model import RedisTable
from evanesce.store.base import Person
from evanesce.store.redis import open_redis_store, presence
presence.LEASE_SECONDS, presence.RENEW_SECONDS = 1.0, 0.1
async def main():
    async with open_redis_store(RedisTable(url=sys.argv[1]), ttl=60, server_id="killed") as store:
        for room_id in sys.argv[2:]:
            await store.enter(room_id, [Person("ada", "Ada")], 10, 10)
        print("ready", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


async def test_clearing_up_behind_a_dead_server_costs_nobody_the_lease(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(presence, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(presence, "SLICE", 1)
    rooms = [f"room-{number}" for number in range(30)]
    settled = list[links.Link]()
    clearing, cleared = trio.Event(), trio.Event()
    run = links.Link.run

    async def slow(link: links.Link, *commands: Command) -> list[Any]:
        if any(command[1] == SETTLE.digest for command in commands):
            settled.append(link)
            clearing.set()
            if settled.count(settled[0]) == len(rooms):
                cleared.set()
            if link is settled[0]:
                await trio.sleep(0.1)  # all rooms take as long as three leases
        return await run(link, *commands)

    one = await valkey.open("one")
    await one.enter(room_id, [BOB], 10, 10)
    async with python(MANY, valkey.url, *rooms):
        monkeypatch.setattr(links.Link, "run", slow)
    with trio.fail_after(5):
        await clearing.wait()  # so it is `one` that is slow
    two = await valkey.open("two")
    async with two.follow(room_id, 10) as feed:
        with trio.fail_after(10):
            await cleared.wait()
        await two.append(room_id, [draft(room_id)])
        heard = await until(feed, Positioned)
    assert not of_kind(heard, Departed), "nobody else was taken for dead meanwhile"
    assert await two.counts([room_id, *rooms]) == [1] + [0] * len(rooms)


async def test_while_redis_is_away_no_lease_runs_out(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(presence, "AWAY_SECONDS", 0.3)
    monkeypatch.setattr(presence, "RENEW_SECONDS", 0.1)
    one, two = await valkey.open("one"), await valkey.open("two")
    await one.enter(room_id, [ADA], 10, 10)
    await two.enter(room_id, [BOB], 10, 10)
    leases = "evanesce:{servers}:leases"
    names = set(valkey.client.zrange(leases, 0, -1))
    await eventually(one.servers)
    async with one.follow(room_id, 10) as feed:
        valkey.away()
        await trio.sleep(1)  # longer than a lease: that is what is tried
        valkey.back()
        await eventually(lambda: one.healthy and two.healthy)
        lives = await one.servers()
        assert lives is None or min(lives.values()) > timestamp(one.now()), "nobody is taken for dead"
        ends = dict(valkey.client.zrange(leases, 0, -1, withscores=True))

        def renewed() -> bool:
            now = dict(valkey.client.zrange(leases, 0, -1, withscores=True))
            return all(now[name] > ends[name] for name in names)

        await eventually(renewed)
        await one.append(room_id, [draft(room_id)])
        heard = await until(feed, Positioned)
    assert set(valkey.client.zrange(leases, 0, -1)) == names
    assert not [each for each in heard if isinstance(each, Entered | Departed)]
    assert set((await one.presence(room_id, 10)).people or ()) == {ADA, BOB}


async def test_a_slow_server_is_not_gone_and_back_by_turns(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "RENEW_SECONDS", 0.1)
    store = await valkey.open("one")
    leases = "evanesce:{servers}:leases"

    def ends() -> float:
        return max(end for name, end in valkey.client.zrange(leases, 0, -1, withscores=True) if b"killed" in name)

    async with store.follow(room_id, 10) as feed, python(SERVER, valkey.url, room_id) as (process, _):
        await until(feed, Entered, 2)
        os.kill(process.pid, signal.SIGSTOP)
        heard = await until(feed, Departed, 2)
        os.kill(process.pid, signal.SIGCONT)
        heard += await until(feed, Entered, 2)
        assert len(of_kind(heard, Departed)) == 2

        # The lease that it takes then is twice as long: to be late for more than 1 s costs it nothing any more.
        for _ in range(2):
            before = ends()
            os.kill(process.pid, signal.SIGSTOP)
            await trio.sleep(1.2)
            os.kill(process.pid, signal.SIGCONT)
            await eventually(lambda before=before: ends() > before)
        await store.append(room_id, [draft(room_id)])
        heard = await until(feed, Positioned)
        assert not [each for each in heard if isinstance(each, Entered | Departed)]


# A replica that lagged behind took its primary's place: everything is as it was some moments ago


def snapshot(valkey: RedisBackend) -> dict[bytes, tuple[bytes, int]]:
    """All that Valkey holds, with what is left of its life in milliseconds, or 0."""
    return {key: (valkey.client.dump(key), max(0, valkey.client.pttl(key))) for key in valkey.client.scan_iter()}


def go_back(valkey: RedisBackend, then: dict[bytes, tuple[bytes, int]], *, cut: bool) -> None:
    """Make everything as it was; with `cut`, the connections break, as they do when a primary is lost."""
    gone = set(valkey.client.scan_iter()) - then.keys()
    with valkey.client.pipeline() as all_at_once:
        for key, (value, left) in then.items():
            all_at_once.restore(key, left, value, replace=True)
        if gone:
            all_at_once.delete(*gone)
        all_at_once.execute()
    if cut:
        valkey.client.client_kill_filter(_type="normal", skipme=True)
        valkey.client.client_kill_filter(_type="pubsub")


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("said_after", [1, 2, 5])
async def test_when_numbers_come_again_it_is_told_and_nothing_new_is_missed(
    valkey: RedisBackend, room_id: str, said_after: int, cut: bool
) -> None:
    store, other = await valkey.open("one"), await valkey.open("two")
    await store.enter(room_id, [ADA], 10, 10)
    async with store.follow(room_id, 10) as feed, other.follow(room_id, 10) as elsewhere:
        await store.append(room_id, [draft(room_id, "kept")])
        then = snapshot(valkey)
        await store.enter(room_id, [BOB], 10, 10)
        await store.append(room_id, [draft(room_id, f"lost {number}") for number in range(2)])
        heard = of_kind(await until(feed, Positioned, 3), Positioned)
        await until(elsewhere, Positioned, 3)
        go_back(valkey, then, cut=cut)
        await trio.sleep(0.002)  # what is said next is of a later millisecond: a replica takes far longer
        await eventually(lambda: store.healthy)
        said = [f"new {number}" for number in range(said_after)]
        for content in said:
            await eventually(lambda content=content: appended(store, room_id, content))
        for one in (feed, elsewhere):
            told = await until(one, Positioned, said_after)
            assert of_kind(told, Lost), "what may be lost is told"
            assert [each.message.content for each in of_kind(told, Positioned)] == said, "and nothing new is missed"
            assert isinstance(told[0], Lost | PresenceChanged)
            numbers = [each.number for each in of_kind(told, Positioned)]
            assert of_kind(told, Lost)[0].number < numbers[0], "or rooms would take what is new for old"
            assert numbers == sorted(set(numbers))

        async def both_are_there() -> bool:
            return set((await other.presence(room_id, 10)).people or ()) == {ADA, BOB}

        await eventually(both_are_there)
        history = await store.history(room_id, heard[-1].cursor, 10, 100_000)
        assert not isinstance(history, Gone)
        assert history.missed is None, "a cursor of before serves no more"
        assert [each.message.content for each in history.messages] == ["kept", *said]


async def appended(store: MessageStore, room_id: str, content: str) -> bool:
    try:
        return not isinstance(await store.append(room_id, [draft(room_id, content)]), Gone)
    except StoreUnavailable:
        return False


async def test_a_cursor_whose_number_came_again_serves_no_more(valkey: RedisBackend, room_id: str) -> None:
    """Also where nobody is in the room who would have noticed."""
    store = await valkey.open()
    await store.append(room_id, [draft(room_id, "kept")])
    then = snapshot(valkey)
    await store.append(room_id, [draft(room_id, "lost")])
    before = await store.history(room_id, None, 10, 100_000)
    assert not isinstance(before, Gone)
    go_back(valkey, then, cut=False)
    await trio.sleep(0.002)  # the next one is of a later millisecond
    for content in ("new", "newer"):
        await store.append(room_id, [draft(room_id, content)])
    history = await store.history(room_id, before.cursor, 10, 100_000)
    assert not isinstance(history, Gone)
    assert history.missed is None
    assert [each.message.content for each in history.messages] == ["kept", "new", "newer"]
