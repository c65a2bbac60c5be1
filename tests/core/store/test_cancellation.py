"""The store cancelled at each of its awaits: nobody gets another's answer, and nothing is left open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count

import pytest
import trio

from evanesce.config.model import RedisTable
from evanesce.store import Store
from evanesce.store.control_bus import TokenRevoked
from evanesce.store.presence import Member
from evanesce.store.redis import homes, open_redis_store
from tests.core.store.backends import ClusterBackend, RedisBackend, cluster_backend, draft
from tests.leaks import cancelled_at_each_await
from tests.patience import PATIENCE
from tests.valkey_cluster import ValkeyCluster

pytestmark = pytest.mark.slow

ADA = Member("ada", "Ada")
AT_ONCE = 20

numbers = count()


async def answers_are_their_own(store: Store) -> None:
    """Ask many things at once, each of which has another answer."""

    async def ask(name: str) -> None:
        await store.one_time_values.put(name, name.encode(), 60)
        assert await store.one_time_values.take(name) == name.encode()
        assert await store.one_time_values.take(name) is None

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(ask, f"cancellation-{next(numbers)}")


def methods(store: Store, room_id: str) -> dict[str, Callable[[], Awaitable[object]]]:
    async def follow() -> None:
        async with store.events.follow(room_id, 10) as feed:
            await store.messages.append(room_id, [draft(room_id)])
            await feed.next()

    return {
        "append": lambda: store.messages.append(room_id, [draft(room_id)]),
        "unsend": lambda: store.messages.unsend(room_id, "none", "ada"),
        "history": lambda: store.messages.history(room_id, None, 10, 10_000),
        "follow": follow,
        "join": lambda: store.presence.join(room_id, [ADA], 10, 10),
        "leave": lambda: store.presence.leave(room_id, ["ada"]),
        "rename": lambda: store.presence.rename(room_id, ADA),
        "presence": lambda: store.presence.snapshot(room_id, 10),
        "counts": lambda: store.presence.counts([room_id, room_id]),
        "announce": lambda: store.control.announce(TokenRevoked("none")),
        "take_tokens": lambda: store.rate_limits.take_tokens("bucket", 1, 1.0, 5),
        "connect": lambda: store.rate_limits.connect("ada", 3, 2),  # too many: it asks who lives, and once more
        "servers": store.servers.expiries,
        "claim": lambda: store.servers.claim("duty", 1),
        "check": store.health.check,
        "close_room": lambda: store.messages.close_room(f"{room_id}-closed", "closed"),
    }


async def cancelled_everywhere(store: Store, room_id: str) -> None:
    for name, method in methods(store, room_id).items():

        async def body(method: Callable[[], Awaitable[object]] = method) -> None:
            await method()

        awaits = await cancelled_at_each_await(body)
        assert awaits >= 1, f"{name} waits for nothing"
        with trio.fail_after(PATIENCE):
            await answers_are_their_own(store)
    assert await store.presence.snapshot(room_id, 10)


async def test_no_caller_gets_the_answer_of_one_that_was_cancelled(valkey: RedisBackend, room_id: str) -> None:
    await cancelled_everywhere(await valkey.open(), room_id)


async def test_nor_in_a_cluster(shared_cluster: ValkeyCluster, room_id: str) -> None:
    shared_cluster.start()
    backend: ClusterBackend
    async with cluster_backend(shared_cluster) as backend:
        store = await backend.open()
        primaries = [node for node in shared_cluster.nodes if node.role == "master"]
        with trio.fail_after(PATIENCE):
            while not all(node.client.client_list(_type="pubsub") for node in primaries):  # noqa: ASYNC110
                await trio.sleep(0.01)  # its connections are not to be taken for what a method has left
        await cancelled_everywhere(store, room_id)


@pytest.mark.parametrize("where", ["one server", "cluster"])
async def test_a_store_cancelled_at_any_await_leaves_nothing_open(
    where: str,
    valkey: RedisBackend,
    shared_cluster: ValkeyCluster,
    room_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(homes, "HOMES", 3)  # each has the same awaits
    table = RedisTable(url=valkey.url)
    if where == "cluster":
        shared_cluster.start()
        table = RedisTable(url=shared_cluster.url, cluster=True)

    async def body() -> None:
        with trio.fail_after(PATIENCE):
            async with open_redis_store(table, ttl=60, server_id="one") as store:
                await store.presence.join(room_id, [ADA], 10, 10)
                async with store.events.follow(room_id, 10) as feed:
                    await store.messages.append(room_id, [draft(room_id)])
                    await feed.next()

    assert await cancelled_at_each_await(body) > 5
