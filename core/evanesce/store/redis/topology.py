"""The topology of a Redis Cluster: which node has which slots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.crc import key_slot

from evanesce.store.redis.scripts import Command

SLOTS = 16_384

_KEYLESS = ("CLUSTER", "CONFIG", "INFO", "PING")
_FIRST_KEY = 3  # EVALSHA digest count key …


class Node(NamedTuple):
    """The address of a node."""

    host: str
    port: int


def slot_of(command: Command) -> int | None:
    """Return the slot of a command's keys, which all have the same one; None for a command without keys."""
    if command[0] in _KEYLESS:
        return None
    key = command[_FIRST_KEY if command[0] == "EVALSHA" else 1]
    return slot_of_key(str(key))


def slot_of_key(key: str) -> int:
    """Return the slot of a key, or of a sharded channel."""
    return key_slot(key.encode())


class Topology:
    """The primary of each slot, as returned by one node."""

    def __init__(self, told: Sequence[Any], by: Node) -> None:
        """Parse the answer of `CLUSTER SLOTS`. An address without a host has that of the node that was asked."""
        self._primaries: list[Node | None] = [None] * SLOTS
        for first, last, primary, *_ in told:
            host = bytes(primary[0] or b"").decode() or by.host
            node = Node(host, int(primary[1]))
            self._primaries[first : last + 1] = [node] * (last + 1 - first)

    def is_like(self, other: Topology) -> bool:
        """Return whether each slot has the same primary."""
        return self._primaries == other._primaries

    @property
    def nodes(self) -> set[Node]:
        """All primaries that have slots."""
        return {node for node in self._primaries if node is not None}

    @property
    def uncovered(self) -> int:
        """The number of slots without a node."""
        return self._primaries.count(None)

    def node(self, slot: int) -> Node | None:
        """Return the primary of a slot."""
        return self._primaries[slot]
