"""What `check` finds in Redis: each right that is missing, each setting that keeps content, and who cannot take any."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis

from evanesce.config.model import RedisTable
from evanesce.errors import StoreUnavailable
from evanesce.store import Store
from evanesce.store.embedded import embedded_valkey, valkey_binary
from evanesce.store.health import CheckResult, Severity
from evanesce.store.redis import open_redis_store
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.rights import CLUSTER_RIGHTS, RIGHTS
from tests.core.store.backends import CLUSTER_ACCESS, SMALLEST_ACCESS, RedisBackend, answers, eventually
from tests.core.store.replicated import ReplicatedPair
from tests.ports import free_port
from tests.valkey_cluster import ValkeyCluster

pytestmark = pytest.mark.slow

PREFIX = "evanesce"
KINDS = Keys(PREFIX).samples("*")
CHANNELS = Keys(PREFIX).channels("*")


@asynccontextmanager
async def narrow(valkey: RedisBackend, *rules: str) -> AsyncGenerator[Store, None]:
    """Open a store whose user has the smallest access, as these rules change it."""
    valkey.client.execute_command("ACL", "SETUSER", "narrow", "reset", "on", ">secret", *SMALLEST_ACCESS.split())
    valkey.client.execute_command("ACL", "SETUSER", "narrow", *rules)
    table = RedisTable(url=valkey.url.replace("unix://", "unix://narrow:secret@"))
    async with open_redis_store(table, ttl=60, server_id="check") as store:
        yield store


def failures(findings: Sequence[CheckResult]) -> dict[str, CheckResult]:
    return {finding.part: finding for finding in findings if finding.severity is Severity.FAIL}


def left(client: redis.Redis) -> list[bytes]:
    return [key for key in client.scan_iter() if b"check-" in key]


async def test_all_is_well_with_the_smallest_access(valkey: RedisBackend) -> None:
    async with narrow(valkey) as store:
        found = await store.health.check()
        assert [finding.part for finding in found] == [
            "redis",
            "redis rights",
            "redis message",
            "redis persistence",
            "redis settings",
        ]
        assert {finding.severity for finding in found} == {Severity.OK}
        assert left(valkey.client) == []


@pytest.mark.parametrize("right", RIGHTS)
async def test_each_right_that_is_missing_is_named(valkey: RedisBackend, right: str) -> None:
    async with narrow(valkey, f"-{right}") as store:
        found = failures(await store.health.check())
    assert found["redis rights"].text == f"the user may not run {right.upper().replace('|', ' ')}"
    assert found["redis rights"].advice == f"Grant it: ACL SETUSER USER +{right}"
    await eventually(lambda: all(0 < valkey.client.pttl(key) <= 310_000 for key in left(valkey.client)))


async def test_all_that_is_missing_is_named_at_once(valkey: RedisBackend) -> None:
    async with narrow(valkey, "-@all", "+ping", "+get", "resetkeys") as store:
        found = failures(await store.health.check())["redis rights"]
    assert found.advice.split(" ~")[0] == "Grant it: ACL SETUSER USER " + " ".join(
        f"+{right}" for right in RIGHTS if right not in ("ping", "get")
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_of_key_is_named(valkey: RedisBackend, kind: str) -> None:
    async with narrow(valkey, "resetkeys", *(f"~{other}" for other in KINDS if other != kind)) as store:
        found = failures(await store.health.check())["redis rights"]
    assert found.text == f"the user may not read and write the keys {kind}"
    assert found.advice == "Grant it: ACL SETUSER USER ~evanesce:*"


@pytest.mark.parametrize("rule", ["%R~evanesce:*", "%W~evanesce:*", "~another:*"])
async def test_keys_that_can_only_be_read_or_are_anothers(valkey: RedisBackend, rule: str) -> None:
    async with narrow(valkey, "resetkeys", rule) as store:
        found = failures(await store.health.check())
    assert all(kind in found["redis rights"].text for kind in KINDS)
    assert "redis message" in found


# The control channel has the name of a room's, whose rule lets it in.
@pytest.mark.parametrize("channel", [channel for channel in CHANNELS if channel != Keys(PREFIX).control])
async def test_each_kind_of_channel_is_named(valkey: RedisBackend, channel: str) -> None:
    async with narrow(valkey, "resetchannels", *(f"&{other}" for other in CHANNELS if other != channel)) as store:
        found = failures(await store.health.check())["redis rights"]
    assert found.text == f"the user may not use the channels {channel}"
    assert found.advice == "Grant it: ACL SETUSER USER &evanesce:*"


async def test_a_replica(valkey: RedisBackend) -> None:
    async with narrow(valkey) as store:
        valkey.client.replicaof("127.0.0.1", "1")
        found = failures(await store.health.check())
        assert "it is a replica" in found["redis"].text
        assert "primary" in found["redis"].advice
        valkey.client.config_set("replica-read-only", "no")  # it takes messages, which nobody else will have
        found = failures(await store.health.check())
        assert found["redis"].text == "this is a replica, which accepts no messages"


async def test_what_it_keeps_on_disk(valkey: RedisBackend) -> None:
    store = await valkey.open()
    assert await store.health.content_on_disk() == []
    valkey.client.config_set("save", "60 1")
    valkey.client.config_set("appendonly", "yes")
    for found in (await store.health.content_on_disk(), list(await store.health.check())):
        told = [finding for finding in found if finding.part == "redis persistence"]
        assert [finding.text.partition(":")[0] for finding in told] == ["appendonly", "save"]
        assert {finding.severity for finding in told} == {Severity.FAIL}
    valkey.client.config_set("appendonly", "no")


async def test_what_may_not_be_seen_fails(valkey: RedisBackend) -> None:
    for rule, words in (("-config|get", "CONFIG GET is refused"), ("-info", "it is not known what is kept on disk")):
        async with narrow(valkey, rule) as store:
            for found in (await store.health.content_on_disk(), await store.health.check()):
                failed = failures(found)["redis persistence"]
                assert failed.text.startswith(words)
                assert (
                    failed.advice == "Grant its user +config|get and +info, or use a Redis whose settings can be read."
                )
                assert "redis settings" not in [finding.part for finding in found], "nobody has looked at them"


async def test_other_settings_are_warnings(valkey: RedisBackend) -> None:
    store = await valkey.open()
    valkey.client.config_set("maxmemory", 10_000_000)
    valkey.client.config_set("maxmemory-policy", "allkeys-lru")
    valkey.client.config_set("commandlog-request-larger-than", 1000)
    told = [finding for finding in await store.health.check() if finding.severity is not Severity.OK]
    assert {(finding.part, finding.severity) for finding in told} == {("redis settings", Severity.WARN)}
    assert [finding.text.partition(":")[0] for finding in told] == [
        "maxmemory-policy",
        "commandlog-request-larger-than",
    ]


async def test_replicas_that_keep_content_or_cannot_be_seen(valkey: RedisBackend) -> None:
    port, other = free_port(), free_port()
    valkey.client.config_set("port", port)
    async with embedded_valkey() as url:
        replica = redis.Redis.from_url(url)
        replica.config_set("port", other)
        for client in (valkey.client, replica):
            client.config_set("repl-diskless-sync-delay", 0)
            client.config_set("repl-diskless-load", "swapdb")
        replica.replicaof("127.0.0.1", str(port))
        await eventually(lambda: "slave0" in valkey.client.info("replication"), 30)
        await eventually(lambda: valkey.client.info("replication")["slave0"]["state"] == "online", 30)
        table = RedisTable(url=f"redis://127.0.0.1:{port}")
        async with open_redis_store(table, ttl=60, server_id="check") as store:
            assert await store.health.content_on_disk() == []
            for setting, bad, good in (
                ("repl-diskless-sync", "no", "yes"),
                ("repl-diskless-load", "disabled", "swapdb"),
                ("repl-diskless-load", "on-empty-db", "swapdb"),
            ):
                for client, where in ((valkey.client, ""), (replica, f"replica 127.0.0.1:{other}: ")):
                    client.config_set(setting, bad)
                    [found] = await store.health.content_on_disk()
                    assert found.severity is Severity.FAIL
                    assert found.text.startswith(f"{where}{setting}: ")
                    assert found.advice.startswith(f"Set {setting} to {good} ")
                    client.config_set(setting, good)
            replica.config_set("save", "60 1")
            [found] = await store.health.content_on_disk()
            assert found.severity is Severity.FAIL
            assert found.text.startswith(f"replica 127.0.0.1:{other}: save: ")
            assert failures(await store.health.check())["redis persistence"] == found
            replica.config_set("save", "")
            replica.execute_command("ACL", "SETUSER", "default", "-config")
            [found] = await store.health.content_on_disk()
            assert found.severity is Severity.FAIL
            assert found.text.startswith(f"replica 127.0.0.1:{other}: CONFIG GET is refused")
            replica.execute_command("ACL", "SETUSER", "default", "+config", ">secret", "resetpass", ">secret")
            [found] = await store.health.content_on_disk()
            assert found.severity is not Severity.OK
            assert found.text.startswith(f"replica 127.0.0.1:{other}: ")
        replica.close()


@pytest.mark.parametrize("load", ["disabled", "on-empty-db", "swapdb"])
async def test_only_a_replica_that_loads_from_the_socket_writes_no_content_to_disk(tmp_path: Path, load: str) -> None:
    with ReplicatedPair(tmp_path, "--repl-diskless-load", load) as pair:
        await eventually(lambda: answers(pair.primary) and answers(pair.replica))
        pair.primary.set("message", "content", px=60_000)
        pair.replica.set("message", "earlier", px=60_000)  # it was a primary, before a failover
        await pair.ready()
        assert pair.replica.get("message") == b"content"
        assert pair.files(b"content") == ([] if load == "swapdb" else ["dump.rdb"])


@pytest.fixture
def unfinished(tmp_path: Path) -> Iterator[int]:
    """A node of a cluster that nobody has given any slots."""
    port = free_port()
    command = [valkey_binary(), "--port", str(port), "--cluster-enabled", "yes", "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        yield port
        process.kill()


async def test_a_cluster_without_slots(unfinished: int) -> None:
    client = redis.Redis(port=unfinished)
    await eventually(lambda: _answers(client), 30)
    client.close()
    table = RedisTable(url=f"redis://127.0.0.1:{unfinished}", cluster=True)
    async with open_redis_store(table, ttl=60, server_id="check") as store:
        [found] = await store.health.check()
        with pytest.raises(StoreUnavailable):
            await store.health.probe()
    assert (found.part, found.severity) == ("redis", Severity.FAIL)
    assert "is a cluster that is down" in found.text


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


async def test_a_cluster_is_looked_at_on_every_primary(shared_cluster: ValkeyCluster) -> None:
    shared_cluster.start()
    rules = [*SMALLEST_ACCESS.split(), *CLUSTER_ACCESS.split()]
    for node in shared_cluster.nodes:
        node.client.execute_command("ACL", "SETUSER", "narrow", "reset", "on", ">secret", *rules)
    url = shared_cluster.url.replace("redis://", "redis://narrow:secret@")
    odd = shared_cluster.primaries[1]
    where = f"127.0.0.1:{odd.port} "
    try:
        async with open_redis_store(RedisTable(url=url, cluster=True), ttl=60, server_id="check") as store:
            assert failures(await store.health.check()) == {}
            for right in (*CLUSTER_RIGHTS, "xadd", "ssubscribe"):
                odd.client.execute_command("ACL", "SETUSER", "narrow", f"-{right}")
                found = failures(await store.health.check())
                assert found["redis rights"].text == f"{where}the user may not run {right.upper().replace('|', ' ')}"
                odd.client.execute_command("ACL", "SETUSER", "narrow", f"+{right}")
            odd.client.config_set("save", "60 1")
            assert failures(await store.health.check())["redis persistence"].text.startswith(f"{where}save: ")
            odd.client.config_set("save", "")
            assert [key for node in shared_cluster.primaries for key in left(node.client)] == []
    finally:
        for node in shared_cluster.nodes:
            node.client.config_set("save", "")
            node.client.execute_command("ACL", "DELUSER", "narrow")
