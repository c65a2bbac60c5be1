"""The handovers of several workers in one process, connected as those of a server's processes are."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from evanesce.workers.handover import HandoverSockets, RoomHandover
from evanesce.workers.placement import LoadBoard, choose_worker


@contextmanager
def handovers(sockets: HandoverSockets, workers: int) -> Iterator[dict[int, RoomHandover]]:
    """Yield the handover of each worker, which shares its descriptors with `sockets`."""
    with ExitStack() as stack:
        made: dict[int, RoomHandover] = {}
        for worker in range(1, workers + 1):
            descriptors = sockets.descriptors(worker)
            board = LoadBoard(descriptors.board, workers)
            stack.callback(board.close)
            inbox = stack.enter_context(socket.socket(fileno=os.dup(descriptors.inbox)))
            ends = {
                number: stack.enter_context(socket.socket(fileno=os.dup(end)))
                for number, end in descriptors.ends.items()
            }
            made[worker] = RoomHandover(worker, board, inbox, ends)
        yield made


def room_of(worker: int, workers: int) -> str:
    """Return the id of a room that belongs to a worker, where all are equally loaded."""
    loads = dict.fromkeys(range(1, workers + 1), 0)
    rooms = (f"00000000-0000-4000-8000-{number:012x}" for number in range(1_000))
    return next(room for room in rooms if choose_worker(room, loads) == worker)
