"""The store cancelled at each of its awaits: nobody gets another's answer, and nothing is left open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from itertools import count
from typing import get_type_hints

import pytest
import trio

from evanesce.config.model import RedisTable
from evanesce.store import Store
from evanesce.store.control_bus import TokenRevoked
from evanesce.store.memory import memory_store
from evanesce.store.presence import Member
from evanesce.store.redis import homes, open_redis_store
from evanesce.store.rules import Person, Removal
from evanesce.testing.leaks import cancelled_at_each_await
from tests.core.store.backends import (
    RULES,
    ClusterBackend,
    RedisBackend,
    append_one,
    cluster_backend,
    draft,
    join,
    send,
)
from tests.patience import PATIENCE
from tests.valkey_cluster import ValkeyCluster

pytestmark = pytest.mark.slow

ADA = Member("ada", "Ada")
AT_ONCE = 20
NEIGHBOURS = 4

numbers = count()


async def ask(store: Store) -> None:
    """Store a value that nobody else has, and read it back."""
    name = f"cancellation-{next(numbers)}"
    await store.one_time_values.put(name, name.encode(), 60)
    assert await store.one_time_values.take(name) == name.encode()
    assert await store.one_time_values.take(name) is None


async def answers_are_their_own(store: Store) -> None:
    """Ask many things at once, each of which has another answer."""
    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(ask, store)


async def ask_again_and_again(store: Store) -> None:
    while True:
        await ask(store)


def methods(store: Store, room_id: str) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return a call of each method, by the part of the store and its name."""

    async def follow() -> None:
        async with store.events.follow(room_id, 10) as feed:
            await store.messages.append(room_id, [draft(room_id)])
            await feed.next()

    async def unsend() -> None:
        [message_id] = await send(store, room_id, "hello")
        await store.messages.unsend(room_id, message_id, "ada")

    async def take() -> None:
        await store.one_time_values.put("taken", b"value", 60)
        assert await store.one_time_values.take("taken") == b"value"

    async def next_notice() -> None:
        await store.control.announce(TokenRevoked("none"))
        await store.control.next_notice()

    return {
        "messages.append": lambda: store.messages.append(room_id, [draft(room_id)]),
        "messages.append_one": lambda: append_one(store, draft(room_id)),
        "messages.find": lambda: store.messages.find(room_id, "none", "ada"),
        "messages.unsend": unsend,
        "messages.history": lambda: store.messages.history(room_id, None, 10, 10_000),
        "messages.close_room": lambda: store.messages.close_room(f"{room_id}-closed-{next(numbers)}", "closed"),
        "events.follow": follow,
        "events.typing": lambda: store.events.typing(room_id, "ada"),
        "presence.join": lambda: join(store, room_id, [ADA]),
        "presence.leave": lambda: store.presence.leave(room_id, ["ada"]),
        "presence.rename": lambda: store.presence.rename(room_id, ADA),
        "presence.snapshot": lambda: store.presence.snapshot(room_id, 10),
        "presence.counts": lambda: store.presence.counts([room_id, room_id]),
        "rules.install": lambda: store.rules.install(room_id, RULES, {"subject": 1}, Removal("ada", "creator", 0)),
        "rules.mute": lambda: store.rules.mute(room_id, "ada", 60),
        "rules.mutes": lambda: store.rules.mutes(room_id),
        "rules.version": lambda: store.rules.version(room_id),
        "rules.votes": lambda: store.rules.votes(room_id),
        "rules.vote": lambda: store.rules.vote(room_id, Person("ada", "a"), Person("bob", "b"), "creator"),
        "rate_limits.take_tokens": lambda: store.rate_limits.take_tokens("bucket", 1, 1.0, 5),
        "rate_limits.connect": lambda: store.rate_limits.connect("ada", 3, 2),  # too many: it asks who lives, and again
        "rate_limits.connected": lambda: store.rate_limits.connected(["ada", "bob"]),
        "servers.expiries": store.servers.expiries,
        "servers.running": store.servers.running,
        "servers.publish_status": lambda: store.servers.publish_status(b"{}"),
        "servers.statuses": lambda: store.servers.statuses(),
        "servers.publish_settings": lambda: store.servers.publish_settings({"name": "value"}),
        "servers.other_settings": store.servers.other_settings,
        "servers.claim": lambda: store.servers.claim("duty", 1),
        "servers.identity": lambda: store.servers.identity("identity"),
        "control.announce": lambda: store.control.announce(TokenRevoked("none")),
        "control.next_notice": next_notice,
        "control.revoked": lambda: store.control.revoked(["none", "another"]),
        "one_time_values.put": lambda: store.one_time_values.put("put", b"value", 60),
        "one_time_values.take": take,
        "health.probe": lambda: store.health.probe(PATIENCE),
        "health.check": store.health.check,
        "health.content_on_disk": store.health.content_on_disk,
        "health.expiry_report": store.health.expiry_report,
    }


def public_methods() -> set[str]:
    """Return the methods of all parts of a store that may wait, and `append_one`, whose answer comes later."""
    found = {"messages.append_one"}
    for part, interface in get_type_hints(Store).items():
        for name, member in vars(interface).items():
            if not name.startswith("_") and (iscoroutinefunction(member) or name == "follow"):
                found.add(f"{part}.{name}")
    return found


def test_every_method_of_the_store_is_cancelled() -> None:
    called = methods(memory_store(), "room")
    assert set(called) == public_methods()


async def cancelled_everywhere(store: Store, room_id: str) -> None:
    """Cancel each method at each of its awaits, while others ask, and let others ask afterwards."""
    for name, method in methods(store, room_id).items():

        async def body(method: Callable[[], Awaitable[object]] = method) -> None:
            await method()

        async with trio.open_nursery() as others:
            for _ in range(NEIGHBOURS):
                others.start_soon(ask_again_and_again, store)
            awaits = await cancelled_at_each_await(body)
            others.cancel_scope.cancel()
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
                await join(store, room_id, [ADA])
                async with store.events.follow(room_id, 10) as feed:
                    await store.messages.append(room_id, [draft(room_id)])
                    await feed.next()

    assert await cancelled_at_each_await(body) > 5
