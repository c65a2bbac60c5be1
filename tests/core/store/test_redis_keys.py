"""What Redis holds, looked at with a client of its own: the keys, their times, and content in one place alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from evanesce.config.model import RedisTable
from evanesce.errors import StoreUnavailable
from evanesce.model import Message, milliseconds
from evanesce.store.cursor import CURSOR_SECONDS
from evanesce.store.message_log import LogEntry, RoomClosed, Stored
from evanesce.store.presence import Member
from evanesce.store.redis import open_redis_store
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.rights import CLUSTER_RIGHTS, RIGHTS
from evanesce.store.redis.scripts import GRACE
from evanesce.store.rules import COME_BACK_SECONDS
from tests.core.store.backends import (
    CLUSTER_ACCESS,
    SMALLEST_ACCESS,
    RedisBackend,
    draft,
    events,
    eventually,
    join,
    redis_backend,
)

CANARY = "canary-1f0a8c-\u00e9\U0001f600"


def everything(client: redis.Redis) -> dict[str, bytes]:
    """All that can be read from Redis: each key with what it holds."""
    readers: dict[bytes, Any] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"stream": client.xrange,
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"none": lambda key: b"",  # it expired meanwhile
    }
    return {key.decode(): repr(readers[client.type(key)](key)).encode() for key in client.scan_iter()}


async def test_a_message_is_its_json_under_its_ttl(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open(ttl=60)
    pubsub = valkey.client.pubsub(ignore_subscribe_messages=True)
    pubsub.ssubscribe(f"evanesce:{{{room_id}}}:events")
    mine = draft(room_id, CANARY)
    answers = await store.messages.append(room_id, [mine])
    assert not isinstance(answers, RoomClosed)
    [stored] = answers
    assert isinstance(stored, Stored)
    key = f"evanesce:{{{room_id}}}:message:{mine.message_id}"
    raw = valkey.client.get(key)
    assert isinstance(raw, bytes)
    assert json.loads(raw) == {
        "messageId": mine.message_id,
        "roomId": room_id,
        "senderId": "ada",
        "senderName": "Ada",
        "content": CANARY,
        "createdAt": stored.created_at,
        "expiresAt": stored.expires_at,
    }
    assert raw == msgspec.json.encode(msgspec.json.decode(raw, type=Message))
    assert valkey.client.pexpiretime(key) == milliseconds(stored.expires_at)
    seconds, microseconds = valkey.client.time()
    assert abs(store.clock.now() - (seconds * 1000 + microseconds // 1000)) < 1_000
    pubsub.get_message(timeout=5)  # the subscription's own acknowledgement
    published = pubsub.get_message(timeout=5)
    assert published is not None
    assert published["data"].endswith(raw)
    pubsub.close()


async def test_times_are_right_on_every_kind_of_day(valkey: RedisBackend) -> None:
    script = files("evanesce.store.redis") / "lua" / "append.lua"
    source = script.read_text().split("local state, had = room(")[0]
    days = [
        "1970-01-01",
        "1999-12-31",
        "2000-02-29",
        "2024-02-29",
        "2024-12-31",
        "2026-03-01",
        "2100-02-28",
        "2100-03-01",
    ]
    for day in days:
        for time, of_day in (("00:00:00.000", 0), ("23:59:59.999", 86_399_999)):
            start = int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()) * 1000
            written = valkey.client.eval(f"{source}\nreturn rfc3339(tonumber(ARGV[1]))", 0, start + of_day)
            assert written == f"{day}T{time}Z".encode()


async def test_content_is_in_the_messages_key_and_nowhere_else(valkey: RedisBackend, room_id: str) -> None:
    store = await valkey.open(ttl=3)
    canary = CANARY.encode()
    kept, unsent = draft(room_id, CANARY), draft(room_id, CANARY)
    await join(store, room_id, [Member("ada", "Ada")])
    async with store.events.follow(room_id, 10) as feed:
        await store.messages.append(room_id, [kept, unsent])
        await store.messages.unsend(room_id, unsent.message_id, "ada")
        await events(feed, 3)
        held = everything(valkey.client)
        message_key = f"evanesce:{{{room_id}}}:message:{kept.message_id}"
        assert [key for key, value in held.items() if b"canary" in value] == [message_key]
        assert canary in valkey.client.get(message_key)
        assert f"evanesce:{{{room_id}}}:unsent:{unsent.message_id}" in held
        assert 0 < valkey.client.pttl(f"evanesce:{{{room_id}}}:unsent:{unsent.message_id}") <= 3_000
        assert 0 < valkey.client.pttl(f"evanesce:{{{room_id}}}:index") <= 3_000 + GRACE
        assert valkey.client.ttl(f"evanesce:{{{room_id}}}:state") > CURSOR_SECONDS
        assert all(key.startswith("evanesce:{") for key in held)
        assert valkey.client.slowlog_len() == 0
        await eventually(lambda: b"canary" not in b"".join(everything(valkey.client).values()))

    def left() -> list[str]:
        keys = [key for key in everything(valkey.client) if room_id in key]
        return sorted(key.rpartition("}:")[2].partition(":")[0] for key in keys)

    await eventually(lambda: left() == ["at", "people", "state"])


async def test_the_prefix_is_the_deployers(valkey: RedisBackend, room_id: str) -> None:
    async with open_redis_store(RedisTable(url=valkey.url, prefix="my:chat"), ttl=60, server_id="one") as store:
        await store.messages.append(room_id, [draft(room_id)])
        await store.one_time_values.put("key", b"value", 60)
        await join(store, room_id, [Member("ada", "Ada")])
        keys = everything(valkey.client)
    assert keys
    assert all(key.startswith("my:chat:") for key in keys)


async def test_a_server_that_ends_leaves_when_it_lived_and_what_has_to_be_erased(
    valkey: RedisBackend, room_id: str
) -> None:
    store = await valkey.open(ttl=0.1)
    await join(store, room_id, [Member("ada", "Ada")])
    await valkey.close(store)
    left = everything(valkey.client)
    names = ["away", "heard", "leases", "lives", "since", "state"]
    assert sorted(name for key in left if not (name := key.rpartition("}:")[2]).startswith("erase:")) == names
    [erase] = [key for key in left if key.startswith("evanesce:{servers}:erase:")]
    assert set(valkey.client.zrange(erase, 0, -1)) == {
        b"-",
        *(f"evanesce:{{{room_id}}}:{name}".encode() for name in ("away", "state")),
    }
    assert 0 < valkey.client.ttl(f"evanesce:{{{room_id}}}:away") <= COME_BACK_SECONDS
    assert 0 < valkey.client.ttl(erase) <= 7 * 24 * 3600
    assert valkey.client.zrange("evanesce:{servers}:lives", 0, -1) == [store.servers.server_name.encode()]
    for name in ("heard", "lives", "since"):
        assert 0 < valkey.client.ttl(f"evanesce:{{servers}}:{name}") <= 7 * 24 * 3600


def test_the_smallest_access_list_has_what_is_used_and_nothing_else() -> None:
    """The contract suite, which runs under it too, meets all but what only faults need."""
    folder = files("evanesce.store.redis")
    paths = [path for part in (folder, folder / "lua") for path in part.iterdir() if path.is_file()]
    paths = [path for path in paths if path.name != "rights.py"]  # which tries each of them
    words = {".lua": r"call\('([A-Z]+)'", ".py": r'"([A-Z]{3,})"'}
    used: set[str] = set()
    for path in paths:
        used.update(re.findall(words[Path(path.name).suffix], path.read_text()))
    used -= {"COUNT", "LIMIT", "LOAD", "MINID", "WITHSCORES", "ALERT"}  # words of others
    used -= {"CLUSTER", "SLOTS", "ASKING", "SENTINEL", "REPLICAS"}  # of a cluster, and of sentinels
    allowed = {word[1:].partition("|")[0].upper() for word in SMALLEST_ACCESS.split() if word[0] == "+"}
    assert allowed == used


@pytest.mark.parametrize(("table", "rules"), [(RIGHTS, SMALLEST_ACCESS), (CLUSTER_RIGHTS, CLUSTER_ACCESS)])
def test_check_tries_every_right_of_the_documented_list(table: Mapping[str, object], rules: str) -> None:
    assert {f"+{right}" for right in table} == {word for word in rules.split() if word[0] == "+"}


def test_check_tries_every_kind_of_key_and_channel() -> None:
    keys = Keys("evanesce")
    methods = {
        name: made for name, made in vars(Keys).items() if getattr(made, "__annotations__", {}).get("return") == "str"
    }
    del methods["room_of"]
    names = {make(keys, *["x"] * (make.__code__.co_argcount - 1)) for make in methods.values()}
    names |= {name for name in vars(keys).values() if name.startswith("evanesce:")} - {keys.pattern}
    assert len(names) > 15
    assert {*keys.samples("x"), *keys.channels("x")} == names


async def test_a_wrong_password_is_told_and_never_repeated(
    valkey: RedisBackend, room_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = valkey.url.replace("unix://", "unix://chat:hunter2@")
    async with open_redis_store(RedisTable(url=url), ttl=60, server_id="one") as store:
        assert not store.health.healthy
        with pytest.raises(StoreUnavailable):
            await store.messages.append(room_id, [draft(room_id)])
    assert "AuthenticationError" in caplog.text
    assert "hunter2" not in caplog.text


async def test_the_embedded_store_starts_a_valkey(room_id: str) -> None:
    async with open_redis_store(RedisTable(url="embedded"), ttl=60, server_id="one") as store:
        async with store.events.follow(room_id, 10) as feed:
            await store.messages.append(room_id, [draft(room_id)])
            [given] = await events(feed, 1)
        assert isinstance(given, LogEntry)


async def test_a_message_is_stored_whole_with_the_rights_of_before(room_id: str) -> None:
    """A step that is refused after the first would leave an entry without its message, and its number to the next."""
    async with redis_backend(SMALLEST_ACCESS.replace("+xtrim ", "")) as valkey:
        store = await valkey.open()
        for _ in range(40):
            [stored] = await store.messages.append(room_id, [draft(room_id)])  # type: ignore[misc]
            assert isinstance(stored, Stored)
        assert valkey.client.xlen(f"evanesce:{{{room_id}}}:index") == 40
        assert len(valkey.client.keys(f"evanesce:{{{room_id}}}:message:*")) == 40
