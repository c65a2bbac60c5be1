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
        """Return the answer to a command; None if this Redis refuses it, for example because it does not know it."""
        [answer] = self._connection.exchange([command])
        return None if isinstance(answer, RedisError) else answer

    def info(self, *sections: str) -> dict[str, str]:
        """Return the fields of sections of `INFO`."""
        lines = [line for section in sections for line in text(self.ask("INFO", section)).splitlines()]
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def settings(self, *names: str) -> dict[str, str]:
        """Return settings; those that this Redis does not have are left out."""
        answers = self.all(*(("CONFIG", "GET", name) for name in names))
        return {text(answer[0]): text(answer[1]) for answer in answers if answer}


def _refused(command: Command) -> CouldNotLook:
    name = str(command[0])
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
    return [primary, *_replicas(primary)]


def _replicas(primary: RedisNode) -> Iterator[RedisNode]:
    info: Mapping[str, str] = primary.asked(lambda redis: redis.info("replication"))
    for key, value in info.items():
        if key.startswith("slave") and key[5:].isdecimal():
            fields = dict(part.split("=", 1) for part in value.split(",") if "=" in part)
            yield _node(primary.address, Node(fields.get("ip", ""), int(fields.get("port", 0))), primary, None)


def _cluster(address: Address, nodes: Sequence[Node]) -> list[RedisNode]:
    problem = CouldNotLook("no node of the cluster answers")
    for node in nodes:
        try:
            return _shards(
                address, node, _node(address, node, None, ()).asked(lambda redis: redis.ask("CLUSTER", "SLOTS"))
            )
        except CouldNotLook as error:
            problem = error
    raise problem


def _shards(address: Address, asked: Node, told: Sequence[Any]) -> list[RedisNode]:
    """Return the nodes in the answer of `CLUSTER SLOTS`. A node without a host is the one that was asked."""
    slots: dict[Node, list[tuple[int, int]]] = {}
    primaries: dict[Node, Node] = {}
    for first, last, primary, *replicas in told:
        node = Node(text(primary[0] or b"") or asked.host, int(primary[1]))
        slots.setdefault(node, []).append((first, last))
        primaries |= {Node(text(one[0] or b"") or asked.host, int(one[1])): node for one in replicas}
    found = {node: _node(address, node, None, ranges) for node, ranges in slots.items()}
    replicas = [_node(address, node, found[of], found[of].slots) for node, of in primaries.items()]
    return [*found.values(), *replicas]


def _node(
    address: Address, node: Node, primary: RedisNode | None, slots: Sequence[tuple[int, int]] | None
) -> RedisNode:
    label = f"{'Redis' if primary is None else 'replica'} {node.host}:{node.port}"
    return RedisNode(label, address.at(*node), redis_at((node.host, node.port)), primary, slots)
