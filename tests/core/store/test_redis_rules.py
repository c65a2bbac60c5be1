"""The rules of a room in Redis: what is lost on the way, what the keys hold, and what the commands cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import redis

from evanesce.store.events import PresenceChanged, RulesChanged, RulesUncertain
from evanesce.store.presence import Bar, Barred, RulesMissing
from evanesce.store.redis.feed import RoomFeed
from evanesce.store.rules import RoomRules
from tests.core.store.backends import RULES, RedisBackend, draft, events, join, joiners, of_kind, until
from tests.core.store.ruled_rooms import ADA, BOB, DAN, DAY, LOCKED, OPEN, barred, installed, subject

# What is lost on the way


async def test_after_a_lost_subscription_the_rules_are_uncertain(valkey: RedisBackend) -> None:
    store = await valkey.open()
    room_id = await installed(store, LOCKED, ADA)
    async with store.events.follow(room_id, 10) as feed:
        valkey.client.client_kill_filter(_type="pubsub")
        heard = await until(feed, RulesUncertain)
        while not of_kind(heard, PresenceChanged):
            heard += await feed.next()
        assert isinstance(heard[-1], RulesUncertain), "who is there is told first"


async def test_rules_that_were_installed_unheard_are_found(valkey: RedisBackend) -> None:
    store = await valkey.open()
    room_id = await installed(store, LOCKED, ADA)
    state = f"evanesce:{{{room_id}}}:state"
    async with store.events.follow(room_id, 10) as feed:
        assert isinstance(feed, RoomFeed)
        valkey.client.hset(state, "rv", 5)
        for _ in range(2):
            feed.look()
        assert await events(feed, 1) == [RulesUncertain()]
        await store.rules.install(room_id, replace(LOCKED, version=6), {})
        for _ in range(3):
            feed.look()
        assert [type(event) for event in await events(feed, 1)] == [RulesChanged], "known by then"
        valkey.client.hset(state, "rv", 7)
        _gap(valkey.client, room_id)
        assert [type(event) for event in await events(feed, 2)] == [PresenceChanged, RulesUncertain]


def _gap(client: redis.Redis, room_id: str) -> None:
    """Publish an event of presence before which another one is missing."""
    epoch = client.hget(f"evanesce:{{{room_id}}}:state", "epoch")
    version = client.hincrby(f"evanesce:{{{room_id}}}:state", "v", 2)
    assert isinstance(epoch, bytes)
    payload = epoch + f"\nd 1 {version} somebody".encode()
    client.execute_command("SPUBLISH", f"evanesce:{{{room_id}}}:events", payload)


@pytest.mark.parametrize(
    "line",
    [
        "o 3 60000 link 0 0",
        "o 3 60000 nobody 0 0 creator",
        "o 3 60000 link yes 0 creator",
        "o three 60000 link 0 0 creator",
        "o 3 60000 link 0 0 creator more",
        "k 1 0 ada",
        "k 1 0 ada vote",
        'k soon 0 ada "vote"',
        "q 1",
        "q soon ada",
        "q 1 ada more",
        "q -1 ada",
        "q 99999999999999999 ada",
        "b 1 2 3 0",
        "b 1 2 3 -1 ada",
        "b 1 2 3 0 ada more",
    ],
)
async def test_a_malformed_line_counts_as_lost(valkey: RedisBackend, room_id: str, line: str) -> None:
    store = await valkey.open()
    async with store.events.follow(room_id, 10) as feed:
        epoch = valkey.client.hget(f"evanesce:{{{room_id}}}:state", "epoch")
        assert isinstance(epoch, bytes)
        channel = f"evanesce:{{{room_id}}}:events"
        valkey.client.execute_command("SPUBLISH", channel, epoch + f"\n{line}".encode())
        assert [type(event) for event in await events(feed, 2)] == [PresenceChanged, RulesUncertain]


# What Redis holds


async def test_bans_that_expired_before_the_room_are_installed_again(valkey: RedisBackend) -> None:
    store = await valkey.open()
    bans = {subject(ADA): store.clock.now() + 30 * DAY}
    room_id = await installed(store, OPEN, **bans)
    key = f"evanesce:{{{room_id}}}:bans"
    kept = valkey.client.pttl(key)
    assert kept <= 2 * DAY, "no longer than the room"
    valkey.client.pexpire(key, 60_000)
    assert await barred(store, room_id, BOB, OPEN) is None
    assert valkey.client.pttl(key) > kept - 60_000, "a join renews it"
    valkey.client.delete(key)
    assert await store.presence.join(room_id, joiners(ADA), 10, 10, OPEN) == RulesMissing()
    await store.rules.install(room_id, OPEN, bans)
    assert await barred(store, room_id, ADA, OPEN) == Barred(Bar.BANNED, bans[subject(ADA)])


async def test_sets_have_a_bound(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()
    await join(store, room_id, [ADA])
    now = store.clock.now()
    for name, act in (
        ("mutes", lambda: store.rules.mute(room_id, "ada", 60)),
        ("away", lambda: store.presence.leave(room_id, ["ada"], lost=["ada"])),
    ):
        key = f"evanesce:{{{room_id}}}:{name}"
        valkey.client.zadd(key, {f"user {number}": now + 10_000 + number for number in range(10_002)})
        await act()
        assert valkey.client.zcard(key) == 10_000
        assert valkey.client.zrange(key, -1, -1) == [b"ada"]
        assert valkey.client.zscore(key, "user 2") is None, "the first to end go"


async def test_a_room_without_rules_costs_a_join_nothing_more(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open()

    async def calls(rules: RoomRules) -> dict[str, int]:
        """Return how often Redis runs each command for a join of two; the server's other tasks may add some."""
        counts: list[dict[str, int]] = []
        for _ in range(5):
            valkey.client.config_resetstat()
            await join(store, room_id, [ADA, BOB], rules=rules)
            stats: dict[str, Any] = valkey.client.info("commandstats")
            names = ("zscore", "zrangebyscore", "zadd", "pexpire", "hmget", "hget", "hexists")
            counts.append({name: stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names})
            await store.presence.leave(room_id, ["ada", "bob"])
        return {name: least for name in counts[0] if (least := min(count[name] for count in counts))}

    await store.messages.append(room_id, [draft(room_id)])  # it has a state
    assert await calls(RULES) == {"hmget": 1, "hget": 2, "hexists": 2}
    await store.rules.install(room_id, OPEN, {subject(DAN): store.clock.now() + DAY})
    assert await calls(OPEN) == {"hmget": 1, "hget": 2, "hexists": 2, "zscore": 2, "pexpire": 1}


async def test_what_leaving_costs(valkey: RedisBackend, room_id: str) -> None:
    """The server's other tasks may add some commands."""
    store = await valkey.open()
    names = ("zadd", "zremrangebyscore", "zcard", "zrange", "zrangebyscore", "zrem", "pexpire")
    noted = {"zadd": 1, "zremrangebyscore": 1, "zcard": 1, "pexpire": 1}
    for rules, lost, expected in (
        (RULES, ["ada"], noted),
        (RULES, [], {"zrem": 1}),
        (OPEN, ["ada"], noted),
        (OPEN, [], noted | {"zrem": 1}),
    ):
        if rules.version:
            await store.rules.install(room_id, rules, {})
        counts: list[dict[str, int]] = []
        for _ in range(5):
            await join(store, room_id, [ADA, BOB], rules=rules)
            valkey.client.config_resetstat()
            await store.presence.leave(room_id, ["ada"], lost=lost)
            stats: dict[str, Any] = valkey.client.info("commandstats")
            counts.append({name: stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names})
        assert {name: least for name in names if (least := min(count[name] for count in counts))} == expected
