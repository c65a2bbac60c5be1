"""A server that sends commands but receives no published messages: it notices, reports it, delivers, and recovers."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import trio
from trio.testing import MockClock

from evanesce.config.model import RedisTable
from evanesce.store import Store
from evanesce.store.control_bus import NoticesLost, TokenRevoked
from evanesce.store.events import Feed, HistoryLost, PresenceChanged, RoomEvent
from evanesce.store.message_log import LogEntry
from evanesce.store.presence import Member
from evanesce.store.redis import heartbeat, open_redis_store
from evanesce.store.redis.heartbeat import MISSED, Heartbeat
from tests.core.store.backends import RedisBackend, appended, draft, eventually, join, of_kind
from tests.core.store.gate import Gate
from tests.valkey_cluster import ValkeyCluster

pytestmark = pytest.mark.slow

PATIENCE = 40.0  # for a loaded machine: alone it takes 3 to 5 s
BEGINS = "what the message store publishes does not arrive"
ENDS = "what the message store publishes arrives again"


class Ears(Gate):
    """A gate that spoils subscribers' connections alone: `silent` swallows what comes for them, `shut` ends them."""

    silent = shut = False

    async def _requests(self, client: trio.SocketStream, valkey: trio.SocketStream) -> None:
        async for data in client:
            if b"SUBSCRIBE" in data:
                self._subscribers.add(client)
                if self.shut:
                    break
            await valkey.send_all(data)
        await valkey.send_eof()

    async def _answers(self, valkey: trio.SocketStream, client: trio.SocketStream) -> None:
        async for data in valkey:
            if client not in self._subscribers or not (self.silent or self.shut):
                await client.send_all(data)
            elif self.shut:
                return

    def __init__(self, path: Path, target: str) -> None:
        super().__init__(path, target)
        self._subscribers: set[trio.SocketStream] = set()


class Fault:
    """A way to make the subscription fail: `words` is what its log says of the cause."""

    words = ""

    def begin(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError


class Asked(Fault):
    """Commands to Redis that take the subscriber's connection away, and that let it be made again."""

    def __init__(self, client: redis.Redis, words: str, begin: tuple[Any, ...], end: tuple[Any, ...]) -> None:
        self.words = words
        self._client, self._begin, self._end = client, begin, end

    def begin(self) -> None:
        self._client.execute_command(*self._begin)
        self._client.client_kill_filter(_type="pubsub")

    def end(self) -> None:
        self._client.execute_command(*self._end)


class Spoilt(Fault):
    def __init__(self, ears: Ears, how: str, words: str) -> None:
        self.words = words
        self._ears, self._how = ears, how

    def begin(self) -> None:
        setattr(self._ears, self._how, True)

    def end(self) -> None:
        setattr(self._ears, self._how, False)


ALLOW = ("ACL", "SETUSER", "default", "+subscribe", "+ssubscribe")
ASKED: dict[str, tuple[str, tuple[Any, ...], tuple[Any, ...]]] = {
    "maxclients": (
        "accepts no more connections",
        ("CONFIG", "SET", "maxclients", 1),
        ("CONFIG", "SET", "maxclients", 10_000),
    ),
    "may not subscribe": ("does not grant", ("ACL", "SETUSER", "default", "-subscribe", "-ssubscribe"), ALLOW),
    "may not subscribe to rooms": ("does not grant", ("ACL", "SETUSER", "default", "-ssubscribe"), ALLOW),
}
SPOILT = {"silent": "Nothing arrives", "shut": "ended the connection"}


@asynccontextmanager
async def lone(name: str, valkey: RedisBackend, folder: Path) -> AsyncGenerator[tuple[RedisTable, Fault], None]:
    if name in ASKED:
        yield RedisTable(url=valkey.url), Asked(valkey.client, *ASKED[name])
        return
    ears = Ears(folder / "ears", valkey.url.removeprefix("unix://"))
    async with trio.open_nursery() as nursery:
        await nursery.start(ears.serve)
        yield RedisTable(url=ears.url), Spoilt(ears, name, SPOILT[name])
        nursery.cancel_scope.cancel()


async def heard_of(feed: Feed, *contents: str) -> list[RoomEvent]:
    """Wait until messages of these contents were given, and nothing else of that kind."""
    heard: list[RoomEvent] = []
    with trio.fail_after(PATIENCE):
        while [each.message.content for each in of_kind(heard, LogEntry)] != list(contents):
            heard += await feed.next()
    return heard


async def loses_the_subscription_and_recovers(
    table: RedisTable, fault: Fault, room_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with open_redis_store(table, ttl=600, server_id="one") as store:
        await eventually(lambda: store.health.healthy, PATIENCE)
        await join(store, room_id, [Member("ada", "Ada")])
        async with store.events.follow(room_id, 10) as feed:
            assert await appended(store, room_id, "before")
            [before] = of_kind(await heard_of(feed, "before"), LogEntry)
            fault.begin()
            assert await appended(store, room_id, "meanwhile"), "who sends notices nothing"
            heard = await heard_of(feed, "meanwhile")
            if not of_kind(heard, HistoryLost):  # it was fetched over a connection that was made before the fault began
                assert await appended(store, room_id, "once more")
                heard = await heard_of(feed, "once more")
            assert not store.health.subscriber_up
            assert not store.health.healthy
            await _delivers_all_the_same(store, feed, room_id)
            fault.end()
            await eventually(lambda: store.health.subscriber_up, PATIENCE)
            await store.health.probe()
            assert await appended(store, room_id, "after")
            assert not of_kind(await heard_of(feed, "after"), HistoryLost)
    [lost] = of_kind(heard, HistoryLost)
    assert lost.cursor >= before.cursor
    [told] = [record.message for record in caplog.records if record.message.startswith(BEGINS)]
    assert fault.words in told
    assert [record.levelname for record in caplog.records if record.message.startswith(ENDS)] == ["INFO"]


async def _delivers_all_the_same(store: Store, feed: Feed, room_id: str) -> None:
    await store.messages.append(room_id, [draft(room_id, str(number)) for number in range(3)])
    assert not of_kind(await heard_of(feed, "0", "1", "2"), HistoryLost), "it is told once"
    await join(store, room_id, [Member("bob", "Bob")])
    with trio.fail_after(PATIENCE):
        while not any(change.presence.count == 2 for change in of_kind(await feed.next(), PresenceChanged)):
            pass
    async with store.events.follow(room_id, 10) as late:
        assert await appended(store, room_id, "for all")
        await heard_of(late, "for all")
    await heard_of(feed, "for all")
    with trio.fail_after(PATIENCE):
        while not isinstance(await store.control.next_notice(), NoticesLost):  # a sign-out may have been among them
            pass


@pytest.mark.parametrize("name", [*ASKED, *SPOILT])
async def test_a_server_without_its_subscription_delivers_and_says_so(
    name: str, valkey: RedisBackend, tmp_path: Path, room_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with lone(name, valkey, tmp_path) as (table, fault):
        await loses_the_subscription_and_recovers(table, fault, room_id, caplog)


@pytest.mark.parametrize("name", ASKED)
async def test_one_primary_that_is_not_heard_is_enough(
    name: str, shared_cluster: ValkeyCluster, room_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    shared_cluster.start()
    shared_cluster.empty()
    primary = shared_cluster.primary_of(f"evanesce:{{{room_id}}}:events")
    fault = Asked(primary.client, *ASKED[name])
    try:
        table = RedisTable(url=shared_cluster.url, cluster=True)
        await loses_the_subscription_and_recovers(table, fault, room_id, caplog)
    finally:
        fault.end()


async def test_a_redis_that_answers_nobody_is_no_outage_of_the_subscriber(
    valkey: RedisBackend, room_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = await valkey.open()
    async with store.events.follow(room_id, 10) as feed:
        valkey.away()
        await trio.sleep((MISSED + 2) * heartbeat.HEARTBEAT_SECONDS)
        valkey.back()
        await eventually(lambda: store.health.healthy, PATIENCE)
        assert await appended(store, room_id, "after")
        assert not of_kind(await heard_of(feed, "after"), HistoryLost)
    assert BEGINS not in caplog.text


async def test_a_sign_out_is_looked_up_by_a_server_without_its_subscription(
    valkey: RedisBackend, tmp_path: Path
) -> None:
    other = await valkey.open("two")
    async with (
        lone("silent", valkey, tmp_path) as (table, fault),
        open_redis_store(table, ttl=60, server_id="one") as store,
    ):
        await eventually(lambda: store.health.healthy, PATIENCE)
        assert isinstance(await store.control.next_notice(), NoticesLost)  # of the first subscription
        fault.begin()
        await other.control.announce(TokenRevoked("a sign-in"))
        with trio.fail_after(PATIENCE):
            assert isinstance(await store.control.next_notice(), NoticesLost)
        assert await store.control.revoked(["a sign-in"])
        fault.end()


async def test_a_server_that_starts_without_its_subscription_finds_out_and_serves(
    valkey: RedisBackend, room_id: str
) -> None:
    fault = Asked(valkey.client, *ASKED["may not subscribe"])
    fault.begin()
    async with open_redis_store(RedisTable(url=valkey.url), ttl=600, server_id="one") as store:
        await eventually(lambda: not store.health.subscriber_up, PATIENCE)
        async with store.events.follow(room_id, 10) as feed:
            assert await appended(store, room_id, "looked up")
            await heard_of(feed, "looked up")
            fault.end()
            await eventually(lambda: store.health.subscriber_up, PATIENCE)
            assert await appended(store, room_id, "heard")
            await heard_of(feed, "heard")


# What beats tell

Step = Callable[[Heartbeat], object]


def beat(heartbeat: Heartbeat) -> None:
    heartbeat.begin()
    heartbeat.published()


def refused(heartbeat: Heartbeat) -> None:
    heartbeat.begin()


def heard(heartbeat: Heartbeat) -> None:
    heartbeat.received()


@pytest.mark.parametrize(
    ("steps", "lost"),
    [
        ([beat] * MISSED, False),
        ([beat] * (MISSED + 1), True),
        ([beat] * (MISSED + 1) + [heard], False),
        ([beat] * MISSED + [heard, beat, beat, beat], False),
        ([beat, heard] * 20, False),
        ([refused] * 20, False),
        ([beat, refused] * 20, True),
        ([beat] * (MISSED + 1) + [refused] * 20, True),
    ],
)
def test_so_many_missed_heartbeats_are_an_outage(steps: list[Step], lost: bool) -> None:
    heartbeat = Heartbeat()

    async def go() -> None:
        for step in steps:
            step(heartbeat)

    trio.run(go, clock=MockClock())
    assert heartbeat.up is not lost


def test_the_connection_is_made_anew_each_time_that_so_many_are_missed() -> None:
    heartbeat = Heartbeat()

    async def go() -> list[bool]:
        renewed: list[bool] = []
        for _ in range(3 * MISSED + 1):
            renewed.append(heartbeat.begin())
            heartbeat.published()
        return renewed

    renewed = trio.run(go, clock=MockClock())
    assert [place for place, anew in enumerate(renewed) if anew] == [MISSED, 2 * MISSED, 3 * MISSED]
