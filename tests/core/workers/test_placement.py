"""Which worker a room belongs to: the same for everyone, stable when workers come and go, and never overloaded."""

from __future__ import annotations

import os
import sys
from collections import Counter
from uuid import UUID

import pytest

from evanesce.workers.placement import SLACK_CONNECTIONS, SLACK_SHARE, LoadBoard, choose_worker

ROOMS = [str(UUID(int=number, version=4)) for number in range(1_000)]


def test_rooms_are_distributed_evenly_over_the_workers() -> None:
    rooms = Counter(choose_worker(room, {1: 0, 2: 0, 3: 0, 4: 0}) for room in ROOMS)
    assert set(rooms) == {1, 2, 3, 4}
    assert min(rooms.values()) > 200


def test_where_no_worker_takes_over_connections_there_is_no_choice() -> None:
    assert choose_worker(ROOMS[0], {}) is None


def test_only_the_rooms_of_a_worker_that_ends_move() -> None:
    before = {room: choose_worker(room, {1: 0, 2: 0, 3: 0}) for room in ROOMS}
    for room, worker in before.items():
        after = choose_worker(room, {1: 0, 3: 0})
        assert after == worker or worker == 2
        assert after in (1, 3)


def test_connections_that_all_name_one_room_overload_no_worker() -> None:
    loads = {1: 0, 2: 0, 3: 0, 4: 0}
    used: list[int] = []
    for total in range(1, 4_001):
        chosen = choose_worker(ROOMS[0], loads)
        assert chosen is not None
        loads[chosen] += 1
        used += [] if chosen in used else [chosen]
        assert max(loads.values()) <= total / 4 * (1 + SLACK_SHARE) + SLACK_CONNECTIONS + 1
    assert used[0] == choose_worker(ROOMS[0], dict.fromkeys(loads, 0))
    assert loads[used[0]] == max(loads.values()), "the excess alone goes to the next one in the order of the room"


@pytest.mark.skipif(sys.platform != "linux", reason="workers pass connections on Linux alone")
def test_all_processes_see_the_numbers_of_those_that_take_over_connections() -> None:
    memory = os.memfd_create("test")
    os.ftruncate(memory, LoadBoard.size(3))
    one, other = LoadBoard(memory, 3), LoadBoard(memory, 3)
    os.close(memory)
    assert other.loads() == {}
    one.publish(1, 0)
    one.publish(3, 70_000)
    assert other.loads() == {1: 0, 3: 70_000}
    other.withdraw(1)
    assert one.loads() == {3: 70_000}
    one.close()
    other.close()
