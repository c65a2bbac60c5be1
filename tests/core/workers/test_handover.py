"""Connections that are passed from one worker to another: each has one owner, and stays where the other fails."""

from __future__ import annotations

import os
import resource
import socket
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trio

from evanesce.process import lowest_free_descriptor
from evanesce.workers import handover
from evanesce.workers.handover import HandoverSockets, RoomHandover, open_handover_sockets
from tests.core.workers.handovers import handovers, room_of
from tests.e2e.clients import until
from tests.patience import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers pass connections on Linux alone")

ROOM = room_of(2, 2)


@pytest.fixture
def sockets() -> Iterator[HandoverSockets]:
    made = HandoverSockets(2)
    yield made
    made.close()


@pytest.fixture
def workers(sockets: HandoverSockets) -> Iterator[dict[int, RoomHandover]]:
    with handovers(sockets, 2) as made:
        yield made


class Taken:
    """Takes over connections, and keeps them until the end."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.ages: list[float] = []
        self.changed = trio.Event()

    def take(self, descriptor: int, age: float) -> None:
        self.sockets.append(socket.socket(fileno=descriptor))
        self.ages.append(age)
        self.changed.set()

    def close(self) -> None:
        for taken in self.sockets:
            taken.close()


@pytest.fixture
def taken() -> Iterator[Taken]:
    made = Taken()
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    client, server = socket.socketpair()
    with client, server:
        client.settimeout(10)
        yield client, server


def passed_on(stack: ExitStack, worker: RoomHandover, number: int) -> list[socket.socket]:
    """Pass connections on, and return the clients' ends."""
    clients: list[socket.socket] = []
    for _ in range(number):
        client, server = socket.socketpair()
        clients.append(stack.enter_context(client))
        client.settimeout(PATIENCE)
        with server:
            assert worker.pass_on("quart", ROOM, server.fileno(), 0.0)
    return clients


@contextmanager
def no_free_descriptor(but: int = 0) -> Generator[None]:
    """Lower this process's limit to the descriptors that it has, and so many more at most."""
    free = lowest_free_descriptor(0)
    assert free is not None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + but, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def descriptors() -> set[str]:
    """Return what this process has open, but for the descriptor that lists it."""
    return {os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.exists()}


def test_where_the_system_refuses_a_descriptor_none_stays_open() -> None:
    before = descriptors()
    for free in range(6):  # the memory, its mapping, and two pairs of sockets
        with no_free_descriptor(but=free):
            made = open_handover_sockets(2)
        assert made is None
        assert descriptors() == before


async def test_the_worker_of_the_room_gets_the_connection_with_what_was_sent_on_it(
    workers: dict[int, RoomHandover], taken: Taken, pair: tuple[socket.socket, socket.socket], nursery: trio.Nursery
) -> None:
    client, server = pair
    client.sendall(b"GET /")
    with workers[2].receiving("quart", taken.take):
        nursery.start_soon(workers[1].run)
        nursery.start_soon(workers[2].run)
        await trio.testing.wait_all_tasks_blocked()
        assert workers[1].pass_on("quart", ROOM, server.fileno(), 3.0)
        server.close()
        with trio.fail_after(10):
            await taken.changed.wait()
    [passed], [age] = taken.sockets, taken.ages
    assert passed.recv(100) == b"GET /"
    passed.sendall(b"hello")
    assert client.recv(100) == b"hello"
    assert age >= 3.0
    assert not passed.get_inheritable()
    assert workers[1].passed == 1
    assert not workers[2].pass_on("quart", ROOM, passed.fileno(), 0.0), "it is the worker of the room"


async def test_where_the_other_worker_takes_nothing_the_connection_stays(
    sockets: HandoverSockets,
    workers: dict[int, RoomHandover],
    pair: tuple[socket.socket, socket.socket],
    nursery: trio.Nursery,
) -> None:
    def passes() -> bool:
        return workers[1].pass_on("quart", ROOM, pair[1].fileno(), 0.0)

    assert not passes(), "no worker has started"
    nursery.start_soon(workers[1].run)
    async with trio.open_nursery() as other:
        other.start_soon(workers[2].run)
        await trio.testing.wait_all_tasks_blocked()
        assert passes()
        await trio.testing.wait_all_tasks_blocked()
        workers[2].leave()
        assert not passes(), "it is stopping"
        workers[2].count(1)
        assert not passes(), "it still is, while its connections begin and end"
        other.cancel_scope.cancel()
    async with trio.open_nursery() as killed:
        killed.start_soon(workers[2].run)
        await trio.testing.wait_all_tasks_blocked()
        sockets.clear(2)
        assert not passes(), "the supervisor has seen its end"
        killed.cancel_scope.cancel()


async def test_an_overloaded_worker_gets_no_more(
    workers: dict[int, RoomHandover], pair: tuple[socket.socket, socket.socket], nursery: trio.Nursery
) -> None:
    nursery.start_soon(workers[1].run)
    nursery.start_soon(workers[2].run)
    await trio.testing.wait_all_tasks_blocked()
    workers[2].count(1_000)
    assert not workers[1].pass_on("quart", ROOM, pair[1].fileno(), 0.0)
    workers[2].count(-990)
    assert workers[1].pass_on("quart", ROOM, pair[1].fileno(), 0.0)


async def test_a_worker_that_hangs_gets_a_limited_number_and_the_supervisor_closes_them_at_its_end(
    sockets: HandoverSockets, workers: dict[int, RoomHandover], nursery: trio.Nursery
) -> None:
    nursery.start_soon(workers[1].run)
    nursery.start_soon(workers[2].run)
    await trio.testing.wait_all_tasks_blocked()
    before = len(descriptors())
    with ExitStack() as stack:
        clients: list[socket.socket] = []
        while True:  # without a checkpoint, so that the other worker does not run
            client, server = socket.socketpair()
            clients.append(stack.enter_context(client))
            with server:
                if not workers[1].pass_on("quart", ROOM, server.fileno(), 0.0):
                    break
        assert 16 <= len(clients) <= 1_000
        sockets.clear(2)
        for client in clients:
            client.settimeout(10)
            assert client.recv(1) == b"", "its client notices at once"
    assert len(descriptors()) == before


async def test_connections_that_nobody_takes_are_closed(
    workers: dict[int, RoomHandover], pair: tuple[socket.socket, socket.socket], nursery: trio.Nursery
) -> None:
    client, server = pair
    nursery.start_soon(workers[1].run)
    nursery.start_soon(workers[2].run)
    await trio.testing.wait_all_tasks_blocked()
    assert workers[1].pass_on("a transport that has stopped", ROOM, server.fileno(), 0.0)
    server.close()
    with trio.fail_after(10):
        await trio.lowlevel.wait_readable(client)
    assert client.recv(1) == b""


async def test_a_worker_that_leaves_takes_what_was_passed_on_already(
    workers: dict[int, RoomHandover], taken: Taken, pair: tuple[socket.socket, socket.socket], nursery: trio.Nursery
) -> None:
    nursery.start_soon(workers[1].run)
    nursery.start_soon(workers[2].run)
    await trio.testing.wait_all_tasks_blocked()
    with workers[2].receiving("quart", taken.take):
        assert workers[1].pass_on("quart", ROOM, pair[1].fileno(), 0.0)
        workers[2].leave()
        assert len(taken.sockets) == 1


async def test_no_connection_is_lost_where_descriptors_run_out_while_it_is_passed(
    workers: dict[int, RoomHandover],
    taken: Taken,
    pair: tuple[socket.socket, socket.socket],
    nursery: trio.Nursery,
) -> None:
    nursery.start_soon(workers[1].run)
    nursery.start_soon(workers[2].run)
    await trio.testing.wait_all_tasks_blocked()
    with workers[2].receiving("quart", taken.take), ExitStack() as stack, trio.fail_after(PATIENCE):
        clients = passed_on(stack, workers[1], 3)
        with no_free_descriptor():
            await until(lambda: not workers[1].pass_on("quart", ROOM, pair[1].fileno(), 0.0))
            assert taken.sockets == []
        await until(lambda: len(taken.sockets) >= 3)
        for client, server in zip(clients, taken.sockets, strict=False):
            server.sendall(b"hello")
            assert client.recv(100) == b"hello"


async def test_a_worker_stops_in_the_midst_of_waiting_connections_where_only_reserved_descriptors_are_left(
    workers: dict[int, RoomHandover], taken: Taken, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    nursery.start_soon(workers[1].run)
    nursery.start_soon(workers[2].run)
    await trio.testing.wait_all_tasks_blocked()
    with workers[2].receiving("quart", taken.take), ExitStack() as stack, trio.fail_after(PATIENCE):
        passed_on(stack, workers[1], 8)
        free = lowest_free_descriptor(0)
        assert free is not None
        monkeypatch.setattr(workers[2], "_most_descriptors", free + 1)
        await taken.changed.wait()
        numbers = [one.fileno() for one in taken.sockets]
        assert numbers[0] == free
        assert len(numbers) == 2, "the first one is below the reserve, and the second one shows that it is reached"
        taken.close()
        await until(lambda: len(taken.sockets) > 2)


async def test_a_worker_that_leaves_closes_the_connections_for_which_it_has_no_descriptor(
    workers: dict[int, RoomHandover], taken: Taken, nursery: trio.Nursery
) -> None:
    nursery.start_soon(workers[2].run)
    await trio.testing.wait_all_tasks_blocked()
    with workers[2].receiving("quart", taken.take), ExitStack() as stack:
        clients = passed_on(stack, workers[1], 40)
        with no_free_descriptor():
            workers[2].leave()
        assert taken.sockets == []
        for client in clients:
            assert client.recv(1) == b"", "its client notices at once"


async def test_without_descriptors_for_clients_a_worker_takes_nothing_until_some_are_free(
    workers: dict[int, RoomHandover],
    taken: Taken,
    pair: tuple[socket.socket, socket.socket],
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = False
    full = trio.Event()

    def lowest_free(_any_open: int) -> int:
        if taken.sockets and not free:
            full.set()
            return 1
        return 0

    monkeypatch.setattr(handover, "lowest_free_descriptor", lowest_free)
    monkeypatch.setattr(workers[2], "_most_descriptors", 1)
    nursery.start_soon(workers[1].run)
    nursery.start_soon(workers[2].run)
    await trio.testing.wait_all_tasks_blocked()
    with workers[2].receiving("quart", taken.take), trio.fail_after(10):
        assert workers[1].pass_on("quart", ROOM, pair[1].fileno(), 0.0)
        await full.wait()
        assert len(taken.sockets) == 1
        assert not workers[1].pass_on("quart", ROOM, pair[1].fileno(), 0.0)
        free = True
        await until(lambda: workers[1].pass_on("quart", ROOM, pair[1].fileno(), 0.0))
