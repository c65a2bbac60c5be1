"""The rights that the server's user needs in Redis, and a way to try each without changing any data.

For each right there is a command that shows whether it is granted, as Redis checks rights first. The commands use keys
of a room for probes; most of them fail for another reason, or find nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from redis.exceptions import MovedError, NoPermissionError, ReadOnlyError, ResponseError

from evanesce.store.redis.connection import Connection
from evanesce.store.redis.faults import UNKNOWN, classify
from evanesce.store.redis.keys import Keys
from evanesce.store.redis.scripts import SOURCES, Command

_LIFE = 10_000
"""How long a key is kept if it could not be erased, in milliseconds."""


class Targets(NamedTuple):
    """The key and the channels of a room for probes, on which the commands are tried."""

    key: str
    channel: str
    wake: str


RIGHTS: dict[str, Callable[[Targets], Command]] = {
    "evalsha": lambda on: ("EVALSHA", "0" * 40, 1, on.key),
    "script|load": lambda _: ("SCRIPT", "LOAD", next(iter(SOURCES.values()))),
    # First a string with a TTL: commands that would create a key of another type fail on it.
    "set": lambda on: ("SET", on.key, "", "PX", _LIFE),
    "get": lambda on: ("GET", on.key),
    "mget": lambda on: ("MGET", on.key),
    "exists": lambda on: ("EXISTS", on.key),
    "pttl": lambda on: ("PTTL", on.key),
    "pexpire": lambda on: ("PEXPIRE", on.key, _LIFE),
    "time": lambda _: ("TIME",),
    "xadd": lambda on: ("XADD", on.key, "NOMKSTREAM", "*", "f", ""),
    "xrange": lambda on: ("XRANGE", on.key, "-", "+", "COUNT", 1),
    "xrevrange": lambda on: ("XREVRANGE", on.key, "+", "-", "COUNT", 1),
    "xtrim": lambda on: ("XTRIM", on.key, "MINID", "0"),
    "xdel": lambda on: ("XDEL", on.key, "0-1"),
    "hget": lambda on: ("HGET", on.key, "f"),
    "hset": lambda on: ("HSET", on.key, "f", "", "no value"),
    "hmget": lambda on: ("HMGET", on.key, "f"),
    "hdel": lambda on: ("HDEL", on.key, "f"),
    "hlen": lambda on: ("HLEN", on.key),
    "hexists": lambda on: ("HEXISTS", on.key, "f"),
    "hkeys": lambda on: ("HKEYS", on.key),
    "hgetall": lambda on: ("HGETALL", on.key),
    "sadd": lambda on: ("SADD", on.key, "m"),
    "srem": lambda on: ("SREM", on.key, "m"),
    "smembers": lambda on: ("SMEMBERS", on.key),
    "zadd": lambda on: ("ZADD", on.key, "XX", 1, "m"),
    "zincrby": lambda on: ("ZINCRBY", on.key, "no number", "m"),
    "zscore": lambda on: ("ZSCORE", on.key, "m"),
    "zrange": lambda on: ("ZRANGE", on.key, 0, 0),
    "zrangebyscore": lambda on: ("ZRANGEBYSCORE", on.key, 0, 0),
    "zcard": lambda on: ("ZCARD", on.key),
    "zrem": lambda on: ("ZREM", on.key, "m"),
    "zremrangebyscore": lambda on: ("ZREMRANGEBYSCORE", on.key, 0, 0),
    "getdel": lambda on: ("GETDEL", on.key),
    "del": lambda on: ("DEL", on.key),
    "unlink": lambda on: ("UNLINK", on.key),
    "spublish": lambda on: ("SPUBLISH", on.channel, ""),
    "publish": lambda on: ("PUBLISH", on.wake, ""),
    "ping": lambda _: ("PING",),
    "info": lambda _: ("INFO", "server"),
    "config|get": lambda _: ("CONFIG", "GET", "save"),
    # After these, the connection accepts no other command.
    "ssubscribe": lambda on: ("SSUBSCRIBE", on.channel),
    "sunsubscribe": lambda on: ("SUNSUBSCRIBE", on.channel),
    "subscribe": lambda on: ("SUBSCRIBE", on.wake),
}
"""The command that tries each right, in the necessary order."""

CLUSTER_RIGHTS: dict[str, Callable[[Targets], Command]] = {
    "cluster|slots": lambda _: ("CLUSTER", "SLOTS"),
    "asking": lambda _: ("ASKING",),
}
"""The rights that a cluster needs in addition."""


class Missing(NamedTuple):
    """The rights that a user lacks: for commands, and for keys and channels, as patterns."""

    commands: Sequence[str]
    keys: Sequence[str]
    channels: Sequence[str]


def missing(connection: Connection, keys: Keys, room_id: str, *, clustered: bool) -> Missing:
    """Try every right on one Redis, and return those that are missing.

    `room_id` is a room for probes; in a cluster it is on this node. Blocks. Raises the errors of `Connection.exchange`,
    and errors of Redis that are not about rights. Discard the connection afterwards.
    """
    on = Targets(keys.state(room_id), keys.events(room_id), keys.wake(room_id))
    rights = {**(CLUSTER_RIGHTS if clustered else {}), **RIGHTS}
    names = keys.samples(room_id)
    channels = keys.channels(room_id)
    answers = connection.exchange(
        [
            *(command for name in names for command in (("HMGET", name, "f"), ("HDEL", name, "f"))),
            *(make(on) for make in rights.values()),
            *(("SSUBSCRIBE", channel) for channel in channels),
        ]
    )
    for answer in answers:
        if _is_of_the_server(answer, clustered=clustered):
            raise answer
    refusals = [_refusal(answer) for answer in answers]
    split, end = 2 * len(names), 2 * len(names) + len(rights)
    commands = list(zip(rights, refusals[split:end], strict=True))
    refused_keys = [names[place // 2] for place, refusal in enumerate(refusals[:split]) if refusal == "key"]
    if any(
        refusal == "key" for _, refusal in commands
    ):  # also if the two commands that are tried on each key are not allowed
        refused_keys.append(on.key)
    heard = zip(channels, refusals[end:], strict=True)
    return Missing(
        commands=[right for right, refusal in commands if refusal == "run"],
        keys=_patterns(refused_keys, room_id),
        channels=_patterns([channel for channel, refusal in heard if refusal == "channel"], room_id),
    )


def _is_of_the_server(answer: object, *, clustered: bool) -> bool:
    """Return whether an answer says that this Redis cannot be used, whatever the rights of the user."""
    if isinstance(answer, MovedError):  # the key is on another node of the same cluster
        return not clustered
    if isinstance(answer, NoPermissionError) or not isinstance(answer, Exception):
        return False
    return not isinstance(answer, ResponseError) or isinstance(answer, ReadOnlyError) or classify(answer) is not UNKNOWN


def _refusal(answer: object) -> Literal["run", "channel", "key"] | None:
    """Return what a user may not use. Only the text of the error tells it; names of users have no spaces."""
    if not isinstance(answer, NoPermissionError):
        return None
    text = str(answer)
    if " run the " in text:
        return "run"
    return "channel" if "channel" in text.rpartition(" access ")[2] else "key"


def _patterns(names: Sequence[str], room_id: str) -> list[str]:
    """Write names with a star for what varies, each once, in their order."""
    return list(dict.fromkeys(name.replace(room_id, "*") for name in names))
