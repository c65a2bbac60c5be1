"""The stream of a client: waiting for data with and without a poller, and two tasks that use it while it ends."""

from __future__ import annotations

import errno
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from evanesce.listening import ClientStream
from evanesce.listening.poller import Poller, open_poller
from evanesce.logs import bind_connection
from evanesce.logs.context import bound
from tests.patience import within

POLLED = pytest.param(True, marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux has epoll"))


@asynccontextmanager
async def connected(polled: bool) -> AsyncGenerator[tuple[ClientStream, trio.socket.SocketType]]:
    """Yield the stream of a client, `polled` or not, and the client's socket."""
    ours, clients = trio.socket.socketpair()
    with ours, clients, open_poller() if polled else nullcontext() as poller, within(10):
        async with trio.open_nursery() as nursery:
            if poller is not None:
                nursery.start_soon(poller.run)
            yield (
                ClientStream(trio.SocketStream(ours), ours, "127.0.0.1", trio.current_time(), poller=poller),
                clients,
            )
            nursery.cancel_scope.cancel()


class Taker:
    """Takes data until it has `enough` bytes, or the client has left."""

    def __init__(self, enough: int) -> None:
        self.taken: list[bytes] = []
        self.enough = enough
        self.fault: Exception | None = None
        self._news = trio.Event()

    @property
    def data(self) -> bytes:
        return b"".join(self.taken)

    def __call__(self, data: bytes) -> bool:
        self.taken.append(data)
        self._news.set()
        if self.fault is not None:
            raise self.fault
        return not data or len(self.data) >= self.enough

    async def reach(self, size: int) -> None:
        while len(self.data) < size:
            self._news = trio.Event()
            await self._news.wait()


async def wait_for(stream: ClientStream, taker: Taker) -> None:
    """Wait until the taker has enough, also where the stream returns earlier."""
    while not taker.taken or (taker.taken[-1] and len(taker.data) < taker.enough):
        await stream.wait(100, taker)


@pytest.mark.parametrize("polled", [POLLED, False])
class TestWaiting:
    """What `wait` promises."""

    async def test_it_passes_data_on_as_it_arrives_until_that_is_enough(self, polled: bool) -> None:
        async with connected(polled) as (stream, client), trio.open_nursery() as nursery:
            taker = Taker(6)
            nursery.start_soon(wait_for, stream, taker)
            await wait_all_tasks_blocked()
            assert taker.taken == []
            await client.send(b"ab")
            await taker.reach(2)
            await client.send(b"cd")
            await taker.reach(4)
            assert taker.taken == [b"ab", b"cd"]
            await client.send(b"ef")
        assert taker.data == b"abcdef"

    async def test_what_arrives_while_nobody_waits_is_passed_on_later(self, polled: bool) -> None:
        async with connected(polled) as (stream, client):
            for part in (b"before the first wait", b"between two waits"):
                await client.send(part)
                await wait_all_tasks_blocked(0.01)
                taker = Taker(len(part))
                await wait_for(stream, taker)
                assert taker.data == part

    async def test_more_than_is_read_at_once_arrives_whole(self, polled: bool) -> None:
        async with connected(polled) as (stream, client), trio.open_nursery() as nursery:
            taker = Taker(1_050)
            nursery.start_soon(wait_for, stream, taker)
            await wait_all_tasks_blocked()
            await client.send(b"x" * 1_050)
        assert max(map(len, taker.taken)) == 100
        assert taker.data == b"x" * 1_050

    @pytest.mark.parametrize("last", [b"", b"last", b"y" * 100, b"z" * 250])
    async def test_the_end_is_passed_on_as_no_data_after_the_last(self, polled: bool, last: bytes) -> None:
        async with connected(polled) as (stream, client), trio.open_nursery() as nursery:
            taker = Taker(1_000)
            nursery.start_soon(wait_for, stream, taker)
            await wait_all_tasks_blocked()
            if last:
                await client.send(last)
            client.close()
        assert taker.data == last
        assert taker.taken[-1] == b""

    async def test_what_the_taker_raises_is_raised_to_the_task_that_waits(self, polled: bool) -> None:
        async with connected(polled) as (stream, client):
            taker = Taker(10)
            taker.fault = KeyError("a defect")
            await client.send(b"x")
            with pytest.raises(KeyError, match="a defect"):
                await stream.wait(100, taker)
            taker.fault = None  # and the next wait works
            await client.send(b"y" * 9)
            await wait_for(stream, taker)
            assert taker.data == b"x" + b"y" * 9

    async def test_a_cancellation_loses_nothing(self, polled: bool) -> None:
        async with connected(polled) as (stream, client):
            taker = Taker(3)
            with trio.move_on_after(0.01) as waiting:
                await stream.wait(100, taker)
            assert waiting.cancelled_caught
            await client.send(b"abc")
            await wait_for(stream, taker)
            assert taker.data == b"abc"

    async def test_a_task_that_waits_learns_that_the_connection_was_aborted(self, polled: bool) -> None:
        async with connected(polled) as (stream, client), trio.open_nursery() as nursery:
            taker = Taker(10)
            nursery.start_soon(wait_for, stream, taker)
            await wait_all_tasks_blocked()
            stream.before_close()
            stream.socket.close()
            del client
        assert taker.data == b""
        assert taker.taken == [b""]

    async def test_a_task_learns_of_an_abort_that_came_while_it_did_not_wait(self, polled: bool) -> None:
        async with connected(polled) as (stream, client):
            taker = Taker(1)
            await client.send(b"x")
            await wait_for(stream, taker)
            stream.before_close()
            stream.socket.close()
            for _ in range(2):
                await stream.wait(100, taker)
        assert taker.taken == [b"x", b"", b""]

    async def test_the_end_is_passed_on_at_each_wait(self, polled: bool) -> None:
        async with connected(polled) as (stream, client):
            client.close()
            taker = Taker(1)
            for _ in range(2):
                await stream.wait(100, taker)
        assert taker.taken == [b"", b""]

    async def test_data_is_taken_in_the_context_of_the_task_that_waits(self, polled: bool) -> None:
        """Its lines in the log have the number of its connection."""
        async with connected(polled) as (stream, client), trio.open_nursery() as nursery:
            numbers: list[int | None] = []

            def take(data: bytes) -> bool:
                numbers.append(bound().get("connection"))
                return True

            @nursery.start_soon
            async def receive() -> None:
                bind_connection()
                numbers.append(bound()["connection"])
                await stream.wait(100, take)

            await wait_all_tasks_blocked()
            await client.send(b"x")
        assert numbers[0] is not None
        assert numbers == [numbers[0]] * 2

    async def test_where_the_poller_cannot_watch_it_waits_without_it(
        self, polled: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The kernel bounds how many sockets a user may watch."""

        def fail(*_: object) -> None:
            raise OSError(errno.ENOSPC, "no space")

        monkeypatch.setattr(Poller, "watch", fail)
        async with connected(polled) as (stream, client):
            taker = Taker(2)
            await client.send(b"ab")
            await wait_for(stream, taker)
            assert taker.data == b"ab"


@pytest.mark.parametrize("polled", [POLLED, False])
@pytest.mark.parametrize("client_leaves", [True, False])
@pytest.mark.parametrize("waits", [True, False])
async def test_the_end_is_sent_while_another_task_receives(polled: bool, client_leaves: bool, waits: bool) -> None:
    received: list[bytes] = []

    def take(data: bytes) -> bool:
        received.append(data)
        return True

    async with connected(polled) as (stream, client), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def receive() -> None:
            if waits:
                await stream.wait(1_024, take)
            else:
                take(await stream.receive(1_024))

        @nursery.start_soon
        async def see_the_end() -> None:
            assert await client.recv(1_024) == b""
            if client_leaves:
                client.close()

        await wait_all_tasks_blocked()
        await stream.linger()
        assert received == [b""] * client_leaves  # without the client's end, its time is over
        stream.before_close()
        stream.socket.close()
    assert received == [b""]
