"""Redis: expired keys, all keys, logs of commands, clients, files, replicas and the nodes of a cluster."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from evanesce.audit import redis_keys
from evanesce.audit.canaries import Canaries, Kind
from evanesce.audit.places import CouldNotLook, Finding, Phase, Verdict
from evanesce.audit.processes import redis_at
from evanesce.audit.redis_keys import ExpiredKeys, KeySpace
from evanesce.audit.redis_nodes import RedisNode, redis_nodes
from evanesce.audit.redis_records import ClientList, CommandLogs, RedisFiles
from evanesce.audit.traces import Traces
from evanesce.config.model import RedisTable
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.rights import RIGHTS
from tests.core.audit.programs import wait_until
from tests.e2e.valkey import Valkey
from tests.ports import free_port
from tests.valkey_cluster import ValkeyCluster

NOW = Phase.HALF_SECOND
KEYS = Keys("evanesce")
ROOM = "6f1f1e0c-0f8c-4b35-9ad0-fd2f2d1b2f6e"


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with Valkey() as valkey:
        yield valkey


@pytest.fixture
def node(valkey: Valkey) -> RedisNode:
    [node] = redis_nodes(RedisTable(url=valkey.url), None)
    return node


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture
def traces() -> Traces:
    return Traces(room_id=ROOM, sent=["one", "two"], unsent=["three"])


def own(message_id: str) -> str:
    return KEYS.message(ROOM, message_id)


# Which process and which servers there are


def test_the_process_of_a_redis_on_this_machine_is_found(valkey: Valkey, node: RedisNode) -> None:
    assert node.process is not None
    assert node.process.pid == valkey.process.pid
    assert node.primary is None


def test_a_redis_that_does_not_answer_cannot_be_looked_at() -> None:
    with pytest.raises(CouldNotLook, match="Redis does not answer"):
        redis_nodes(RedisTable(url=f"redis://127.0.0.1:{free_port()}"), None)


def test_without_its_server_the_embedded_valkey_is_not_found() -> None:
    with pytest.raises(CouldNotLook, match="the embedded Valkey of the server was not found"):
        redis_nodes(RedisTable(), None)


def test_a_redis_of_another_machine_has_no_process_here() -> None:
    assert redis_at(("192.0.2.1", 6379)) is None


def test_the_primaries_and_replicas_of_a_cluster_are_found(canaries: Canaries, traces: Traces) -> None:
    cluster = ValkeyCluster(node_timeout=2_000)
    cluster.start()
    try:
        table = RedisTable(url=cluster.url, cluster=True)
        wait_until(lambda: len(redis_nodes(table, None)) == 6)  # the nodes tell each other of the replicas
        nodes = redis_nodes(table, None)
        primaries = [node for node in nodes if node.primary is None]
        assert (len(primaries), len(nodes)) == (3, 6)
        assert {node.process.pid for node in nodes if node.process} == {node.process.pid for node in cluster.nodes}
        [home] = [node for node in primaries if node.has(own("one"))]
        client = next(one.client for one in cluster.nodes if home.label.endswith(f":{one.port}"))
        client.set(own("one"), canaries.text(Kind.SENT))
        assert [one.count for one in ExpiredKeys(home, KEYS, traces).look(NOW).findings] == [1]
        holding = [node for node in nodes if KeySpace(canaries, node, KEYS, traces).look(NOW).findings]
        assert holding[0] is home
        assert [node.primary for node in holding[1:]] == [home], "its replica has the key as well"

        down = next(one for one in cluster.nodes if holding[1].label.endswith(f":{one.port}"))
        down.process.kill()
        wait_until(lambda: b"slave,fail " in client.execute_command("CLUSTER", "NODES", encoded=True))
        assert {node.label for node in redis_nodes(table, None)} == {node.label for node in nodes}
        with pytest.raises(CouldNotLook, match=f"{holding[1].label} does not answer"):
            RedisFiles(canaries, holding[1], 0.0).look(NOW)
    finally:
        cluster.stop()


# Expired keys


def test_messages_that_live_are_no_leak_before_their_end(valkey: Valkey, node: RedisNode, traces: Traces) -> None:
    valkey.client.set(own("one"), "")
    look = ExpiredKeys(node, KEYS, traces).look(Phase.BEFORE)
    assert [(one.where, one.count, one.verdict) for one in look.findings] == [
        ("messages in their own keys", 1, Verdict.EXPECTED)
    ]
    assert look.note == "1 keys by DBSIZE, 1 messages of the audit"


def test_a_message_that_lives_longer_is_a_leak(valkey: Valkey, node: RedisNode, traces: Traces) -> None:
    valkey.client.set(own("one"), "")
    [finding] = ExpiredKeys(node, KEYS, traces).look(NOW).findings
    assert (finding.where, finding.count) == ("messages that live longer than their end", 1)


def test_a_message_that_expired_and_was_not_erased_is_a_leak(traces: Traces) -> None:
    with Valkey(options={"enable-debug-command": "yes"}) as valkey:
        [node] = redis_nodes(RedisTable(url=valkey.url), None)
        valkey.client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        for name in (own("one"), own("three"), "another"):
            valkey.client.set(name, "", px=1)
        valkey.client.execute_command("DEBUG", "SLEEP", 0.01)
        place = ExpiredKeys(node, KEYS, traces)
        [finding] = place.look(NOW).findings
        assert (finding.where, finding.count) == ("keys that have expired and were not erased", 2)
        assert valkey.client.dbsize() == 1, "keys that are not the audit's are not touched"
        assert place.look(NOW).findings == []


def test_a_setting_with_which_nothing_is_erased_is_a_leak(valkey: Valkey, node: RedisNode, traces: Traces) -> None:
    valkey.client.config_set("import-mode", "yes")
    [finding] = ExpiredKeys(node, KEYS, traces).look(NOW).findings
    assert finding.what == "import-mode"


# All keys

WRITERS: dict[str, Callable[[redis.Redis, str], object]] = {
    "string": lambda client, text: client.set("k", text),
    "hash": lambda client, text: client.hset("k", "field", text),
    "a field of a hash": lambda client, text: client.hset("k", text, ""),
    "list": lambda client, text: client.rpush("k", text),
    "set": lambda client, text: client.sadd("k", text),
    "sorted set": lambda client, text: client.zadd("k", {text: 1.0}),
    "stream": lambda client, text: client.xadd("k", {"field": text}),
    "a long string, which a dump would compress": lambda client, text: client.set("k", f"{'x' * 5000} {text}"),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_content_in_another_key_is_a_leak(
    valkey: Valkey, node: RedisNode, canaries: Canaries, traces: Traces, write: Callable[[redis.Redis, str], object]
) -> None:
    write(valkey.client, canaries.text(Kind.SENT))
    look = KeySpace(canaries, node, KEYS, traces).look(Phase.BEFORE)
    assert look.findings == [Finding("sent", "k", 1, Verdict.LEAK)]
    assert look.note == "1 keys"


def test_content_in_the_name_of_a_key_is_a_leak(
    valkey: Valkey, node: RedisNode, canaries: Canaries, traces: Traces
) -> None:
    valkey.client.set(f"k:{canaries.text(Kind.TYPING)}", "")
    [finding] = KeySpace(canaries, node, KEYS, traces).look(NOW).findings
    assert (finding.what, finding.verdict) == ("typing", Verdict.LEAK)
    assert finding.where.startswith("k:(canary)")


@pytest.mark.parametrize(
    ("key", "kind", "expected"),
    [
        (own("one"), Kind.SENT, {Phase.BEFORE}),
        (own("one"), Kind.NAME, {Phase.BEFORE}),
        (own("three"), Kind.UNSENT, set()),
        (own("one"), Kind.CONFLICTING, set()),
        (own("one"), Kind.MAIL, set()),
        (KEYS.index(ROOM), Kind.SENT, set()),
        (KEYS.members(ROOM), Kind.NAME, set(Phase) - {Phase.FORGOTTEN}),
        (KEYS.members(ROOM), Kind.MAIL, set()),
        (KEYS.members("another"), Kind.NAME, set()),
    ],
)
def test_what_may_be_in_which_key_and_when(
    valkey: Valkey,
    node: RedisNode,
    canaries: Canaries,
    traces: Traces,
    key: str,
    kind: Kind,
    expected: set[Phase],
) -> None:
    valkey.client.set(key, canaries.text(kind))
    place = KeySpace(canaries, node, KEYS, traces)
    for phase in Phase:
        [finding] = place.look(phase).findings
        assert finding.verdict is (Verdict.EXPECTED if phase in expected else Verdict.LEAK), phase


def test_more_keys_than_can_be_read_are_told(
    valkey: Valkey, node: RedisNode, canaries: Canaries, traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_keys, "MOST_KEYS", 10)
    monkeypatch.setattr(redis_keys, "PAGE", 5)
    for number in range(100):
        valkey.client.set(str(number), "")
    assert KeySpace(canaries, node, KEYS, traces).look(NOW).unseen == ["there are more than 10 keys"]


@pytest.mark.parametrize("kind", ["list", "sorted set", "stream"])
def test_more_elements_than_can_be_read_are_told(
    valkey: Valkey,
    node: RedisNode,
    canaries: Canaries,
    traces: Traces,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setattr(redis_keys, "MOST_ELEMENTS", 3)
    place = KeySpace(canaries, node, KEYS, traces)
    for number in range(5):
        WRITERS[kind](valkey.client, f"element {number}")
        assert bool(place.look(NOW).unseen) is (number >= 3)
    assert place.look(NOW).unseen == ["1 keys with more than 3 elements"]


def test_a_user_without_the_rights_cannot_look(valkey: Valkey, canaries: Canaries, traces: Traces) -> None:
    valkey.client.acl_setuser("narrow", enabled=True, passwords=["+secret"], keys=["*"], commands=["+info", "+dbsize"])
    path = valkey.url.removeprefix("unix://")
    [node] = redis_nodes(RedisTable(url=f"unix://narrow:secret@{path}"), None)
    for place in (KeySpace(canaries, node, KEYS, traces), CommandLogs(canaries, node), ClientList(canaries, node)):
        with pytest.raises(CouldNotLook, match=r"the user of redis\.url may not run"):
            place.look(NOW)


def test_what_a_user_may_not_ask_is_named(valkey: Valkey, canaries: Canaries, traces: Traces) -> None:
    commands = ["+info", "+dbsize", "+multi", "+exec", "+type", "+slowlog|get"]
    valkey.client.acl_setuser("narrow", enabled=True, passwords=["+secret"], keys=["*"], commands=commands)
    path = valkey.url.removeprefix("unix://")
    [node] = redis_nodes(RedisTable(url=f"unix://narrow:secret@{path}"), None)
    look = CommandLogs(canaries, node).look(NOW)
    assert look.note == "SLOWLOG"
    assert [told.partition(":")[0] for told in look.unseen] == [
        *("COMMANDLOG slow", "COMMANDLOG large-request", "COMMANDLOG large-reply", "ACL LOG")
    ]
    assert "may not run COMMANDLOG GET" in look.unseen[0]
    [unseen] = ExpiredKeys(node, KEYS, traces).look(NOW).unseen
    assert unseen.startswith("the setting import-mode: the user of redis.url may not run CONFIG GET")


def test_the_rights_that_the_documentation_names_are_enough(valkey: Valkey, canaries: Canaries, traces: Traces) -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "audit.md").read_text("utf-8")
    [named] = re.findall(r"`(\+multi [^`]+)`", page)
    commands = [*named.split(), *(f"+{right}" for right in RIGHTS)]
    valkey.client.acl_setuser("audit", enabled=True, passwords=["+secret"], keys=["evanesce:*"], commands=commands)
    path = valkey.url.removeprefix("unix://")
    [node] = redis_nodes(RedisTable(url=f"unix://audit:secret@{path}"), None)
    for write in WRITERS.values():
        valkey.client.delete("k")
        write(valkey.client, canaries.text(Kind.SENT))
        valkey.client.rename("k", f"evanesce:{canaries.text(Kind.SENT)}")
        assert KeySpace(canaries, node, KEYS, traces).look(NOW).findings
    places = (CommandLogs(canaries, node), ClientList(canaries, node), RedisFiles(canaries, node, 0.0))
    for place in (ExpiredKeys(node, KEYS, traces), *places):
        assert not place.look(NOW).unseen
    assert "ACL LOG" in CommandLogs(canaries, node).look(NOW).note


def test_keys_of_others_that_the_user_may_not_read_are_told(valkey: Valkey, canaries: Canaries, traces: Traces) -> None:
    valkey.client.acl_setuser("audit", enabled=True, passwords=["+secret"], keys=["evanesce:*"], commands=["+@all"])
    for key in ("evanesce:own", "other:1", "other:2"):
        valkey.client.set(key, canaries.text(Kind.SENT))
    path = valkey.url.removeprefix("unix://")
    [node] = redis_nodes(RedisTable(url=f"unix://audit:secret@{path}"), None)
    look = KeySpace(canaries, node, KEYS, traces).look(NOW)
    assert [finding.where for finding in look.findings] == ["evanesce:own"]
    assert look.unseen == ["2 keys that the user of redis.url may not read"]


# Logs of commands, clients, files


@pytest.mark.parametrize("setting", ["commandlog-execution-slower-than", "commandlog-request-larger-than"])
def test_a_log_of_commands_is_a_leak(valkey: Valkey, node: RedisNode, canaries: Canaries, setting: str) -> None:
    place = CommandLogs(canaries, node)
    valkey.client.config_set(setting, 0)
    assert place.look(NOW).findings == []
    valkey.client.set("k", canaries.text(Kind.SENT))
    assert "sent" in {finding.what for finding in place.look(NOW).findings}


def test_a_client_with_a_canary_for_a_name_is_a_leak(valkey: Valkey, node: RedisNode, canaries: Canaries) -> None:
    place = ClientList(canaries, node)
    assert place.look(NOW).findings == []
    valkey.client.client_setname(canaries.text(Kind.NAME))
    assert place.look(NOW).findings == [Finding("name", "CLIENT LIST", 1, Verdict.LEAK)]


def test_a_snapshot_is_found_and_the_setting_named(valkey: Valkey, node: RedisNode, canaries: Canaries) -> None:
    place = RedisFiles(canaries, node, 0.0)
    assert place.look(NOW).findings == []
    valkey.client.config_set("rdbcompression", "no")
    valkey.client.set("k", canaries.text(Kind.SENT))
    valkey.client.save()
    [finding] = place.look(NOW).findings
    assert (finding.what, Path(finding.where).name) == ("sent", "dump.rdb")
    valkey.client.config_set("save", "3600 1")
    assert [finding.what for finding in place.look(NOW).findings] == ["save", "sent"]


def test_an_append_only_file_is_found_and_the_setting_named(
    valkey: Valkey, node: RedisNode, canaries: Canaries
) -> None:
    valkey.client.config_set("appendonly", "yes")
    wait_until(lambda: valkey.client.info("persistence")["aof_rewrite_in_progress"] == 0)
    valkey.client.set("k", canaries.text(Kind.SENT), px=1)
    look = RedisFiles(canaries, node, 0.0).look(NOW)
    assert {finding.what for finding in look.findings} == {"appendonly", "sent"}


def test_the_log_of_redis_is_found_wherever_it_is(canaries: Canaries, tmp_path: Path) -> None:
    log = tmp_path / "redis.log"
    with Valkey(options={"logfile": str(log)}) as valkey:
        [node] = redis_nodes(RedisTable(url=valkey.url), None)
        place = RedisFiles(canaries, node, 0.0)
        assert place.look(NOW).findings == []
        with log.open("a") as file:  # as with crash-log-enabled, when a command crashes it
            file.write(canaries.text(Kind.SENT))
        assert [finding.where for finding in place.look(NOW).findings] == [str(log)]


def test_files_on_another_machine_cannot_be_looked_at_and_are_named(
    valkey: Valkey, node: RedisNode, canaries: Canaries
) -> None:
    away = RedisNode(node.label, node.address, None)
    with pytest.raises(CouldNotLook, match=r"dump\.rdb, appendonly\.aof.* in /.*: it runs on another machine"):
        RedisFiles(canaries, away, 0.0).look(NOW)
    valkey.client.config_set("save", "3600 1")
    look = RedisFiles(canaries, away, 0.0).look(NOW)
    assert [finding.what for finding in look.findings] == ["save"]
    assert "dump.rdb" in look.unseen[0]
