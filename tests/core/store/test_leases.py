"""Servers that were killed, stood still, or are slow: their people leave, once, and nobody else does."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import trio
import trio.testing

from evanesce.errors import StoreUnavailable
from evanesce.model import timestamp
from evanesce.store import Store
from evanesce.store.events import Feed, Joined, Left, PresenceChanged
from evanesce.store.message_log import LogEntry
from evanesce.store.presence import Member, PresenceSnapshot
from evanesce.store.redis import lease, node_client, presence
from evanesce.store.redis.presence import RedisPresence
from evanesce.store.redis.scripts import RECONCILE, Command
from tests.core.store.backends import (
    PresenceLog,
    RedisBackend,
    draft,
    eventually,
    join,
    of_kind,
    python,
    until,
    until_gone,
)
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow

ADA, BOB = Member("ada", "Ada"), Member("bob", "Bob")

SERVER = """
import sys, trio
from evanesce.config.model import RedisTable
from evanesce.store.presence import Joiner
from evanesce.store.redis import lease, open_redis_store
from evanesce.store.rules import RoomRules
lease.LEASE_SECONDS, lease.RENEW_SECONDS = float(sys.argv[2]), 0.1
async def main():
    async with open_redis_store(RedisTable(url=sys.argv[1]), ttl=60, server_id="killed") as store:
        for room_id in sys.argv[3:]:
            people = [Joiner("ada", "Ada", "a"), Joiner("bob", "Bob", "b")]
            await store.presence.join(room_id, people, 10, 10, RoomRules("creator", 60_000))
        print("ready", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


async def killed_server(valkey: RedisBackend, *room_ids: str) -> None:
    """Start a server that puts Ada and Bob into rooms, and kill it."""
    async with python(SERVER, valkey.url, "1", *room_ids) as (_, line):
        assert line == "ready"


async def test_a_killed_servers_people_leave(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    one, two = await valkey.open("one"), await valkey.open("two")
    await join(one, room_id, [ADA])
    logs = PresenceLog(one), PresenceLog(two)
    async with two.events.follow(room_id, 10) as feed:
        await killed_server(valkey, room_id)

        async def ada_is_alone() -> bool:
            return (await two.presence.snapshot(room_id, 10)).members == (ADA,)

        await eventually(ada_is_alone)
        heard = await until_gone(feed, "bob")
    left = [(each.user_id, each.count) for each in of_kind(heard, Left)]
    assert left == [("bob", 1)] or (left == [] and of_kind(heard, PresenceChanged))
    await eventually(lambda: not any(b"killed" in key for key in valkey.client.scan_iter()))
    assert [told for log in logs for told in log.told] == [(room_id, set(), {"bob"})]


async def test_who_is_there_again_after_a_loss_of_memory_has_not_joined(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open("one")
    await join(store, room_id, [ADA])
    log = PresenceLog(store)
    valkey.forget()

    async def ada_is_there() -> bool:
        try:
            return await store.presence.counts([room_id]) == [1]
        except StoreUnavailable:
            return False

    await eventually(ada_is_there)
    assert await store.presence.leave(room_id, ["ada"]) == 0
    assert log.told == [(room_id, set(), {"ada"})]


async def test_nobody_is_in_a_room_before_their_server_has_its_lease(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a server that was killed at that moment would be there for ever."""
    ask, may_take = lease.Lease._ask, trio.Event()

    async def waits(asking: lease.Lease, how: str) -> tuple[bool, bool]:
        if how == "take":
            await may_take.wait()
        return await ask(asking, how)

    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(lease.Lease, "_ask", waits)
    store = await valkey.open()

    async def answers() -> bool:
        try:
            return await store.presence.counts([room_id]) == [0]
        except StoreUnavailable:
            return False

    await eventually(answers)
    for before, member in enumerate((ADA, BOB)):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(join, store, room_id, [member])
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert await store.presence.counts([room_id]) == [before]
            may_take.set()
        assert await store.presence.counts([room_id]) == [before + 1]
        # The second time the server finds that it has lost its lease, and takes another one.
        may_take = trio.Event()
        leases = "evanesce:{servers}:leases"
        [lost] = valkey.client.zrange(leases, 0, -1)
        valkey.client.zrem(leases, lost)
        await eventually(lambda lost=lost: lost.decode() != holder(store))


def holder(store: Store) -> str:
    """Return the name under which a server records its members."""
    presence = store.presence
    assert isinstance(presence, RedisPresence)
    [home] = presence._homes
    return home.lease.holder


async def test_a_server_that_comes_back_clears_up_behind_itself(valkey: RedisBackend, room_id: str) -> None:
    await killed_server(valkey, room_id)
    again = await valkey.open("killed")

    async def cleared() -> bool:
        return await again.presence.counts([room_id]) == [0]

    await eventually(cleared)


async def test_a_server_that_was_stopped_too_long_comes_in_again(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    one, two = await valkey.open("one"), await valkey.open("two")
    await join(one, room_id, [ADA])
    logs = PresenceLog(one), PresenceLog(two)
    ask = lease.Lease._ask

    async def waits(asking: lease.Lease, how: str) -> tuple[bool, bool]:
        if asking.holder.startswith("one."):
            await eventually(lambda: [log.told for log in logs] == [[], [(room_id, set(), {"ada"})]])
            monkeypatch.setattr(lease.Lease, "_ask", ask)
        return await ask(asking, how)

    monkeypatch.setattr(lease.Lease, "_ask", waits)
    leases = "evanesce:{servers}:leases"
    [name] = [server for server in valkey.client.zrange(leases, 0, -1) if server.startswith(b"one.")]
    valkey.client.zadd(leases, {name: 1})
    await eventually(lambda: valkey.client.zscore(leases, name) is None)

    async def back() -> bool:
        return (await two.presence.snapshot(room_id, 10)).members == (ADA,)

    await eventually(back)
    await eventually(lambda: logs[0].told == [(room_id, {"ada"}, set())])
    assert await one.presence.leave(room_id, ["ada"]) == 0


async def test_clearing_up_behind_a_dead_server_costs_nobody_the_lease(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 2.0)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(presence, "SLICE", 1)
    rooms = [f"room-{number}" for number in range(30)]
    reconciling = list[node_client.NodeClient]()
    clearing, cleared = trio.Event(), trio.Event()
    run = node_client.NodeClient.run

    async def slow(client: node_client.NodeClient, *commands: Command, urgent: bool = False) -> list[Any]:
        if any(command[1] == RECONCILE.digest for command in commands):
            reconciling.append(client)
            clearing.set()
            if reconciling.count(reconciling[0]) == len(rooms):
                cleared.set()
            if client is reconciling[0]:
                await trio.sleep(0.2)  # all rooms take as long as three leases
        return await run(client, *commands, urgent=urgent)

    one = await valkey.open("one")
    await join(one, room_id, [BOB])
    monkeypatch.setattr(node_client.NodeClient, "run", slow)
    await killed_server(valkey, *rooms)
    with trio.fail_after(PATIENCE):
        await clearing.wait()  # so it is `one` that is slow
    two = await valkey.open("two")
    async with two.events.follow(room_id, 10) as feed:
        with trio.fail_after(PATIENCE):
            await cleared.wait()
        await two.messages.append(room_id, [draft(room_id)])
        heard = await until(feed, LogEntry)
    assert not of_kind(heard, Left), "nobody else was taken for dead meanwhile"
    assert await two.presence.counts([room_id, *rooms]) == [1] + [0] * len(rooms)


async def test_while_redis_is_away_no_lease_runs_out(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 2.0)
    monkeypatch.setattr(lease, "AWAY_SECONDS", 1.2)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    one, two = await valkey.open("one"), await valkey.open("two")
    await join(one, room_id, [ADA])
    await join(two, room_id, [BOB])
    leases = "evanesce:{servers}:leases"
    names = set(valkey.client.zrange(leases, 0, -1))
    await eventually(one.servers.expiries)
    async with one.events.follow(room_id, 10) as feed:
        valkey.away()
        await trio.sleep(2.5)  # longer than a lease: that is what is tried
        valkey.back()
        await eventually(lambda: one.health.healthy and two.health.healthy)
        expiries = await one.servers.expiries()
        assert expiries is None or min(expiries.values()) > timestamp(one.clock.now()), "nobody is taken for dead"
        ends = dict(valkey.client.zrange(leases, 0, -1, withscores=True))

        def renewed() -> bool:
            now = dict(valkey.client.zrange(leases, 0, -1, withscores=True))
            return all(now[name] > ends[name] for name in names)

        await eventually(renewed)
        await one.messages.append(room_id, [draft(room_id)])
        heard = await until(feed, LogEntry)
    assert set(valkey.client.zrange(leases, 0, -1)) == names
    assert not [each for each in heard if isinstance(each, Joined | Left)]
    assert set((await one.presence.snapshot(room_id, 10)).members or ()) == {ADA, BOB}


async def until_there_are(feed: Feed, count: int) -> None:
    """Listen until so many are in the room, as an event or, on a machine that is busy for seconds, a snapshot shows."""
    with trio.fail_after(PATIENCE):
        while True:
            for event in await feed.next():
                match event:
                    case Joined(count=shown) | Left(count=shown) | PresenceChanged(PresenceSnapshot(count=shown)):
                        if shown == count:
                            return
                    case _:
                        pass


async def test_a_slow_server_is_not_gone_and_back_by_turns(
    valkey: RedisBackend, room_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    store = await valkey.open("one")
    leases = "evanesce:{servers}:leases"

    def ends() -> float:
        return max(end for name, end in valkey.client.zrange(leases, 0, -1, withscores=True) if b"killed" in name)

    async with store.events.follow(room_id, 10) as feed, python(SERVER, valkey.url, "2.5", room_id) as (process, _):
        await until_there_are(feed, 2)
        os.kill(process.pid, signal.SIGSTOP)
        await until_there_are(feed, 0)
        os.kill(process.pid, signal.SIGCONT)
        await until_there_are(feed, 2)

        # The lease that it takes then is twice as long: to be late for more than 2.5 s costs it nothing any more.
        for _ in range(2):
            before = ends()
            os.kill(process.pid, signal.SIGSTOP)
            await trio.sleep(2.7)
            os.kill(process.pid, signal.SIGCONT)
            await eventually(lambda before=before: ends() > before)
        await store.messages.append(room_id, [draft(room_id)])
        heard = await until(feed, LogEntry)
        assert not [each for each in heard if isinstance(each, Joined | Left)]
