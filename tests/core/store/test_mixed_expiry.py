"""Messages of one room with different TTLs are gone from a real Redis, each at its end, and so is what names them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest
import redis
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evanesce.config.model import RedisTable
from evanesce.store import Store
from evanesce.store.message_log import LogEntry, RoomClosed, Stored
from evanesce.store.redis import appender, eraser, lease, open_redis_store, walk
from evanesce.store.redis.feed import RoomFeed
from tests.core.store.backends import (
    SECRET,
    RedisBackend,
    cluster_backend,
    draft,
    events,
    eventually,
    of_kind,
    python,
    redis_backend,
    send,
)
from tests.core.store.replicated import ReplicatedPair
from tests.core.store.test_expiry import LATEST, ROOMS, Watched, fill, size
from tests.e2e.valkey import Valkey
from tests.patience import within
from tests.valkey_cluster import ValkeyCluster

pytestmark = pytest.mark.slow

LONG = 3_600.0
ORDERS: Mapping[str, Sequence[float]] = {
    "long, short, long": [LONG, *([2.0] * 50), LONG, *([2.5] * 50)],
    "falling": [LONG, *(4.0 - number / 40 for number in range(80))],
    "rising": [*(2.0 + number / 40 for number in range(80)), LONG],
    "any": [2.0 + number * 7 % 20 / 10 for number in range(100)],
}
"""The TTLs of messages in the order in which they are sent: long enough for all to be there when the keys are read."""


async def send_order(store: Store, room_id: str, ttls: Sequence[float], group: int = 20) -> None:
    drafts = [msgspec.structs.replace(draft(room_id), ttl=ttl) for ttl in ttls]
    for start in range(0, len(drafts), group):
        answers = await store.messages.append(room_id, drafts[start : start + group], round(LONG * 1000))
        assert not isinstance(answers, RoomClosed)
        assert all(isinstance(answer, Stored) for answer in answers)


def soon(watched: Watched) -> Watched:
    """Return what ends soon: messages, and the indices of rooms without a long one."""
    now = watched.clients[0].time()[0] * 1000
    return watched.until(now + 60_000)


@pytest.mark.parametrize("secret", [None, SECRET], ids=["readable", "encrypted"])
@pytest.mark.parametrize("few", [False, True], ids=["as configured", "few at once"])
async def test_each_is_gone_at_its_end(few: bool, secret: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if few:  # so that the walk scouts
        monkeypatch.setattr(walk, "SCOUT_ENTRIES", 8)
        monkeypatch.setattr(eraser, "ENTRIES", 16)
    async with redis_backend(secret=secret) as valkey:
        fill(valkey.client)
        store = await valkey.open()
        await size(valkey.client)
        for order, ttls in ORDERS.items():
            await send_order(store, order, ttls)
        watched = Watched([valkey.client])
        await watched.take()
        ending = soon(watched)
        assert sum(":message:" in key for key in ending.ends) == sum(t < 60 for ttls in ORDERS.values() for t in ttls)
        await ending.gone(late=2 * LATEST if few else LATEST)  # many small calls take their time
        left = sorted(key.decode() for key in valkey.client.keys("evanesce:*:index"))
        assert left == [f"evanesce:{{{order}}}:index" for order in sorted(ORDERS) if max(ORDERS[order]) == LONG]


async def test_each_is_gone_at_its_end_in_a_cluster(shared_cluster: ValkeyCluster) -> None:
    shared_cluster.start()
    async with cluster_backend(shared_cluster) as backend:
        store = await backend.open()
        for order, ttls in ORDERS.items():
            await send_order(store, order, ttls)
        watched = Watched([node.client for node in shared_cluster.primaries])
        await watched.take()
        await soon(watched).gone()


SERVER = """
import sys, msgspec, trio
from evanesce.config.model import RedisTable
from evanesce.store.redis import lease, open_redis_store
from tests.core.store.backends import draft
from tests.core.store.test_mixed_expiry import LONG, send_order
lease.LEASE_SECONDS, lease.RENEW_SECONDS = 1.0, 0.1
async def main():
    async with open_redis_store(RedisTable(url=sys.argv[1]), ttl=60, server_id="killed") as store:
        for room_id in sys.argv[2:]:
            await send_order(store, room_id, [LONG, *(8.0 - number / 10 for number in range(20)), LONG])
        print("ready", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


async def test_what_a_lagging_replica_still_has_is_gone_when_it_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was erased stands between messages that are still there, anywhere in the index."""
    monkeypatch.setattr(eraser, "ENTRIES", 16)  # so that the index is not read at once
    rooms, ttls = ROOMS[:10], [LONG, *([2.5] * 10), LONG, *(2.5 - number / 50 for number in range(30)), LONG]
    with ReplicatedPair(tmp_path) as pair:
        await pair.ready()
        fill(pair.primary)
        table = RedisTable(url=f"redis://127.0.0.1:{pair.port}")
        async with open_redis_store(table, ttl=60, server_id="one") as store:
            rest = await size(pair.primary) + len(rooms) * (2 + ttls.count(LONG))  # with their states and indices
            for room_id in rooms:
                await send_order(store, room_id, ttls, group=len(ttls))
            await pair.hold_back()
            short = len(rooms) * (len(ttls) - ttls.count(LONG))
            assert pair.primary.dbsize() == rest + short, "nothing has ended yet"
            await eventually(lambda: pair.primary.dbsize() == rest)
            pair.fail_over()
            assert pair.replica.dbsize() > rest + short // 2, "the replica has erased few of them by itself"
            with within(2):
                await eventually(lambda: pair.replica.dbsize() == rest)


async def test_another_server_takes_over_from_a_dead_one(valkey: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The heir has messages of its own in half of the rooms, and knows how far those are erased."""
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    fill(valkey.client)
    heir = await valkey.open("two")
    rooms = ROOMS[:10]
    for room_id in rooms[::2]:
        await send_order(heir, room_id, [LONG, 8.0, LONG])
    async with python(SERVER, valkey.url, *rooms) as (_, line):
        assert line == "ready"
        [left] = valkey.client.keys("evanesce:{servers}:erase:killed.*")
    await eventually(lambda: not valkey.client.exists(left))
    watched = Watched([valkey.client])
    await watched.take(1)
    ending = soon(watched)
    assert sum(":message:" in key for key in ending.ends) == 10 * 20 + 5
    await ending.gone()


async def test_a_rooms_ttl_goes_from_a_day_to_a_second_and_back(valkey: RedisBackend, room_id: str) -> None:
    fill(valkey.client)
    store = await valkey.open()
    before = await size(valkey.client)
    state = f"evanesce:{{{room_id}}}:state"
    long = 0
    for ttl in (86_400_000, 1_000, 86_400_000, 1_000):
        valkey.client.hset(state, mapping={"rv": 1, "ttl": ttl})
        for _ in range(10):
            await send(store, room_id, *("x" for _ in range(20)))
        long += 200 if ttl > 1_000 else 0
        if ttl == 1_000:  # each at its end is tested above; here, that all are
            left = before + 2 + long
            with within(2):
                await eventually(lambda left=left: valkey.client.dbsize() <= left)
    assert len(valkey.client.keys(f"evanesce:{{{room_id}}}:message:*")) == long == 400
    history = await store.messages.history(room_id, None, 1_000, 10_000_000)
    assert not isinstance(history, RoomClosed)
    assert len(history.messages) == 400


async def test_the_index_is_as_long_as_its_messages_live_and_no_longer(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a server that erases: a room that once had a long TTL has a short index when that is over."""
    monkeypatch.setattr(appender, "GRACE", 200)
    store = await valkey.open(ttl=0.3)
    index, state = f"evanesce:{{{room_id}}}:index", f"evanesce:{{{room_id}}}:state"

    async def erases_nothing(batch: object) -> bool:
        await trio.lowlevel.checkpoint()
        return True

    monkeypatch.setattr(eraser.Eraser, "_erase", lambda self, batch: erases_nothing(batch))
    valkey.client.hset(state, mapping={"rv": 1, "ttl": 2_000})
    await send(store, room_id, "long")
    began = trio.current_time()
    for ttl in (500, 2_000, 500):
        valkey.client.hset(state, mapping={"rv": 1, "ttl": ttl})
        await send(store, room_id, "one")
    lengths: list[int] = []
    while trio.current_time() < began + 6.0:
        await send(store, room_id, *("x" for _ in range(20)))
        lengths.append(int(valkey.client.xlen(index)))
        await trio.sleep(0.02)
        if trio.current_time() < began + 1.5:
            assert lengths[-1] == 4 + 20 * len(lengths), "nothing is cut while the long message lives"
    # From then on 0.5 s, the grace of 0.2 s, and a node or two of the stream.
    sent = 20 * sum(1 for _ in lengths)
    assert lengths[-1] < sent * (0.5 + 0.2) / 6.0 + 400


async def test_a_feed_remembers_no_message_that_has_ended(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    async with store.events.follow(room_id, 10) as feed:
        assert isinstance(feed, RoomFeed)
        await send_order(store, room_id, [LONG, *([0.2] * 200)])
        given = of_kind(await events(feed, 201), LogEntry)
        await eventually(lambda: trio.current_time() > given[-1].deadline)
        await send(store, room_id, "next")
        await events(feed, 1)
        assert len(feed._seen) == len(feed._ends) == 2


# How long the longest TTL of a room counts

SIMULATION = """
local now = 0
%s
local default = 60
local found, answers = nil, {}
for i = 1, #ARGV, 2 do
  now = now + tonumber(ARGV[i])
  found = found and found.record and lifetimes(found.record)
  local ttl = tonumber(ARGV[i + 1])
  if ttl > default then found = lives(found, ttl) end
  local since, last = span(found, default)
  answers[#answers + 1] = { now, since, last }
end
return answers
"""


@pytest.fixture(scope="module")
def client() -> Iterator[redis.Redis]:
    """A Valkey without any store on it."""
    with Valkey() as valkey:
        client: redis.Redis = redis.Redis.from_url(valkey.url)
        yield client
        client.close()


def lifetimes_of(client: redis.Redis, stored: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return the time, the start and the end of what the state of a room tells after each message."""
    source = SIMULATION % (files("evanesce.store.redis") / "lua" / "lifetimes.lua").read_text()
    arguments = [number for each in stored for number in each]
    return [tuple(each) for each in client.eval(source, 0, *arguments)]


def check_lifetimes(client: redis.Redis, stored: Sequence[tuple[int, int]]) -> None:
    messages: list[tuple[int, int]] = []
    for (now, since, last), (_, ttl) in zip(lifetimes_of(client, stored), stored, strict=True):
        messages.append((now, now + ttl))
        alive = [each for each in messages if each[1] > now]
        assert all(since <= at for at, _ in alive), "what is alive is in the part that is kept"
        assert all(end <= last for _, end in alive)
        # What lived long counts until its end, and may count for as long as one more message.
        ended = max((end for at, end in messages if end - at >= now - since and end - at > 60), default=now + 60)
        longest = max(end - at for at, end in messages)
        assert now - since <= 60 or now <= ended + longest


@given(st.lists(st.tuples(st.integers(0, 500), st.sampled_from([1, 60, 61, 100, 300, 700, 1_000])), max_size=40))
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_state_tells_how_far_back_messages_are_alive(client: redis.Redis, stored: list[tuple[int, int]]) -> None:
    if stored:
        check_lifetimes(client, stored)


def test_a_long_ttl_is_forgotten_in_a_room_that_is_never_quiet(client: redis.Redis) -> None:
    day, busy = (0, 86_400), [(50, 120)] * 4_000
    found = lifetimes_of(client, [day, (40_000, 40_000), *busy])
    assert found[0][0] - found[0][1] == 86_400
    for now, since, _ in found:
        if now < 86_400:
            assert now - since == 86_400
        elif now > 86_400 + 120:
            assert now - since <= 40_000
    assert found[-1][0] - found[-1][1] == 120
