"""Clients that name a room in the address of their WebSocket: workers on one port pass them to the room's worker."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from evanesce.addresslimits import AddressLimits
from evanesce.listening.listener import HEAD_SECONDS
from evanesce.workers.handover import HandoverSockets, RoomHandover
from evanesce_transports.request import PublicPath
from evanesce_transports.room_hint import PEEK_BYTES, named_room
from tests.core.workers.handovers import handovers, room_of
from tests.e2e.clients import until
from tests.ports import free_port
from tests.transports.serving import (
    TRANSPORTS,
    FakeGateway,
    Listening,
    address_limits,
    build,
    masked,
    read_all,
    upgrade_request,
)

ROOM = "0f0e0d0c-0b0a-4987-8654-321001234567"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="workers pass connections on Linux alone")


@pytest.mark.parametrize(
    "line",
    [
        f"GET /ws?roomId={ROOM} HTTP/1.1",
        f"GET /ws?a=b&roomId={ROOM}&c HTTP/1.1",
        f"GET /chat/ws?roomId={ROOM} HTTP/1.1",
    ],
)
def test_a_room_is_named_by_the_address_of_the_websocket(line: str) -> None:
    assert named_room(f"{line}\r\nHost: x\r\n\r\n".encode(), PublicPath("/chat")) == ROOM


@pytest.mark.parametrize(
    "head",
    [
        "",
        "\r\n",
        "GET",
        f"GET /ws?roomId={ROOM}",  # the line is not complete
        f"GET /ws?roomId={ROOM} HTTP/1.1\n\n",
        "GET /ws HTTP/1.1\r\n",
        "GET /ws? HTTP/1.1\r\n",
        "GET /ws?roomId HTTP/1.1\r\n",
        "GET /ws?roomId= HTTP/1.1\r\n",
        f"GET /ws?roomId={ROOM.upper()} HTTP/1.1\r\n",
        f"GET /ws?roomId={ROOM}0 HTTP/1.1\r\n",
        f"GET /ws?roomId=x&roomId={ROOM} HTTP/1.1\r\n",
        f"GET /ws?room={ROOM} HTTP/1.1\r\n",
        f"GET /r/{ROOM}?roomId={ROOM} HTTP/1.1\r\n",
        f"GET /other/ws?roomId={ROOM} HTTP/1.1\r\n",
        f"POST /ws?roomId={ROOM} HTTP/1.1\r\n",
        f"POST / HTTP/1.1\r\nX: GET /ws?roomId={ROOM} HTTP/1.1\r\n",
        "GET /ws?roomId=" + "\x80" * 36 + " HTTP/1.1\r\n",
        "GET /ws?" + "&" * PEEK_BYTES,
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the beginning of a TLS handshake
    ],
)
def test_anything_else_names_no_room(head: str) -> None:
    assert named_room(head.encode("latin-1"), PublicPath("/chat")) is None


class Workers:
    """Two workers on one port. The gateway of worker 2 is `other`, and `room` is one of its rooms."""

    def __init__(self, one: FakeGateway, other: FakeGateway, both: dict[int, RoomHandover], port: int) -> None:
        self.one = one
        self.other = other
        self.handovers = both
        self.listening = Listening("", f"ws://127.0.0.1:{port}", None)
        self.room = room_of(2, 2)

    async def upgrade(self, request: bytes) -> trio.SocketStream:
        """Send a request, and return the stream after the head of its answer, which has to be 101."""
        stream = await self.listening.raw()
        await stream.send_all(request)
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        return stream


@pytest.fixture
def sockets() -> Iterator[HandoverSockets]:
    made = HandoverSockets(2)
    yield made
    made.close()


@asynccontextmanager
async def workers(transport: str, sockets: HandoverSockets, **limits: AddressLimits) -> AsyncIterator[Workers]:
    """Serve by two workers."""
    one, other = FakeGateway(), FakeGateway()
    one.address_limits = limits.get("one", one.address_limits)
    other.address_limits = limits.get("other", other.address_limits)
    port = free_port()
    with handovers(sockets, 2) as both:
        async with trio.open_nursery() as nursery:
            for worker, gateway in (1, one), (2, other):
                built = build(transport, shared_port=True, bind=f"127.0.0.1:{port}", handover=both[worker])
                await nursery.start(built.serve, gateway)
                nursery.start_soon(both[worker].run)
            await trio.testing.wait_all_tasks_blocked()
            yield Workers(one, other, both, port)
            nursery.cancel_scope.cancel()


def hinted(room_id: str) -> bytes:
    return upgrade_request(f"/ws?roomId={room_id}")


@LINUX
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_names_a_room_is_served_by_its_worker_as_if_it_had_accepted_them(
    transport: str, sockets: HandoverSockets
) -> None:
    async with workers(transport, sockets) as running, AsyncExitStack() as stack:
        with trio.fail_after(30):
            for number in range(24):
                text = f"{number}".encode()
                stream = await running.upgrade(hinted(running.room) + masked(1, text))
                await stack.enter_async_context(stream)
                assert await stream.receive_some() == bytes([0x81, len(text)]) + text, "what follows the head is kept"
        assert len(running.other.connections) == 24
        assert running.one.connections == []
        assert {connection.address for connection in running.other.connections} == {"127.0.0.1"}
        assert running.handovers[1].passed >= 1, "the kernel has given some to the other worker"
        assert running.handovers[2].passed == 0


@LINUX
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_names_no_room_stays_where_the_kernel_has_put_them(transport: str, sockets: HandoverSockets) -> None:
    async with workers(transport, sockets) as running, AsyncExitStack() as stack:
        with trio.fail_after(30):
            while not (running.one.connections and running.other.connections):
                for path in ("/ws", "/ws?roomId=nonsense"):
                    await stack.enter_async_context(await running.upgrade(upgrade_request(path)))
        assert [handover.passed for handover in running.handovers.values()] == [0, 0]


@LINUX
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_request_in_parts_is_served_where_it_is(transport: str, sockets: HandoverSockets) -> None:
    async with workers(transport, sockets) as running, AsyncExitStack() as stack:
        with trio.fail_after(30):
            while not running.one.connections:
                stream = await stack.enter_async_context(await running.listening.raw())
                request = hinted(running.room)
                await stream.send_all(request[:20])
                await trio.testing.wait_all_tasks_blocked(0.05)
                await stream.send_all(request[20:])
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")
        assert [handover.passed for handover in running.handovers.values()] == [0, 0]


@LINUX
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_clients_that_send_nothing_are_closed_at_the_deadline_of_their_head(
    transport: str, sockets: HandoverSockets, autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.05
    async with workers(transport, sockets) as running, trio.open_nursery() as nursery:

        async def wait_in_silence(sent: bytes) -> None:
            async with await running.listening.raw() as stream:
                began = trio.current_time()
                await stream.send_all(sent)
                await read_all(stream)
                assert trio.current_time() - began == pytest.approx(HEAD_SECONDS, abs=1.5)

        for _ in range(4):
            nursery.start_soon(wait_in_silence, b"")
            nursery.start_soon(wait_in_silence, hinted(running.room)[:-2])  # passed on, and then never complete


@LINUX
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_only_the_worker_that_serves_a_connection_counts_it(transport: str, sockets: HandoverSockets) -> None:
    one, other = (address_limits(connections=10, handshakes=1_000, exempt=()) for _ in range(2))
    async with workers(transport, sockets, one=one, other=other) as running, AsyncExitStack() as stack:
        with trio.fail_after(30):
            for _ in range(10):
                await stack.enter_async_context(await running.upgrade(hinted(running.room)))
            async with await running.listening.raw() as refused:
                await refused.send_all(hinted(running.room))
                assert (await read_all(refused)).startswith(b"HTTP/1.1 429 ")
            for _ in range(10):  # of the other one, whose limit has to be free
                held = one.hold_connection("127.0.0.1")
                stack.callback(held.release)
        assert len(running.other.connections) == 10


@LINUX
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_connections_that_come_and_go_leave_no_descriptors(transport: str, sockets: HandoverSockets) -> None:
    async with workers(transport, sockets) as running:

        def descriptors() -> int:
            return len(list(Path("/proc/self/fd").iterdir()))

        async def come_and_go() -> None:
            for _ in range(20):
                async with await running.upgrade(hinted(running.room)):
                    pass

        with trio.fail_after(60):
            await come_and_go()
            await trio.testing.wait_all_tasks_blocked(0.05)
            before = descriptors()
            await come_and_go()
            await until(lambda: descriptors() <= before)
            await until(lambda: running.other.received.count(None) == 40)
        running.handovers[2].count(1)
        assert running.handovers[1]._board.loads() == {1: 0, 2: 1}, "all connections have been counted out"


@LINUX
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_while_the_worker_of_the_room_stops_others_serve_the_room(
    transport: str, sockets: HandoverSockets
) -> None:
    async with workers(transport, sockets) as running, AsyncExitStack() as stack:
        with trio.fail_after(30):
            running.handovers[2].leave()
            running.other.draining = True
            running.other.going.set()
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(8):
                await stack.enter_async_context(await running.upgrade(hinted(running.room)))
        assert len(running.one.connections) == 8
