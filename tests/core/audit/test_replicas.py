"""Replicas: each is a place of its own, and one that cannot be looked at is named."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from evanesce.audit import redis_keys
from evanesce.audit.canaries import Canaries, Kind
from evanesce.audit.deployment import find, places
from evanesce.audit.places import CouldNotLook, Finding, Phase, Verdict
from evanesce.audit.redis_keys import KeySpace
from evanesce.audit.redis_nodes import RedisNode, lost_replicas, redis_nodes
from evanesce.audit.redis_records import ClientList, CommandLogs, RedisFiles
from evanesce.audit.traces import Traces
from evanesce.config.model import (
    Config,
    LimitsTable,
    MessagesTable,
    RedisTable,
    RetentionTable,
    RoomsTable,
    ServerTable,
)
from evanesce.store.redis.keys import Keys
from tests.core.audit.programs import unprivileged, wait_until
from tests.core.store.replicated import REPLICATED
from tests.core.store.test_sentinel import Watched
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.redis_versions import server_binary

NOW = Phase.HALF_SECOND
KEYS = Keys("evanesce")


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


@contextmanager
def a_redis(folder: Path, *options: str, of: int | None = None) -> Iterator[tuple[redis.Redis, int]]:
    """Run a Redis, as a replica of the port `of`, and yield a client and its port when it serves."""
    port = free_port()
    data = folder / str(port)
    data.mkdir()
    following = () if of is None else ("--replicaof", f"127.0.0.1 {of}")
    command = [server_binary(), "--port", str(port), *REPLICATED, *following, *options]
    running = subprocess.Popen(command, cwd=data, stdout=subprocess.DEVNULL, start_new_session=True)
    client = redis.Redis(port=port, socket_timeout=PATIENCE)
    try:
        wait_until(lambda: _serves(client, of is not None))
        yield client, port
    finally:
        client.close()
        running.kill()
        running.wait()


def _serves(client: redis.Redis, is_replica: bool) -> bool:
    try:
        info = client.info("replication")
    except redis.RedisError:
        return False
    return not is_replica or info.get("master_link_status") == "up"


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[tuple[redis.Redis, int]]:
    with a_redis(tmp_path) as running:
        yield running


@pytest.fixture
def replica(tmp_path: Path, primary: tuple[redis.Redis, int]) -> Iterator[tuple[redis.Redis, int]]:
    with a_redis(tmp_path, of=primary[1]) as running:
        yield running


def configured(url: str) -> Config:
    return Config(
        plugins={},
        server=ServerTable(),
        redis=RedisTable(url=url),
        messages=MessagesTable(),
        rooms=RoomsTable(),
        limits=LimitsTable(),
        retention=RetentionTable(),
    )


def nodes_of(port: int) -> list[RedisNode]:
    return redis_nodes(RedisTable(url=f"redis://127.0.0.1:{port}"), None)


def test_a_replica_is_a_place_of_its_own(
    primary: tuple[redis.Redis, int], replica: tuple[redis.Redis, int], canaries: Canaries
) -> None:
    nodes = nodes_of(primary[1])
    assert [node.primary is None for node in nodes] == [True, False]
    assert all(node.process is not None for node in nodes)
    primary[0].set("k", canaries.text(Kind.SENT))
    found = KeySpace(canaries, nodes[1], KEYS, Traces()).look(NOW).findings
    assert found == [Finding("sent", "k", 1, Verdict.LEAK)]

    replica[0].config_set("slowlog-log-slower-than", 0)
    replica[0].get(canaries.text(Kind.REJECTED))
    replica[0].client_setname(canaries.text(Kind.NAME))
    assert {one.what for one in CommandLogs(canaries, nodes[1]).look(NOW).findings} >= {"rejected"}
    assert [one.what for one in ClientList(canaries, nodes[1]).look(NOW).findings] == ["name"]
    assert ClientList(canaries, nodes[0]).look(NOW).findings == []


def test_the_replica_of_a_replica_is_found(
    tmp_path: Path, primary: tuple[redis.Redis, int], replica: tuple[redis.Redis, int], canaries: Canaries
) -> None:
    with a_redis(tmp_path, of=replica[1]) as last:
        nodes = nodes_of(primary[1])
        assert [node.label.rpartition(":")[2] for node in nodes[1:]] == [str(replica[1]), str(last[1])]
        assert nodes[2].primary == nodes[1]
        primary[0].set("k", canaries.text(Kind.SENT))
        assert KeySpace(canaries, nodes[2], KEYS, Traces()).look(NOW).findings


def test_a_replica_that_lags_cannot_be_looked_at(
    primary: tuple[redis.Redis, int],
    replica: tuple[redis.Redis, int],
    canaries: Canaries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_keys, "REPLICA_SECONDS", 0.2)
    nodes = nodes_of(primary[1])
    replica[0].replicaof("127.0.0.1", str(free_port()))  # it follows nobody from now on
    primary[0].set("k", "")
    with pytest.raises(CouldNotLook, match="behind its primary"):
        KeySpace(canaries, nodes[1], KEYS, Traces()).look(NOW)


def test_the_file_that_a_replica_writes_when_it_connects_is_found(
    tmp_path: Path, primary: tuple[redis.Redis, int], canaries: Canaries
) -> None:
    primary[0].config_set("rdbcompression", "no")
    primary[0].set("k", canaries.text(Kind.SENT))
    with a_redis(tmp_path, "--repl-diskless-load", "disabled", of=primary[1]):
        [_, node] = nodes_of(primary[1])
        look = RedisFiles(canaries, node, 0.0).look(NOW)
    assert [finding.what for finding in look.findings] == ["repl-diskless-load", "sent"]
    assert look.findings[1].where.endswith("/dump.rdb")


def test_files_that_this_user_may_not_read_are_named(
    primary: tuple[redis.Redis, int], replica: tuple[redis.Redis, int], canaries: Canaries
) -> None:
    nodes = nodes_of(primary[1])
    for (client, _), node in zip((primary, replica), nodes, strict=True):
        Path(client.config_get("dir")["dir"]).chmod(0o300)
        with unprivileged(), pytest.raises(CouldNotLook, match=r"dump\.rdb.*: this user may not read that folder"):
            RedisFiles(canaries, node, 0.0).look(NOW)


def test_what_of_a_replica_elsewhere_cannot_be_seen_is_named(
    primary: tuple[redis.Redis, int], replica: tuple[redis.Redis, int], canaries: Canaries, tmp_path: Path
) -> None:
    config = configured(f"redis://127.0.0.1:{primary[1]}")
    found = find(config, [])
    here = found.nodes[1]
    found.nodes = [found.nodes[0], RedisNode(here.label, here.address, None, here.primary)]
    label = f"replica 127.0.0.1:{replica[1]}"
    told: dict[str, str] = {}
    for place in places(config, found, None, tmp_path, canaries, Traces(room_id="room"), 0.0):
        if place.name.endswith(label):
            try:
                assert not place.look(NOW).unseen
            except CouldNotLook as error:
                told[place.name] = str(error)
    assert set(told) == {f"{kind} of {label}" for kind in ("files", "log", "open files", "core files", "memory")}
    assert all("it runs on another machine" in why for why in told.values())
    assert "dump.rdb" in told[f"files of {label}"]


@pytest.mark.slow
def test_a_replica_that_the_sentinels_miss_is_named(tmp_path: Path, canaries: Canaries) -> None:
    watched = Watched(tmp_path)
    try:
        wait_until(watched.ready)
        config = configured(watched.url)
        assert [node.primary is None for node in find(config, []).nodes] == [True, False]
        watched.kill(watched.ports[1])
        with watched.redis(watched.ports[0]) as primary:
            wait_until(lambda: primary.info("replication")["connected_slaves"] == 0)
        found = find(config, [])
        lost = f"replica 127.0.0.1:{watched.ports[1]}"
        assert [node.label for node in found.nodes] == ["Redis", lost]
        for place in (RedisFiles(canaries, found.nodes[1], 0.0), CommandLogs(canaries, found.nodes[1])):
            with pytest.raises(CouldNotLook, match=f"{lost} does not answer"):
                place.look(NOW)
        for port in watched.sentinels:
            watched.kill(port)
        with pytest.raises(CouldNotLook, match="no sentinel tells which there are"):
            lost_replicas(config.redis, found.nodes)
    finally:
        watched.stop()
