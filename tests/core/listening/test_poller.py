"""The poller: it tells of each socket with new data, once for what arrived together, and of no other."""

from __future__ import annotations

import socket
import sys
import weakref
from collections.abc import AsyncIterator, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from evanesce.listening.poller import AT_ONCE, Poller, open_poller
from tests.patience import within

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has epoll")


@pytest.fixture
async def poller(nursery: trio.Nursery) -> AsyncIterator[Poller]:
    """Return a poller that runs."""
    with open_poller() as poller:
        assert poller is not None
        async with trio.open_nursery() as running:
            running.start_soon(poller.run)
            yield poller
            running.cancel_scope.cancel()


class Calls:
    """What the poller told of some sockets, and an event for each number of calls that a test waits for."""

    def __init__(self) -> None:
        self.made: list[tuple[str, bool]] = []
        self._news = trio.Event()

    def of(self, name: str) -> Callable[[bool], None]:
        def arrived(hung_up: bool) -> None:
            self.made.append((name, hung_up))
            self._news.set()

        return arrived

    async def reach(self, count: int) -> None:
        with within(10):
            while len(self.made) < count:
                self._news = trio.Event()
                await self._news.wait()


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets, the first of which is watched."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return ours, theirs


async def test_it_tells_once_of_what_arrived_and_again_of_what_is_new(poller: Poller) -> None:
    calls = Calls()
    ours, theirs = pair()
    with ours, theirs:
        theirs.send(b"before")  # data that was there before counts as new
        poller.watch(ours.fileno(), calls.of("ours"))
        await calls.reach(1)
        await wait_all_tasks_blocked()
        assert calls.made == [("ours", False)]  # and not again, though nobody has read it
        theirs.send(b"later")
        await calls.reach(2)
        assert ours.recv(100) == b"beforelater"
        theirs.close()
        await calls.reach(3)
        assert calls.made == [("ours", False), ("ours", False), ("ours", True)]


async def test_data_and_the_end_together_count_as_the_end(poller: Poller) -> None:
    """The reader has to read until nothing comes, as it is not told again."""
    calls = Calls()
    ours, theirs = pair()
    with ours:
        theirs.send(b"last")
        theirs.close()
        poller.watch(ours.fileno(), calls.of("ours"))
        await calls.reach(1)
        assert calls.made == [("ours", True)]


async def test_no_socket_is_left_out_where_many_have_data(poller: Poller) -> None:
    calls = Calls()
    pairs = [pair() for _ in range(3 * AT_ONCE + 1)]
    for number, (ours, theirs) in enumerate(pairs):
        poller.watch(ours.fileno(), calls.of(str(number)))
        theirs.send(b"x")
    await calls.reach(len(pairs))
    assert sorted(calls.made) == sorted((str(number), False) for number in range(len(pairs)))
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


async def test_it_tells_nothing_of_a_socket_that_it_was_told_to_forget(poller: Poller) -> None:
    """Also where both have data, and the call for one of them forgets the other."""
    calls = Calls()
    (ada, to_ada), (bob, to_bob) = pair(), pair()

    def forget_the_other(name: str, other: socket.socket) -> Callable[[bool], None]:
        def arrived(hung_up: bool) -> None:
            calls.of(name)(hung_up)
            poller.forget(other.fileno(), watched[other])

        return arrived

    watched = {ada: forget_the_other("ada", bob), bob: forget_the_other("bob", ada)}
    with ada, to_ada, bob, to_bob:
        to_ada.send(b"x")
        to_bob.send(b"x")
        for each, arrived in watched.items():
            poller.watch(each.fileno(), arrived)
        await calls.reach(1)
        await wait_all_tasks_blocked()
        assert len(calls.made) == 1


async def test_a_number_that_the_kernel_gave_to_another_socket_is_not_forgotten(poller: Poller) -> None:
    """A connection that was aborted is forgotten twice: when it is, and at its end."""
    calls = Calls()
    first, to_first = pair()
    number, of_first = first.fileno(), calls.of("first")
    poller.watch(number, of_first)
    poller.forget(number, of_first)
    first.close()
    second, to_second = pair()
    assert second.fileno() == number
    with to_first, second, to_second:
        poller.watch(number, calls.of("second"))
        poller.forget(number, of_first)
        to_second.send(b"x")
        await calls.reach(1)
        assert calls.made == [("second", False)]


async def test_it_keeps_nothing_of_a_socket_that_it_forgot(poller: Poller) -> None:
    """What it would call refers to the connection, with the client's address."""
    calls = Calls()
    ours, theirs = pair()
    arrived = calls.of("ours")
    kept = weakref.ref(arrived)
    with ours, theirs:
        poller.watch(ours.fileno(), arrived)
        theirs.send(b"x")
        await calls.reach(1)
        await wait_all_tasks_blocked()
        poller.forget(ours.fileno(), arrived)
    del arrived
    assert kept() is None


async def test_a_socket_that_was_closed_before_can_be_forgotten(poller: Poller) -> None:
    """The kernel has forgotten it; an error here would end the listener with all its clients."""
    calls = Calls()
    ours, theirs = pair()
    number, arrived = ours.fileno(), calls.of("ours")
    poller.watch(number, arrived)
    ours.close()
    poller.forget(number, arrived)
    second, to_second = pair()
    with theirs, second, to_second:
        assert second.fileno() == number
        poller.watch(number, calls.of("second"))
        to_second.send(b"x")
        await calls.reach(1)
        assert calls.made == [("second", False)]
