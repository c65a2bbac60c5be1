"""What in Redis's settings would keep content past its TTL, or lose it before."""

from __future__ import annotations

from typing import Any

from evanesce.errors import StoreUnavailable
from evanesce.store.redis.cluster import Cluster
from evanesce.store.redis.link import Link

_SETTINGS = (
    "save",
    "appendonly",
    "maxmemory",
    "maxmemory-policy",
    "slowlog-log-slower-than",
    "commandlog-execution-slower-than",
    "commandlog-request-larger-than",
    "commandlog-reply-larger-than",
    "cluster-require-full-coverage",
)

_LOGS = {
    "slowlog-log-slower-than": "the log of slow commands keeps their arguments",
    "commandlog-execution-slower-than": "the log of slow commands keeps their arguments",
    "commandlog-request-larger-than": "the log of large commands keeps their arguments",
    "commandlog-reply-larger-than": "the log of large replies keeps the arguments of their commands",
}


async def inspect(way: Link | Cluster) -> list[str]:
    """Name the server first; then a line for each setting that needs a deployer's eye; of a cluster, for each primary.

    Raises `StoreUnavailable` where it, or any primary, does not answer.
    """
    if isinstance(way, Link):
        return await _inspect(way)
    if not way.links:
        raise StoreUnavailable()
    names: list[str] = []
    cautions: list[str] = []
    for node, link in way.links.items():
        name, *rest = await _inspect(link, clustered=True)
        names.append(f"{node.host}:{node.port} {name}")
        cautions += [f"{node.host}:{node.port} {caution}" for caution in rest]
    if way.uncovered:
        cautions.append(f"slots: {way.uncovered} of the cluster have no primary: their rooms cannot be used")
    return ["; ".join(sorted(names)), *cautions]


async def _inspect(link: Link, *, clustered: bool = False) -> list[str]:
    info = _info(
        *await link.run(("INFO", "server"), ("INFO", "persistence"), ("INFO", "replication"), ("INFO", "memory"))
    )
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version", "of an unknown version")
    settings = await _settings(link)
    return [
        f"{name} {version} answers",
        *_persistence(info, settings),
        *_replicas(info),
        *_memory(info, settings),
        *_logs(settings),
        *(_coverage(settings) if clustered else ()),
    ]


async def _settings(link: Link) -> dict[str, str] | None:
    """Read the settings; None where the server does not let this one read them."""
    try:
        answers = await link.run(*(("CONFIG", "GET", name) for name in _SETTINGS))
    except StoreUnavailable:
        if not link.up:
            raise
        return None
    return {_text(answer[0]): _text(answer[1]) for answer in answers if answer}


def _persistence(info: dict[str, str], settings: dict[str, str] | None) -> list[str]:
    if settings is None:
        # The settings may not be read: what it has done so far tells a part.
        saves = info.get("rdb_saves", "0") != "0" or info.get("rdb_bgsave_in_progress", "0") != "0"
        appends = info.get("aof_enabled", "0") != "0"
    else:
        saves, appends = settings.get("save", "") != "", settings.get("appendonly", "no") != "no"
    lines: list[str] = []
    if saves:
        lines.append('save: snapshots keep content on disk past its TTL; set it to ""')
    if appends:
        lines.append("appendonly: the append-only file keeps content on disk past its TTL; set it to no")
    if settings is None:
        lines.append("CONFIG GET is refused: `save` and the logs of slow commands could not be looked at")
    return lines


def _replicas(info: dict[str, str]) -> list[str]:
    if info.get("role", "master") != "master":
        return ["role: this is a replica, which takes no messages; give the address of its master"]
    count = info.get("connected_slaves", "0")
    return [f"replicas: {count} of them hold copies of content until the master expires it"] if count != "0" else []


def _memory(info: dict[str, str], settings: dict[str, str] | None) -> list[str]:
    told = settings or {}
    policy = told.get("maxmemory-policy") or info.get("maxmemory_policy", "noeviction")
    most = told.get("maxmemory") or info.get("maxmemory", "0")
    if policy == "noeviction" or most == "0":
        return []
    return [f"maxmemory-policy: with {policy} messages may vanish before their TTL; set it to noeviction"]


def _logs(settings: dict[str, str] | None) -> list[str]:
    return [
        f"{name}: {why}; set it to -1" for name, why in _LOGS.items() if settings and settings.get(name, "-1") != "-1"
    ]


def _coverage(settings: dict[str, str] | None) -> list[str]:
    if settings is None or settings.get("cluster-require-full-coverage") != "yes":
        return []
    return ["cluster-require-full-coverage: while one primary is away all rooms stand still; set it to no"]


def _info(*sections: Any) -> dict[str, str]:
    lines = [line for section in sections for line in _text(section).splitlines()]
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _text(raw: Any) -> str:
    return bytes(raw).decode("utf-8", "replace")
