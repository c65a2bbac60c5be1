"""Which worker serves a room: the number of connections of each worker, and the choice between the workers."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Mapping

SLACK_SHARE = 0.125
"""How much more than the mean of all workers a worker may have and still take over connections, as a share."""

SLACK_CONNECTIONS = 16
"""How many connections it may have in addition: with few connections, shares mean nothing."""

_SLOT_BYTES = 8


class LoadBoard:
    """Shared memory in which each worker writes how many connections it has. Workers have numbers from 1.

    Only the worker itself writes its number, and the supervisor when the worker has ended. A worker that takes over no
    connections, or does not run, has no number. The processes do not wait for each other: a number that is read while
    it changes may be old, and only decides where one connection goes.
    """

    def __init__(self, descriptor: int, workers: int) -> None:
        self._memory = mmap.mmap(descriptor, workers * _SLOT_BYTES)
        self._slots = memoryview(self._memory).cast("q")  # one more than the number; 0: none

    @staticmethod
    def size(workers: int) -> int:
        """Return the size of the memory in bytes."""
        return workers * _SLOT_BYTES

    def publish(self, worker: int, connections: int) -> None:
        """Write how many connections a worker has."""
        self._slots[worker - 1] = connections + 1

    def withdraw(self, worker: int) -> None:
        """Remove the number of a worker: it takes over no connections."""
        self._slots[worker - 1] = 0

    def loads(self) -> dict[int, int]:
        """Return the number of connections of each worker that takes over connections."""
        return {worker: slot - 1 for worker, slot in enumerate(self._slots.tolist(), 1) if slot}

    def close(self) -> None:
        """Release the memory in this process."""
        self._slots.release()
        self._memory.close()


def choose_worker(room_id: str, loads: Mapping[int, int]) -> int | None:
    """Return the worker that a room belongs to, None where there is none. `loads` are the connections of each worker.

    Each room has an order of the workers (rendezvous hashing), so few rooms move when a worker comes or goes. The first
    in the order that is not overloaded is chosen. So the excess of one room, however many connections name it, is
    together as well, and no worker gets many more connections than the mean.
    """
    if not loads:
        return None
    most = sum(loads.values()) / len(loads) * (1 + SLACK_SHARE) + SLACK_CONNECTIONS
    return max((worker for worker, load in loads.items() if load < most), key=lambda worker: _weight(room_id, worker))


def _weight(room_id: str, worker: int) -> bytes:
    return hashlib.blake2b(f"{room_id} {worker}".encode(), digest_size=8).digest()
