"""Encrypted content on a real Valkey: what it holds, who can read it, and for how long."""

from __future__ import annotations

import uuid

import pytest
import redis
import trio

from evanesce.config.model import RedisTable
from evanesce.errors import StoreUnavailable
from evanesce.model import milliseconds
from evanesce.store import Store
from evanesce.store.events import HistoryLost
from evanesce.store.message_log import LogEntry, RoomClosed, Stored
from evanesce.store.redis import open_redis_store
from evanesce.store.redis.message_log import RedisMessageLog
from evanesce.store.sealing.keyring import PERIOD
from tests.core.store.backends import (
    ALL,
    SECRET,
    append_one,
    appended,
    contents,
    draft,
    events,
    eventually,
    of_kind,
    redis_backend,
    send,
    until,
)
from tests.process_memory import copies
from tests.valkey_cluster import ValkeyCluster


def canary() -> str:
    return f"canary {uuid.uuid4()}"


def values(client: redis.Redis, room_id: str) -> list[bytes]:
    found = [client.get(key) for key in client.scan_iter(f"evanesce:{{{room_id}}}:message:*")]
    return [each for each in found if isinstance(each, bytes)]


def opened(store: Store, body: bytes) -> bytes | None:
    assert isinstance(store.messages, RedisMessageLog)
    try:
        return store.messages.opened(body)
    except ValueError:
        return None


async def test_redis_never_has_the_content_in_its_memory(room_id: str) -> None:
    async with redis_backend(secret=SECRET) as backend:
        ada, bob = await backend.open("ada"), await backend.open("bob")
        said = [canary() for _ in range(10)]
        backend.client.config_set("slowlog-log-slower-than", 0)
        async with bob.events.follow(room_id, 10) as feed:
            await send(ada, room_id, *said[:5])
            for content in said[5:]:
                await append_one(ada, draft(room_id, content))
            given = of_kind(await events(feed, 10), LogEntry)
        assert [each.message.content for each in given] == said
        assert await contents(bob, room_id) == said
        found = await trio.to_thread.run_sync(copies, backend.pid, [each.encode() for each in said])
        assert found == [0] * 10
        assert b"canary" not in b"".join(values(backend.client, room_id))


async def test_after_its_end_nobody_can_read_what_was_copied_in_time(room_id: str) -> None:
    async with redis_backend(secret=SECRET) as backend:
        ada, bob = await backend.open("ada", ttl=2), await backend.open("bob", ttl=2)
        await send(ada, room_id, "hello")
        await contents(bob, room_id)
        [copy] = values(backend.client, room_id)
        assert opened(ada, copy) is not None
        assert opened(bob, copy) is not None
        stored = int(bob.clock.now())
        await eventually(lambda: bob.clock.now() >= stored + 2_000 + 1_000)
        late = await backend.open("late", ttl=2)  # it gets the keys of the others, and has the secret
        for store in (ada, bob, late):
            assert opened(store, copy) is None


async def test_a_server_that_comes_later_reads_what_is_there(room_id: str) -> None:
    async with redis_backend(secret=SECRET) as backend:
        ada = await backend.open("ada")
        await send(ada, room_id, "1", "2")
        bob = await backend.open("bob")
        assert await contents(bob, room_id) == ["1", "2"]
        await backend.close(ada)
        cyd = await backend.open("cyd")
        assert await contents(cyd, room_id) == ["1", "2"], "those who are left have the keys of those who have gone"


async def test_keys_that_are_not_known_yet_are_waited_for(room_id: str) -> None:
    """A server that did not hear the others' notices asks for what it lacks."""
    async with redis_backend(secret=SECRET) as backend:
        ada = await backend.open("ada")
        await send(ada, room_id, "before")
        bob = await backend.open("bob")
        async with bob.events.follow(room_id, 10) as feed:
            assert isinstance(ada.messages, RedisMessageLog)
            keys = ada.messages._cipher
            keys._keyring.renew(ada.clock.now())  # type: ignore[union-attr]: a new chain that was not offered to anyone
            await send(ada, room_id, "after")
            given = of_kind(await until(feed, LogEntry), LogEntry)
        assert [each.message.content for each in given] == ["after"]
        assert await contents(bob, room_id) == ["before", "after"]


async def test_messages_whose_keys_are_lost_count_as_missed(room_id: str) -> None:
    async with redis_backend(secret=SECRET) as backend:
        ada = await backend.open("ada")
        first = await ada.messages.history(room_id, None, *ALL)
        assert not isinstance(first, RoomClosed)
        await send(ada, room_id, *map(str, range(20)))
        await backend.close(ada)
        bob = await backend.open("bob")  # no server was there that could have given it the keys
        history = await bob.messages.history(room_id, first.cursor, *ALL)
        assert not isinstance(history, RoomClosed)
        assert history.messages == ()
        assert history.missed == 20
        await send(bob, room_id, "3")
        assert await contents(bob, room_id) == ["3"]


async def test_a_server_with_another_secret_reads_nothing_and_says_so(
    room_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with redis_backend(secret=SECRET) as backend:
        ada = await backend.open("ada")
        await send(ada, room_id, "hello")
        async with (
            open_redis_store(RedisTable(url=backend.url), ttl=60, server_id="eve", secrets=["another secret"]) as eve,
            eve.events.follow(room_id, 10) as feed,
        ):
            assert await contents(eve, room_id) == []
            await send(ada, room_id, "again")
            assert await until(feed, HistoryLost)
        assert "all servers on one Redis need the same server.secret" in caplog.text
        assert await contents(ada, room_id) == ["hello", "again"]


@pytest.mark.parametrize("other", [[SECRET, "the new secret"], ["the new secret", SECRET]])
async def test_servers_read_each_other_while_the_secret_is_replaced(
    room_id: str, other: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with redis_backend() as backend:
        table = RedisTable(url=backend.url)
        async with (
            open_redis_store(table, ttl=60, server_id="ada", secrets=[SECRET, "the new secret"]) as ada,
            open_redis_store(table, ttl=60, server_id="bob", secrets=other) as bob,
        ):
            await send(ada, room_id, "hello")
            await send(bob, room_id, "hello back")
            assert await contents(ada, room_id) == await contents(bob, room_id) == ["hello", "hello back"]
    assert "need the same server.secret" not in caplog.text


async def test_a_message_that_the_store_takes_late_lives_as_long_as_any(room_id: str) -> None:
    async with redis_backend(secret=SECRET) as backend:
        ada = await backend.open("ada")
        await send(ada, room_id, "before")
        outcomes: list[object] = []
        backend.away()
        ada.messages.append_one(room_id, draft(room_id, "late"), outcomes.append)
        began = trio.current_time()
        await eventually(lambda: trio.current_time() >= began + 0.9)
        backend.back()
        await eventually(lambda: outcomes)
        [outcome] = outcomes
        assert isinstance(outcome, Stored)
        assert await contents(ada, room_id) == ["before", "late"]
        [body] = [each for each in values(backend.client, room_id) if outcome.created_at.encode() in each]
        period = int(body.split(b'"content":"')[1].split(b".")[1])
        assert (period + 1) * PERIOD > milliseconds(outcome.expires_at), "its key is there until its end"


async def test_in_a_cluster(shared_cluster: ValkeyCluster, room_id: str) -> None:
    shared_cluster.start()
    shared_cluster.empty()
    table = RedisTable(url=shared_cluster.url, cluster=True)
    async with (
        open_redis_store(table, ttl=60, server_id="ada", secrets=[SECRET]) as ada,
        open_redis_store(table, ttl=60, server_id="bob", secrets=[SECRET]) as bob,
        bob.events.follow(room_id, 10) as feed,
    ):
        await send(ada, room_id, "hello")
        [given] = of_kind(await until(feed, LogEntry), LogEntry)
        assert given.message.content == "hello"
        assert await contents(bob, room_id) == ["hello"]


async def test_after_an_outage_of_redis_all_goes_on(room_id: str) -> None:
    async with redis_backend(secret=SECRET) as backend:
        ada, bob = await backend.open("ada"), await backend.open("bob")
        backend.forget()

        await eventually(lambda: appended(ada, room_id))

        async def heard() -> bool:
            try:
                return "hello" in await contents(bob, room_id)
            except StoreUnavailable:  # it is not connected again yet
                return False

        await eventually(heard)
