"""The Redis servers of a deployment: primaries and replicas, with a way to ask each for something."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote

from redis.exceptions import NoPermissionError, RedisError

from evanesce.audit.places import CouldNotLook
from evanesce.audit.processes import Process, redis_at
from evanesce.config.model import RedisTable
from evanesce.store.redis.connection import BROKEN, Address, Connection, cluster_address, split_url
from evanesce.store.redis.faults import classify
from evanesce.store.redis.scripts import Command
from evanesce.store.redis.sentinel import SentinelAddress
from evanesce.store.redis.topology import Node, slot_of_key

T = TypeVar("T")

_CONTAINERS = ("ACL", "CLIENT", "CLUSTER", "COMMANDLOG", "CONFIG", "SLOWLOG")
"""The commands whose rights belong to their second word."""

MOST_REPLICAS = 100
"""How many replicas of a primary, and of its replicas, are looked at."""


@dataclass(frozen=True, slots=True)
class RedisNode:
    """One Redis. `process` is None if it does not run on this machine, or is not this user's.

    `primary` is that of a replica. `slots` are the ranges of a node of a cluster; None: it has all keys.
    """

    label: str
    address: Address
    process: Process | None
    primary: RedisNode | None = None
    slots: Sequence[tuple[int, int]] | None = None

    def has(self, key: str) -> bool:
        """Return whether `key` belongs to this Redis."""
        return self.slots is None or any(first <= slot_of_key(key) <= last for first, last in self.slots)

    def asked(self, question: Callable[[Asker], T]) -> T:
        """Connect, and return what `question` returns. Raises `CouldNotLook` where Redis does not answer."""
        connection: Connection | None = None
        try:
            connection = self.address.connection()
            connection.connect()
            return question(Asker(connection))
        except BROKEN as error:
            raise CouldNotLook(f"{self.label} does not answer. {classify(error).meaning}") from None
        finally:
            if connection is not None:
                connection.close()


class Asker:
    """A connection to one Redis, which turns refusals into `CouldNotLook`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ask(self, *command: str | int) -> Any:
        """Return the answer to a command. Raises `CouldNotLook` where it is refused, and the errors of `BROKEN`."""
        [answer] = self.all(command)
        return answer

    def all(self, *commands: Command) -> list[Any]:
        """Return the answers to commands that are sent together, as `ask` does."""
        answers = self._connection.exchange(commands)
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, NoPermissionError):
                raise _refused(command)
            if isinstance(answer, RedisError):
                raise CouldNotLook(f"Redis refuses a command: {classify(answer).meaning}")
        return answers

    def tried(self, *commands: Command) -> list[Any]:
        """Return the answers to commands, and None for a command that fails: its key may be another application's.

        Raises `CouldNotLook` where the command itself is refused.
        """
        answers = self._connection.exchange(commands)
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, NoPermissionError) and "access" not in str(answer):
                raise _refused(command)
        return [None if isinstance(answer, RedisError) else answer for answer in answers]

    def known(self, *command: str | int) -> Any | None:
        """Return the answer to a command; None if this Redis does not know it, as only newer versions have it.

        Raises `CouldNotLook` where the user may not run it.
        """
        [answer] = self._connection.exchange([command])
        if isinstance(answer, NoPermissionError):
            raise _refused(command)
        return None if isinstance(answer, RedisError) else answer

    def prepare(self, *command: str | int) -> None:
        """Send a command that makes the look better, if this Redis knows it and permits it."""
        self._connection.exchange([command])

    def info(self, *sections: str) -> dict[str, str]:
        """Return the fields of sections of `INFO`."""
        lines = [line for section in sections for line in text(self.ask("INFO", section)).splitlines()]
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def settings(self, *names: str) -> dict[str, str]:
        """Return settings; those that this Redis does not have are left out."""
        answers = self.all(*(("CONFIG", "GET", name) for name in names))
        return {text(answer[0]): text(answer[1]) for answer in answers if answer}


def _refused(command: Command) -> CouldNotLook:
    name = " ".join(str(word) for word in (command[:2] if command[0] in _CONTAINERS else command[:1]))
    return CouldNotLook(
        f"the user of redis.url may not run {name}. Give the audit a user that may, with --set redis.url"
    )


def text(raw: Any) -> str:
    """Return an answer as text."""
    return bytes(raw).decode("utf-8", "replace")


def flat(answer: Any) -> bytes:
    """Return all bytes of a nested answer, one after the other, with spaces between them."""
    if isinstance(answer, bytes):
        return answer
    if isinstance(answer, list):
        elements: list[Any] = answer  # pyright: ignore[reportUnknownVariableType]: of any type
        return b" ".join(map(flat, elements))
    return str(answer).encode()


def redis_nodes(redis: RedisTable, embedded: tuple[Process, str] | None) -> list[RedisNode]:
    """Return the Redis servers of a deployment. Blocks for some seconds if one does not answer.

    `embedded` is the embedded Valkey and its socket, where it was found. Raises `CouldNotLook` where there is none, or
    the configured Redis does not answer.
    """
    if redis.url == "embedded":
        if embedded is None:
            raise CouldNotLook(
                "the embedded Valkey of the server was not found. Run the audit on the machine and as the user of the"
                " server, while it runs"
            )
        process, path = embedded
        return [RedisNode("the embedded Valkey", Address(f"unix://{path}"), process)]
    if redis.cluster:
        return _cluster(*cluster_address(redis.url))
    address = SentinelAddress(redis.url) if "+sentinel:" in redis.url else Address(redis.url)
    parts = split_url(redis.url)
    endpoint = unquote(parts.path) if parts.scheme == "unix" else address.endpoint
    primary = RedisNode("Redis", address, None if endpoint is None else redis_at(endpoint))
    return [primary, *_replicas(primary).values()]


def lost_replicas(redis: RedisTable, known: Sequence[RedisNode]) -> list[RedisNode]:
    """Return the replicas of which the sentinels know, and which are not connected to a Redis of `known`.

    Blocks for some seconds if a sentinel does not answer. Raises `CouldNotLook` where none tells of them.
    """
    if "+sentinel:" not in redis.url:
        return []
    address = SentinelAddress(redis.url)
    watched = address.replicas()
    if watched is None:
        raise CouldNotLook("no sentinel tells which there are. Let the user of the sentinels run SENTINEL REPLICAS")
    connected = {node.address.endpoint for node in known}
    return [_node(address, node, known[0], None) for node in watched if node not in connected]


def _replicas(primary: RedisNode) -> dict[Node, RedisNode]:
    """Return the replicas that are connected to a primary, and those of the replicas, if they answer.

    Raises `CouldNotLook` where the primary does not answer.
    """
    found = dict(_connected(primary))
    waiting = list(found.values())
    while waiting and len(found) < MOST_REPLICAS:
        try:
            further = {node: replica for node, replica in _connected(waiting.pop()) if node not in found}
        except CouldNotLook:  # each of its places says so
            continue
        waiting += further.values()
        found |= further
    return found


def _connected(primary: RedisNode) -> Iterator[tuple[Node, RedisNode]]:
    info: Mapping[str, str] = primary.asked(lambda redis: redis.info("replication"))
    for key, value in info.items():
        if key.startswith("slave") and key[5:].isdecimal():
            fields = dict(part.split("=", 1) for part in value.split(",") if "=" in part)
            node = Node(fields.get("ip", ""), int(fields.get("port", 0)))
            yield node, _node(primary.address, node, primary, None)


def _cluster(address: Address, nodes: Sequence[Node]) -> list[RedisNode]:
    problem = CouldNotLook("no node of the cluster answers")
    for node in nodes:
        try:
            # CLUSTER SLOTS leaves out those that are down, and what they have on disk.
            shards = _node(address, node, None, ()).asked(lambda redis: redis.ask("CLUSTER", "SHARDS"))
            return [one for shard in shards for one in _shard(address, node, _fields(shard))]
        except CouldNotLook as error:
            problem = error
    raise problem


def _shard(address: Address, asked: Node, shard: Mapping[str, Any]) -> list[RedisNode]:
    """Return the nodes of a shard, primaries first. A node without a host is the one that was asked."""
    slots = list(zip(shard["slots"][::2], shard["slots"][1::2], strict=True))
    members = [_fields(node) for node in shard["nodes"]]
    # One that has failed is told as a primary until it comes back as a replica of another.
    members.sort(key=lambda one: (one["role"] != b"master", one["health"] != b"online"))
    found: list[RedisNode] = []
    for one in members:
        host = text(one.get("endpoint") or b"?")
        node = Node(asked.host if host in ("", "?") else host, _port(one, tls=address.tls))
        is_replica = bool(found) and one["role"] != b"master"
        found.append(_node(address, node, found[0] if is_replica else None, slots))
    return found


def _port(member: Mapping[str, Any], *, tls: bool) -> int:
    own, other = ("tls-port", "port") if tls else ("port", "tls-port")
    return int(member.get(own) or member[other])


def _fields(answer: Sequence[Any]) -> dict[str, Any]:
    """Return the fields of an answer that lists names and values in turn."""
    return {text(name): value for name, value in zip(answer[::2], answer[1::2], strict=True)}


def _node(
    address: Address, node: Node, primary: RedisNode | None, slots: Sequence[tuple[int, int]] | None
) -> RedisNode:
    label = f"{'Redis' if primary is None else 'replica'} {node.host}:{node.port}"
    return RedisNode(label, address.at(*node), redis_at((node.host, node.port)), primary, slots)
