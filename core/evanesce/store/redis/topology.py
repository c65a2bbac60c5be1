"""Which node of a Redis Cluster has which slots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.crc import key_slot

from evanesce.store.redis.scripts import Command

SLOTS = 16_384

_KEYLESS = ("CLUSTER", "CONFIG", "INFO", "PING")
_FIRST_KEY = 3  # EVALSHA digest count key …


class Node(NamedTuple):
    """Where a node listens."""

    host: str
    port: int


def slot_of(command: Command) -> int | None:
    """Give the slot of a command's keys, which all have the same one; None for a command without keys."""
    if command[0] in _KEYLESS:
        return None
    key = command[_FIRST_KEY if command[0] == "EVALSHA" else 1]
    return slot_of_key(str(key))


def slot_of_key(key: str) -> int:
    """Give the slot of a key, or of a sharded channel."""
    return key_slot(key.encode())


class Topology:
    """The primary of each slot, as one node told it."""

    def __init__(self, told: Sequence[Any], by: Node) -> None:
        """Take what `CLUSTER SLOTS` answered; an address without a host is on that of the node that was asked."""
        self._primaries: list[Node | None] = [None] * SLOTS
        for first, last, primary, *_ in told:
            host = bytes(primary[0] or b"").decode() or by.host
            node = Node(host, int(primary[1]))
            self._primaries[first : last + 1] = [node] * (last + 1 - first)

    @property
    def nodes(self) -> set[Node]:
        """All primaries that have slots."""
        return {node for node in self._primaries if node is not None}

    @property
    def uncovered(self) -> int:
        """How many slots no node has."""
        return self._primaries.count(None)

    def node(self, slot: int) -> Node | None:
        """Give who has a slot."""
        return self._primaries[slot]
