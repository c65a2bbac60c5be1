"""Examines the settings of Redis for what would keep content beyond its TTL, or lose it before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import trio

from evanesce.errors import StoreUnavailable
from evanesce.store.health import CheckResult, Severity
from evanesce.store.redis.cluster_client import ClusterClient
from evanesce.store.redis.connection import BROKEN, Address, refused
from evanesce.store.redis.faults import classify
from evanesce.store.redis.node_client import NodeClient
from evanesce.store.redis.topology import Node

PERSISTENCE, SETTINGS = "redis persistence", "redis settings"
"""The parts of the report that are examined here."""

ON_DISK = ("save", "appendonly", "repl-diskless-sync", "repl-diskless-load")
"""The settings by which Redis writes content to disk."""

_SETTINGS = (
    *ON_DISK,
    "maxmemory",
    "maxmemory-policy",
    "slowlog-log-slower-than",
    "commandlog-execution-slower-than",
    "commandlog-request-larger-than",
    "commandlog-reply-larger-than",
    "cluster-require-full-coverage",
)

_LOADS_FROM_SOCKET = ("swapdb", "flush-before-load", "flushdb")
"""The values of `repl-diskless-load` with which a replica never writes what its primary sends to a file.

Every version has the first one, Valkey 8.1 the second, and Redis 8.6 the third.
"""

_LOGS = {
    "slowlog-log-slower-than": "the log of slow commands keeps their arguments",
    "commandlog-execution-slower-than": "the log of slow commands keeps their arguments",
    "commandlog-request-larger-than": "the log of large commands keeps their arguments",
    "commandlog-reply-larger-than": "the log of large replies keeps the arguments of their commands",
}

REPLICA_SECONDS = 1.0
"""How long a replica may take to answer."""

_GRANT = "Grant its user +config|get and +info, or use a Redis whose settings can be read."


class Server:
    """The information of one Redis about itself. `settings` is None if this server may not read them."""

    def __init__(self, client: NodeClient, info: Mapping[str, str], settings: Mapping[str, str] | None) -> None:
        self._client = client
        self._info = info
        self._settings = settings

    @property
    def name(self) -> str:
        """Its product name and version."""
        kind = "Valkey" if "valkey_version" in self._info else "Redis"
        return f"{kind} {self._info.get('valkey_version') or self._info.get('redis_version', 'of an unknown version')}"

    @property
    def tells_settings(self) -> bool:
        """Whether this server may read its settings."""
        return self._settings is not None

    @property
    def is_replica(self) -> bool:
        """Whether it is a replica, and so accepts no writes."""
        return self._info.get("role", "master") != "master"

    async def persistence(self) -> list[CheckResult]:
        """Return what keeps content on disk, on this Redis and on those of its replicas that can be asked."""
        replicated = self.is_replica or self._info.get("connected_slaves", "0") != "0"
        found = [_problem(*problem) for problem in kept_on_disk(self._settings, self._info, replicated=replicated)]
        async with trio.open_nursery() as nursery:
            for key, value in self._info.items():
                if key.startswith("slave") and key[5:].isdecimal():
                    nursery.start_soon(_look_at_replica, self._client.address, _fields(value), found)
        return sorted(found, key=lambda one: one.text)

    def others(self, *, clustered: bool) -> list[CheckResult]:
        """Return what else a deployer should know."""
        told = self._settings or {}
        found: list[tuple[str, str]] = []
        policy = told.get("maxmemory-policy") or self._info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction" and (told.get("maxmemory") or self._info.get("maxmemory", "0")) != "0":
            found.append(
                (f"maxmemory-policy: with {policy} messages may be deleted before their TTL ends", "noeviction")
            )
        found += [(f"{name}: {why}", "-1") for name, why in _LOGS.items() if told.get(name, "-1") != "-1"]
        if clustered and told.get("cluster-require-full-coverage") == "yes":
            found.append(("cluster-require-full-coverage: while one primary is down no room can be used", "no"))
        return [CheckResult(SETTINGS, Severity.WARN, text, f"Set it to {value} in Redis.") for text, value in found]


async def ask(client: NodeClient) -> Server:
    """Ask one Redis for its settings. Raises `StoreUnavailable`, also if INFO is refused."""
    sections = ("server", "persistence", "replication", "memory")
    info = _info(*await client.run(*(("INFO", section) for section in sections)))
    try:
        answers = await client.run(*(("CONFIG", "GET", name) for name in _SETTINGS))
    except StoreUnavailable:
        if not client.up:
            raise
        return Server(client, info, None)
    return Server(client, info, _pairs(answers))


async def content_on_disk(client: NodeClient | ClusterClient) -> list[CheckResult]:
    """Return what keeps content on disk, or cannot be examined, on each primary and its replicas.

    Raises `StoreUnavailable` if one does not answer.
    """
    clients: Mapping[Node | None, NodeClient] = dict(
        [(None, client)] if isinstance(client, NodeClient) else client.clients.items()
    )
    found: dict[Node | None, list[CheckResult]] = {node: [] for node in clients}
    problems: list[StoreUnavailable] = []

    async def look(node: Node | None, client: NodeClient) -> None:
        try:
            found[node] = await (await ask(client)).persistence()
        except StoreUnavailable as error:
            if client.up:
                found[node] = [unseen(error, client)]
            else:
                problems.append(error)

    async with trio.open_nursery() as nursery:
        for node, client in clients.items():
            nursery.start_soon(look, node, client)
    if problems:
        raise problems[0]
    return [
        CheckResult(
            one.part, one.severity, one.text if node is None else f"{node.host}:{node.port} {one.text}", one.advice
        )
        for node, some in found.items()
        for one in some
    ]


def unseen(error: StoreUnavailable, client: NodeClient) -> CheckResult:
    """Return the finding that it is not known what is kept on disk, because a command was refused."""
    return _problem(f"it is not known what is kept on disk: {error.message}", _GRANT if client.up else error.advice)


def kept_on_disk(
    settings: Mapping[str, str] | None, info: Mapping[str, str], *, replicated: bool
) -> list[tuple[str, str]]:
    """Return what one Redis keeps on disk, which begins with the name of the setting, and what to do about it.

    `replicated` says whether it has a replica, or is one. After a failover the primary is a replica too, so that the
    same is required of both.
    """
    if settings is None:
        # Without the settings, its statistics tell a part.
        saves = info.get("rdb_saves", "0") != "0" or info.get("rdb_bgsave_in_progress", "0") != "0"
        appends = info.get("aof_enabled", "0") != "0"
    else:
        saves, appends = settings.get("save", "") != "", settings.get("appendonly", "no") != "no"
    found: list[tuple[str, str]] = []
    if saves:
        found.append(("save: snapshots keep content on disk beyond its TTL", 'Set save to "" in Redis.'))
    if appends:
        found.append(
            ("appendonly: the append-only file keeps content on disk beyond its TTL", "Set appendonly to no in Redis.")
        )
    if replicated and settings is not None:
        if settings.get("repl-diskless-sync", "no") == "no":
            found.append(
                (
                    "repl-diskless-sync: the copy of all content for a replica is written to a file, which stays",
                    "Set repl-diskless-sync to yes in Redis, and delete the file, dump.rdb.",
                )
            )
        if settings.get("repl-diskless-load", "disabled") not in _LOADS_FROM_SOCKET:
            found.append(
                (
                    "repl-diskless-load: a replica writes all content that it receives to a file, which stays",
                    "Set repl-diskless-load to swapdb in Redis, and delete the file, dump.rdb.",
                )
            )
    if settings is None:
        found.append(("CONFIG GET is refused: it is not known whether save and appendonly keep content", _GRANT))
    return found


async def _look_at_replica(primary: Address, fields: Mapping[str, str], found: list[CheckResult]) -> None:
    where = f"replica {fields.get('ip', '?')}:{fields.get('port', '?')}"
    try:
        address = primary.at(fields["ip"], int(fields["port"]))
        with trio.fail_after(REPLICA_SECONDS):
            problems = await trio.to_thread.run_sync(
                _ask_replica, address, abandon_on_cancel=True, thread_name="evanesce-check"
            )
    except (*BROKEN, TypeError, LookupError, ValueError, trio.TooSlowError) as error:
        why = classify(error).meaning if isinstance(error, BROKEN) else "It does not answer in time at its address."
        found.append(
            CheckResult(
                PERSISTENCE,
                Severity.WARN,
                f"{where}: it is not known whether it keeps content on disk. {why}",
                "Let this machine connect to it, or check there that save and appendonly are off, "
                "and that repl-diskless-load is swapdb.",
            )
        )
    else:
        found += [_problem(f"{where}: {text}", advice) for text, advice in problems]


def _ask_replica(address: Address) -> list[tuple[str, str]]:
    connection = address.connection()
    try:
        connection.connect()
        info, *settings = connection.exchange([("INFO", "persistence"), *(("CONFIG", "GET", one) for one in ON_DISK)])
    finally:
        connection.close()
    known = None if refused(settings) else _pairs(settings)
    return kept_on_disk(known, {} if refused([info]) else _info(info), replicated=True)


def _problem(text: str, advice: str) -> CheckResult:
    return CheckResult(PERSISTENCE, Severity.FAIL, text, advice)


def _pairs(answers: Sequence[Any]) -> dict[str, str]:
    return {_text(answer[0]): _text(answer[1]) for answer in answers if answer}


def _fields(line: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in line.split(",") if "=" in part)


def _info(*sections: Any) -> dict[str, str]:
    lines = [line for section in sections for line in _text(section).splitlines()]
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _text(raw: Any) -> str:
    return bytes(raw).decode("utf-8", "replace")
