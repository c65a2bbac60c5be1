"""What has expired is gone: every key that Evanesce writes with a TTL, at its end + 0.25 s, and never before.

Seen by DBSIZE, which erases nothing, beside many other keys with a TTL, among which Redis by itself finds what has
expired only after minutes.
"""

from __future__ import annotations

import os
import re
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import redis
import trio

from evanesce.config.model import RedisTable
from evanesce.errors import StoreUnavailable
from evanesce.model import milliseconds
from evanesce.store import Store
from evanesce.store.message_log import RoomClosed, Stored
from evanesce.store.presence import Member
from evanesce.store.redis import (
    eraser,
    lease,
    message_log,
    open_redis_store,
    presence,
    rate_limits,
    register,
    rules,
    schedule,
    walk,
)
from evanesce.store.redis.homes import HOMES
from evanesce.store.rules import Ballot, Person
from tests.core.store.backends import (
    RULES,
    SMALLEST_ACCESS,
    RedisBackend,
    appended,
    cluster_backend,
    draft,
    eventually,
    join,
    python,
    redis_backend,
)
from tests.core.store.replicated import ReplicatedPair
from tests.patience import PATIENCE, Taken, within
from tests.valkey_cluster import ValkeyCluster

pytestmark = pytest.mark.slow

LATEST = 250
"""How long after its end a key may still be there, in milliseconds."""

OTHERS = 20_000
DAY = 86_400_000

KINDS: Mapping[str, str] = {
    "message": r"\{[^}]+\}:message:.+",
    "tombstone": r"\{[^}]+\}:unsent:.+",
    "index": r"\{[^}]+\}:index",
    "state of a room": r"\{[^}]+\}:state",
    "bans": r"\{[^}]+\}:bans",
    "bans by votes": r"\{[^}]+\}:voted",
    "mutes": r"\{[^}]+\}:mutes",
    "who has left lately": r"\{[^}]+\}:away",
    "vote": r"\{[^}]+\}:vote:.+",
    "votes that run": r"\{[^}]+\}:votes",
    "tokens": r"\{[^}]+\}:tokens",
    "connections": r"\{[^}]+\}:connections",
    "what was put": r"kept:.+",
    "duty": r"\{servers[:\d]*\}:duty:.+",
}
"""Every kind of key with a TTL of its own."""

RENEWED = r"\{servers[:\d]*\}:(lives|since|heard|lag|erase:.+)"
"""Keys whose TTL is renewed for as long as any server runs."""


def fill(client: redis.Redis) -> None:
    """Store the keys of somebody else, beside which Redis finds little by sampling."""
    with client.pipeline(transaction=False) as many:
        for number in range(OTHERS):
            many.set(f"other:{number}", "", px=DAY)
        many.execute()


class TakenLately:
    """How much the machine has taken lately from this process, which erases, and from every Redis that it started."""

    def __init__(self) -> None:
        self._taken = Taken()
        self._samples = deque([(trio.current_time(), 0.0)])

    def milliseconds(self, window: int) -> int:
        """Return how much that was in the last `window` milliseconds, or since the start; to be asked all the time."""
        now, total = trio.current_time(), self._taken.seconds()
        self._samples.append((now, total))
        while len(self._samples) > 1 and self._samples[1][0] < now - window / 1000:
            self._samples.popleft()
        return round((total - self._samples[0][1]) * 1000)


async def gone_in_time(client: redis.Redis, ended: int, gone: Callable[[], bool]) -> None:
    """Wait until `gone`: `LATEST` ms after `ended` at the latest, and later by what the machine took."""
    lately = TakenLately()
    with trio.fail_after(PATIENCE):
        while not gone():
            lately.milliseconds(2 * LATEST)
            await trio.sleep(0.01)
    seconds, microseconds = client.time()
    late = int(seconds) * 1000 + int(microseconds) // 1000 - ended
    assert late <= LATEST + lately.milliseconds(2 * LATEST), f"it was gone after {late} ms"


@dataclass
class Watched:
    """The keys that expire, with their ends, and how many keys there are in all.

    An index ends with the last of its messages: what its TTL says is for the case that no server is left.
    """

    clients: Sequence[redis.Redis]
    total: int = 0
    ends: dict[str, int] = field(default_factory=dict[str, int])

    async def take(self, servers: int = 1) -> None:
        """Read what is there now. Nothing has expired yet, so that looking erases nothing.

        It waits until the servers have written what each writes once, when it has begun, in every home, and have noted
        that they are in no room any more.
        """
        homes = HOMES if len(self.clients) > 1 else 1
        await eventually(
            lambda: (
                self._count(":erase:*") == servers * homes
                and all(self._count(f":{name}") == homes for name in ("leases", "lives", "since", "heard"))
                and self._count(":lag") == 1
                and self._count(":rooms:*") == 0
            )
        )
        self.total = sum(client.dbsize() for client in self.clients)
        self.ends = {}
        indices: list[str] = []
        for client in self.clients:
            for raw in client.scan_iter("evanesce:*", count=5_000):
                key = raw.decode()
                ends = client.pexpiretime(raw)
                if key.endswith(":index"):
                    indices.append(key)
                elif ends > 0 and not re.fullmatch(f"evanesce:{RENEWED}", key):
                    self.ends[key] = ends
        for index in indices:
            room = index.removesuffix("index")
            messages = [ends for key, ends in self.ends.items() if key.startswith(f"{room}message:")]
            self.ends[index] = max(messages, default=self._now())

    def until(self, last: int) -> Watched:
        """Return the same for those keys alone that end by `last`."""
        return Watched(self.clients, self.total, {key: ends for key, ends in self.ends.items() if ends <= last})

    async def gone(self, *, late: int = LATEST) -> None:
        """Wait until all of them are gone: each `late` ms after its end at the latest, and none before its end.

        On a loaded machine they may be there for longer by as much as it has taken meanwhile.
        """
        ends = sorted(self.ends.values())
        assert ends
        taken = TakenLately()
        with trio.fail_after(60):
            while True:
                before = self._now() - taken.milliseconds(2 * late)
                there = sum(client.dbsize() for client in self.clients)
                after = self._now()
                left = len(ends) - (self.total - there)
                assert left >= sum(end > after for end in ends), "something was erased before its end"
                assert left <= sum(end > before - late for end in ends), (
                    f"{left} keys are there, the last of which ended {before - ends[-1]} ms ago"
                )
                if left == 0:
                    return
                await trio.sleep(0.01)

    def _count(self, name: str) -> int:
        return sum(len(client.keys(f"evanesce:{{servers*}}{name}")) for client in self.clients)

    def _now(self) -> int:
        seconds, microseconds = self.clients[0].time()
        return int(seconds) * 1000 + int(microseconds) // 1000


async def exercise(store: Store, rooms: Sequence[str]) -> None:
    """Do all that a store can do, so that every kind of key is there."""
    await store.one_time_values.put("challenge:guest:one", b"value", 3.0)
    assert await store.servers.claim("duty", 3.3)
    assert await store.rate_limits.take_tokens("messages:ada", 5, 1.5, 20) == (5, 0)
    assert await store.rate_limits.connect("ada", 1, 10)
    assert await store.rate_limits.connect("bob", 1, 10)
    store.rate_limits.disconnect("bob", 0)
    for room_id in rooms:
        await join(store, room_id, [Member(name, name.title()) for name in ("ada", "bob", "cyd", "eve")])
        drafts = [draft(room_id) for _ in range(20)]
        assert not isinstance(await store.messages.append(room_id, drafts), RoomClosed)
        assert await store.messages.unsend(room_id, drafts[3].message_id, "ada") is True
        await store.messages.history(room_id, None, 10, 100_000)
        await store.messages.append(room_id, [draft(room_id)])
        await store.presence.rename(room_id, Member("ada", "Countess"))
        locked = replace(RULES, version=1, locked=True)
        await store.rules.install(room_id, locked, {"dan": store.clock.now() + 3_200})
        await store.rules.mute(room_id, "bob", 3.4)
        for voter, user_id in (("ada", "cyd"), ("bob", "cyd"), ("ada", "bob")):
            assert isinstance(
                await store.rules.vote(room_id, Person(voter, voter), Person(user_id, user_id), "creator"), Ballot
            )
        await store.presence.leave(room_id, ["ada", "bob", "cyd", "eve"], lost=["ada", "bob"])


async def size(client: redis.Redis) -> int:
    """Count the keys, once those are there that a server writes when it has just begun."""
    await eventually(lambda: len(client.keys("evanesce:{servers}:lag")) + len(client.keys("*:erase:*")) >= 2)
    return int(client.dbsize())


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time for which keys are kept."""
    monkeypatch.setattr(message_log, "KEEP", 4_000)
    for module in (presence, rules):
        monkeypatch.setattr(module, "KEEP", 4_000)
        monkeypatch.setattr(module, "COME_BACK", 3_600)
    monkeypatch.setattr(rules, "VOTE_SECONDS", 3)
    monkeypatch.setattr(rules, "VOTE_BAN_SECONDS", 4)
    monkeypatch.setattr(rate_limits, "KEEP", 3_700)


def kinds(keys: Iterator[str] | Sequence[str]) -> set[str]:
    """Name the kinds of keys; fails for a key of a kind that is not in the table."""
    found: set[str] = set()
    for key in keys:
        matching = [kind for kind, shape in KINDS.items() if re.fullmatch(f"evanesce:{shape}", key)]
        assert len(matching) == 1, f"{key} is of no kind that is known: add it to KINDS, and see that it is erased"
        found.update(matching)
    return found


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("access", [None, SMALLEST_ACCESS], ids=["any access", "smallest access"])
async def test_every_kind_of_key_is_gone_at_its_end(access: str | None, room_id: str) -> None:
    async with redis_backend(access) as valkey:
        fill(valkey.client)
        store = await valkey.open(ttl=3.5)
        await exercise(store, [room_id, "another"])
        await store.messages.close_room("another", "closed")
        watched = Watched([valkey.client])
        await watched.take()
        assert kinds(list(watched.ends)) == set(KINDS)
        await watched.gone()


@pytest.mark.usefixtures("short")
async def test_every_kind_is_gone_from_primaries_and_replicas_of_a_cluster(shared_cluster: ValkeyCluster) -> None:
    shared_cluster.start()
    async with cluster_backend(shared_cluster) as backend:
        primaries = [node.client for node in shared_cluster.primaries]
        with primaries[0].pipeline(transaction=False) as many:
            tag = next(tag for tag in map(str, range(100)) if shared_cluster.primary_of(tag).client is primaries[0])
            for number in range(OTHERS):
                many.set(f"other:{{{tag}}}:{number}", "", px=DAY)
            many.execute()
        replicas = [shared_cluster.replica_of(node).client for node in shared_cluster.primaries]
        store = await backend.open(ttl=3.5)
        await exercise(store, [f"room-{number}" for number in range(12)])
        watched = Watched(primaries)
        await watched.take()
        assert kinds(list(watched.ends)) == set(KINDS)
        copies = Watched(replicas, watched.total, watched.ends)
        await eventually(lambda: sum(client.dbsize() for client in replicas) == watched.total)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watched.gone)
            nursery.start_soon(copies.gone)


async def test_many_servers_and_rooms_under_load(valkey: RedisBackend) -> None:
    fill(valkey.client)
    servers = [await valkey.open(name, ttl=1) for name in ("one", "two")]
    rooms = [f"room-{number}" for number in range(50)]
    with trio.fail_after(30):
        for turn in range(20):
            for number, room_id in enumerate(rooms):
                await servers[(turn + number) % 2].messages.append(room_id, [draft(room_id) for _ in range(3)])
    last = draft("last")
    answers = await servers[0].messages.append("last", [last])
    assert not isinstance(answers, RoomClosed)
    assert isinstance(answers[0], Stored)
    ended = milliseconds(answers[0].expires_at)
    states = len(rooms) + 1
    rest = len(valkey.client.keys("evanesce:{servers}*"))

    await gone_in_time(valkey.client, ended, lambda: int(valkey.client.dbsize()) == OTHERS + states + rest)
    assert await servers[0].health.expiry_report() is None, "nothing is told yet: servers tell every 10 s"


async def test_a_burst_in_one_room_is_gone_at_its_end(valkey: RedisBackend, room_id: str) -> None:
    fill(valkey.client)
    store = await valkey.open(ttl=2)
    before = await size(valkey.client)
    began, batches = trio.current_time(), 0
    while batches < 100 and trio.current_time() < began + 1:  # half of their time
        answers = await store.messages.append(room_id, [draft(room_id) for _ in range(200)])
        batches += 1
    assert not isinstance(answers, RoomClosed)
    assert isinstance(answers[-1], Stored)
    assert valkey.client.dbsize() > before + 150 * batches
    ended = milliseconds(answers[-1].expires_at)
    await gone_in_time(valkey.client, ended, lambda: int(valkey.client.dbsize()) == before + 1)  # its state


# Servers that are no more

SERVER = """
import sys, trio
from evanesce.config.model import RedisTable
from evanesce.store.redis import lease, open_redis_store
from tests.core.store.backends import draft
lease.LEASE_SECONDS, lease.RENEW_SECONDS = 1.0, 0.1
url, ttl, *rooms = sys.argv[1:]
async def main():
    async with open_redis_store(RedisTable(url=url), ttl=float(ttl), server_id="killed") as store:
        await store.one_time_values.put("challenge:guest:one", b"value", float(ttl))
        await store.rate_limits.take_tokens("messages:ada", 5, 5 / float(ttl), 20)
        for room_id in rooms:
            drafts = [draft(room_id) for _ in range(30)]
            await store.messages.append(room_id, drafts)
            await store.messages.unsend(room_id, drafts[0].message_id, "ada")
        print("ready", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""

ROOMS = tuple(f"room-{number}" for number in range(20))


@pytest.mark.parametrize("successor", ["two", "killed"])
async def test_what_a_killed_server_stored_is_gone_at_its_end(
    valkey: RedisBackend, successor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    fill(valkey.client)
    if successor != "killed":
        await valkey.open(successor)
    async with python(SERVER, valkey.url, "8", *ROOMS) as (_, line):
        assert line == "ready"
        [left] = valkey.client.keys("evanesce:{servers}:erase:killed.*")
    await valkey.open("killed" if successor == "killed" else "three")
    await eventually(lambda: not valkey.client.exists(left))
    watched = Watched([valkey.client])
    await watched.take(1 if successor == "killed" else 2)
    assert {"message", "tombstone", "index", "what was put", "tokens"} <= kinds(list(watched.ends))
    now = valkey.client.time()[0] * 1000
    await watched.until(now + 3_600_000).gone()


async def test_what_ended_before_the_lease_of_a_killed_server_is_gone_with_it(
    valkey: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    fill(valkey.client)
    await valkey.open("two")
    await size(valkey.client)
    async with python(SERVER, valkey.url, "0.7", *ROOMS) as (_, line):
        assert line == "ready"
        watched = Watched([valkey.client])
        await watched.take(2)
    now = valkey.client.time()[0] * 1000
    soon = watched.until(now + 60_000)
    with within(1.0 + 0.1 + 1.0):
        await eventually(lambda: valkey.client.dbsize() <= watched.total - len(soon.ends))


async def test_what_a_server_leaves_that_ends_in_order_is_gone_at_its_end(valkey: RedisBackend) -> None:
    fill(valkey.client)
    one, _ = await valkey.open("one", ttl=4), await valkey.open("two", ttl=4)
    await one.one_time_values.put("challenge:guest:one", b"value", 4)
    for room_id in ROOMS:
        await one.messages.append(room_id, [draft(room_id) for _ in range(30)])
    await valkey.close(one)
    watched = Watched([valkey.client])
    await eventually(lambda: not valkey.client.keys("evanesce:{servers}:erase:one.*"))
    await watched.take()
    now = valkey.client.time()[0] * 1000
    await watched.until(now + 60_000).gone()


async def test_what_a_server_writes_after_others_have_buried_it_is_not_left(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 2.0)  # it does not renew before it has written
    store = await valkey.open(ttl=2)
    await store.messages.append("other", [draft("other")])
    await size(valkey.client)
    [(old, _)] = valkey.client.zrange("evanesce:{servers}:leases", 0, -1, withscores=True)
    # Another server clears up behind this one, which does not know yet that it has stood still for too long.
    valkey.client.zrem("evanesce:{servers}:leases", old)
    valkey.client.delete(b"evanesce:{servers}:erase:" + old, b"evanesce:{servers}:rooms:" + old)
    await join(store, room_id, [Member("ada", "Ada")])
    await store.messages.append(room_id, [draft(room_id)])
    assert valkey.client.exists(b"evanesce:{servers}:erase:" + old)
    await eventually(lambda: not valkey.client.keys(b"evanesce:*" + old))
    [(new, _)] = valkey.client.zrange("evanesce:{servers}:leases", 0, -1, withscores=True)
    assert valkey.client.exists(b"evanesce:{servers}:erase:" + new)
    assert (await store.presence.snapshot(room_id, 10)).members == (Member("ada", "Ada"),)


# Redis that is away


@pytest.mark.parametrize("forgotten", [False, True], ids=["rooms in use", "rooms that are forgotten"])
async def test_what_a_lagging_replica_still_has_is_gone_when_it_takes_over(tmp_path: Path, forgotten: bool) -> None:
    with ReplicatedPair(tmp_path) as pair:
        await pair.ready()
        fill(pair.primary)
        table = RedisTable(url=f"redis://127.0.0.1:{pair.port}")
        async with open_redis_store(table, ttl=2, server_id="one") as store:
            before = await size(pair.primary)
            await store.one_time_values.put("challenge:guest:one", b"value", 2)
            for room_id in ROOMS:
                await store.messages.append(room_id, [draft(room_id) for _ in range(100)])
            await pair.hold_back()
            rest = before + len(ROOMS)  # their states
            assert pair.primary.dbsize() > rest + 100 * len(ROOMS), "nothing has ended yet"
            await eventually(lambda: pair.primary.dbsize() == rest)
            if forgotten:
                [register] = pair.primary.keys("evanesce:{servers}:erase:*")
                await eventually(
                    lambda: not any(key.endswith(b":index") for key in pair.primary.zrange(register, 0, -1))
                )
            pair.fail_over()
            assert pair.replica.dbsize() > rest + 100 * len(ROOMS), "the replica has it all"
            with within(2):
                await eventually(lambda: pair.replica.dbsize() == rest)
            assert await appended(store, ROOMS[0])


async def test_after_redis_was_away_what_ended_meanwhile_is_gone(valkey: RedisBackend) -> None:
    fill(valkey.client)
    store = await valkey.open(ttl=0.5)
    before = await size(valkey.client)
    for room_id in ROOMS:
        await store.messages.append(room_id, [draft(room_id) for _ in range(100)])
    valkey.away()
    await trio.sleep(3)  # longer than every time-out
    valkey.back()
    with within(1):
        await eventually(lambda: valkey.client.dbsize() <= before + len(ROOMS))


async def test_what_was_stored_without_an_answer_is_gone_at_its_end(valkey: RedisBackend, room_id: str) -> None:
    fill(valkey.client)
    store = await valkey.open(ttl=3)
    await eventually(lambda: valkey.client.exists("evanesce:{servers}:lag"))  # the last key that it writes at its start
    valkey.away()
    with pytest.raises(StoreUnavailable):
        await store.messages.append(room_id, [draft(room_id)])
    with pytest.raises(StoreUnavailable):
        await store.one_time_values.put("challenge:guest:one", b"value", 3)
    valkey.back()
    await eventually(lambda: valkey.client.exists(f"evanesce:{{{room_id}}}:index"))
    watched = Watched([valkey.client])
    await watched.take()
    soon = watched.until(valkey.client.time()[0] * 1000 + 60_000)
    assert any(f"{{{room_id}}}:message:" in key for key in soon.ends)
    await soon.gone()


async def test_a_cancelled_append_is_erased_all_the_same(valkey: RedisBackend, room_id: str) -> None:
    fill(valkey.client)
    store = await valkey.open(ttl=3)
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.messages.append(room_id, [draft(room_id)])
    assert scope.cancelled_caught
    await eventually(lambda: valkey.client.exists(f"evanesce:{{{room_id}}}:index"))
    watched = Watched([valkey.client])
    await watched.take()
    await watched.until(valkey.client.time()[0] * 1000 + 60_000).gone()


# Bounds, and clocks


async def test_what_does_not_fit_into_memory_waits_in_redis(
    valkey: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "SCHEDULED", 20)
    between, asked, written = register.Register.between, trio.Event(), trio.Event()

    async def answered_late(self: register.Register, first: int, last: int) -> Sequence[tuple[str, int]]:
        """Read the register before all is in it, and return what was there when it is."""
        found = await between(self, first, last)
        asked.set()
        await written.wait()
        return found

    monkeypatch.setattr(register.Register, "between", answered_late)
    fill(valkey.client)
    store = await valkey.open()
    watched = Watched([valkey.client])
    before = await size(valkey.client)
    with trio.fail_after(PATIENCE):
        await asked.wait()
    async with trio.open_nursery() as nursery:  # at once, so that the first does not end before the last is there
        for number in range(200):
            nursery.start_soon(store.one_time_values.put, f"challenge:guest:{number}", b"value", 3 + number / 100)
    written.set()
    await watched.take()
    assert len(watched.ends) >= 150
    await eventually(lambda: valkey.client.dbsize() <= before)  # by itself Redis would take minutes


async def test_a_clock_that_was_set_back_delays_nothing(valkey: RedisBackend, room_id: str) -> None:
    fill(valkey.client)
    store = await valkey.open(ttl=3)
    await store.messages.append(room_id, [draft(room_id)])
    state = f"evanesce:{{{room_id}}}:state"
    ahead = int(valkey.client.hget(state, "t")) + 60_000
    valkey.client.hset(state, "t", ahead)
    await store.messages.append(room_id, [draft(room_id) for _ in range(10)])
    watched = Watched([valkey.client])
    await watched.take()
    soon = watched.until(valkey.client.time()[0] * 1000 + 60_000)
    assert len(soon.ends) == 12, "messages, and the index"
    await soon.gone()


async def test_a_room_whose_index_was_lost_is_read_from_its_start(valkey: RedisBackend, room_id: str) -> None:
    fill(valkey.client)
    store = await valkey.open(ttl=2)
    before = await size(valkey.client)
    state, index = f"evanesce:{{{room_id}}}:state", f"evanesce:{{{room_id}}}:index"
    await store.messages.append(room_id, [draft(room_id)])
    valkey.client.hset(state, "t", int(valkey.client.hget(state, "t")) + 60_000)
    await store.messages.append(room_id, [draft(room_id)])
    await eventually(lambda: valkey.client.dbsize() <= before + 1)
    valkey.client.delete(state, index)  # the clock is right again, and Redis has lost its memory
    await store.messages.append(room_id, [draft(room_id)])
    watched = Watched([valkey.client])
    await watched.take()
    await watched.until(valkey.client.time()[0] * 1000 + 60_000).gone()


async def test_what_ends_much_later_is_in_redis_alone_until_it_is_near(
    valkey: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (schedule, eraser):
        monkeypatch.setattr(module, "HORIZON", 800)
    fill(valkey.client)
    store = await valkey.open(ttl=5)
    for turn in range(12):
        async with trio.open_nursery() as nursery:
            for room_id in ROOMS:
                nursery.start_soon(store.messages.append, room_id, [draft(room_id)])
            nursery.start_soon(store.one_time_values.put, f"challenge:guest:{turn}", b"value", 4.5)
        await trio.sleep(0.1)
    watched = Watched([valkey.client])
    await watched.take()
    assert len(watched.ends) > 12 * len(ROOMS)
    await watched.until(valkey.client.time()[0] * 1000 + 60_000).gone()


async def test_messages_of_version_0_1_0_are_erased_too(valkey: RedisBackend, room_id: str) -> None:
    fill(valkey.client)
    store = await valkey.open(ttl=3)
    await store.messages.append(room_id, [draft(room_id)])
    index = f"evanesce:{{{room_id}}}:index"
    [(first, _)] = valkey.client.xrange(index)
    time, _, number = first.decode().partition("-")
    valkey.client.xadd(index, {"m": "old", "c": "2"}, id=f"{time}-{int(number) + 1}")
    valkey.client.set(f"evanesce:{{{room_id}}}:message:old", "{}", px=3_500)
    watched = Watched([valkey.client])
    await watched.take()
    messages = {key: end for key, end in watched.ends.items() if ":message:" in key}
    await Watched(watched.clients, watched.total, {**messages, index: min(messages.values())}).gone(late=1_500)


async def test_that_redis_refuses_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async with redis_backend(SMALLEST_ACCESS.replace("+exists ", "")) as valkey:
        store = await valkey.open()
        for number in range(5):
            await store.one_time_values.put(f"challenge:guest:{number}", b"value", 0.1 + number / 5)
        await eventually(lambda: "expired keys are not erased" in caplog.text)
        await trio.sleep(1)  # four times as long as until it is tried again
    told = [record.message for record in caplog.records if "expired keys" in record.message]
    assert told == [
        "expired keys are not erased: The message store does not grant the server the rights that it needs."
    ]


async def test_a_fault_costs_no_other_room_its_erasing(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    take = walk.Walk.take

    def fails(self: walk.Walk, entries: Sequence[Any], sent: int) -> list[walk.Ending]:
        if "faulty" in self.index:
            raise RuntimeError("a defect")
        return take(self, entries, sent)

    monkeypatch.setattr(walk.Walk, "take", fails)
    fill(valkey.client)
    store = await valkey.open(ttl=1)
    before = await size(valkey.client)
    await store.messages.append("faulty", [draft("faulty")])
    await eventually(lambda: "1 expired keys are left to Redis to erase" in caplog.text)
    with within(1.5):
        await store.messages.append(room_id, [draft(room_id)])
        await eventually(lambda: valkey.client.dbsize() <= before + 4)  # two states; and the message that is left
    assert not valkey.client.keys(f"evanesce:{{{room_id}}}:message:*")


async def test_what_ends_much_later_is_erased_though_redis_refused_to_be_told_of_it(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (schedule, eraser):
        monkeypatch.setattr(module, "HORIZON", 800)
    fill(valkey.client)
    store = await valkey.open(ttl=3)
    await store.rate_limits.take_tokens("messages:ada", 1, 1, 1)  # it has connected, and nothing is on its way
    valkey.client.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailable):
        await store.messages.append(room_id, [draft(room_id)])
    valkey.client.config_set("maxmemory", 0)
    await store.messages.append(room_id, [draft(room_id)])
    watched = Watched([valkey.client])
    await watched.take()
    await watched.until(valkey.client.time()[0] * 1000 + 60_000).gone()


async def test_what_ends_much_later_is_erased_though_another_primary_was_away(
    shared_cluster: ValkeyCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (schedule, eraser):
        monkeypatch.setattr(module, "HORIZON", 800)
    shared_cluster.start()
    async with cluster_backend(shared_cluster) as backend:
        store = await backend.open(ttl=4)
        away = shared_cluster.primary_of("{servers}")
        room_id = next(room for room in ROOMS if shared_cluster.primary_of(room) is not away)
        client = shared_cluster.primary_of(room_id).client
        with client.pipeline(transaction=False) as many:
            for number in range(OTHERS):
                many.set(f"other:{{{room_id}}}:{number}", "", px=DAY)
            many.execute()

        def of_rooms() -> int:
            return int(client.dbsize()) - OTHERS - len(client.keys("evanesce:{servers*"))

        os.kill(away.process.pid, signal.SIGSTOP)
        try:
            await trio.sleep(3)  # longer than every time-out: nothing is sent to it any more
            await store.messages.append(room_id, [draft(room_id)])
        finally:
            os.kill(away.process.pid, signal.SIGCONT)
        assert of_rooms() == 3, "its message, its index and its state"
        [message] = client.keys(f"*{{{room_id}}}:message:*")
        assert client.pttl(message) > 1_000
        await gone_in_time(client, client.pexpiretime(message), lambda: of_rooms() == 1)
