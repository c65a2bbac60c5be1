"""The outbox over real sockets; the clock moves only where a test moves it."""

from __future__ import annotations

import math
import socket
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from evanesce.delivery.frame import Frame, Outgoing
from evanesce.delivery.outbox import BYTES_COST, CONTROL_BYTES, FRAME_COST, STALL_SECONDS, Outbox
from evanesce.model import Timestamp
from evanesce.protocol import codec
from evanesce.protocol.events import MessageEvent, Ok, Skipped
from tests.patience import PATIENCE

LIMIT = 524_288
ROOM = "00000000-0000-4000-8000-000000000001"
NOW = Timestamp("2026-11-22T05:42:00.123Z")


class Lines:
    def frame(self, payload: bytes) -> bytes:
        return payload + b"\n"


LINES = Lines()


def plain(text: str) -> Frame:
    return Frame([Outgoing(Ok(ref=text[:64]))], text.encode())


def perishable(content: str, expires_at: float) -> Frame:
    event = MessageEvent(
        room_id=ROOM,
        message_id=ROOM,
        sender_id=ROOM,
        sender_name="Ada",
        content=content,
        created_at=NOW,
        expires_at=NOW,
        cursor="c",
    )
    return Frame([Outgoing(event, (expires_at,))])


def skipped(count: int) -> bytes:
    return codec.encode([Skipped(room_id=ROOM, count=count)]) + b"\n"


@dataclass
class Pair:
    nursery: trio.Nursery
    outbox: Outbox
    ours: trio.socket.SocketType
    theirs: trio.SocketStream

    async def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = await self.theirs.receive_some(count - len(data))
            assert chunk, f"ended after {len(data)} of {count} bytes"
            data += chunk
        return data

    async def read_all(self) -> bytes:
        data = b""
        while chunk := await self.theirs.receive_some(65_536):
            data += chunk
        return data

    def clog(self) -> int:
        """Write raw bytes until the kernel takes no more; give how many were written."""
        written = 0
        while not self.outbox.waiting_bytes:
            assert self.outbox.write_raw(b"x" * 4096)
            written += 4096
        return written

    def clog_whole(self) -> int:
        """Fill the kernel's buffer, so that the next entry waits as a whole; give how many bytes were written."""
        written = 0
        while True:
            try:
                written += self.ours_raw.send(b"x" * 4096)
            except BlockingIOError:
                return written

    @property
    def ours_raw(self) -> socket.socket:
        raw = socket.socket(fileno=socket.dup(self.ours.fileno()))
        raw.setblocking(False)
        self._raws.append(raw)
        return raw

    def __post_init__(self) -> None:
        self._raws: list[socket.socket] = []

    def close(self) -> None:
        for raw in self._raws:
            raw.close()


@pytest.fixture
async def pair(mock_clock: MockClock) -> AsyncIterator[Pair]:
    ours, theirs = trio.socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    async with trio.open_nursery() as nursery, trio.SocketStream(theirs) as stream:
        outbox = Outbox(nursery, ours, LINES, limit=LIMIT)
        made = Pair(nursery, outbox, ours, stream)
        yield made
        made.close()
        outbox.discard()
        ours.close()
        nursery.cancel_scope.cancel()


async def test_sends_at_once_and_without_a_task(pair: Pair) -> None:
    assert pair.outbox.write(plain("hello"))
    assert pair.outbox.waiting_bytes == 0
    assert not pair.nursery.child_tasks
    assert await pair.read(6) == b"hello\n"


async def test_keeps_the_order_of_frames_and_raw_bytes_for_a_slow_reader(pair: Pair) -> None:
    expected = b""
    for number in range(300):
        assert pair.outbox.write(plain(f"{number}".rjust(500)))
        assert pair.outbox.write_raw(b"raw %d\n" % number)
        expected += f"{number}".rjust(500).encode() + b"\nraw %d\n" % number
    assert pair.outbox.waiting_bytes > 0
    assert len(pair.nursery.child_tasks) == 1
    assert await pair.read(len(expected)) == expected
    await pair.outbox.drained()
    assert pair.outbox.waiting_bytes == 0
    await wait_all_tasks_blocked()
    assert not pair.nursery.child_tasks
    assert pair.outbox.write(plain("after"))
    assert await pair.read(6) == b"after\n"


async def test_refuses_what_does_not_fit_and_queues_nothing_of_it(pair: Pair) -> None:
    sent = pair.clog()
    taken = 0
    while pair.outbox.write(plain("y" * 9999)):
        taken += 1
    waiting = pair.outbox.waiting_bytes
    assert LIMIT - 10_000 < waiting <= LIMIT
    assert not pair.outbox.write_raw(b"z" * 10_000)
    assert pair.outbox.waiting_bytes == waiting
    assert await pair.read(sent + taken * 10_000) == b"x" * sent + (b"y" * 9999 + b"\n") * taken


@pytest.mark.parametrize(
    ("kind", "size"),
    [(kind, size) for kind in ("frame", "raw") for size in (1, 40, 300, 5_000)]
    + [("perishable", 1), ("perishable", 40)],
)
async def test_what_waits_takes_no_more_memory_than_the_limit(pair: Pair, kind: str, size: int) -> None:
    """Small entries above all: the limit is one of memory. Larger messages are shared by the members of a room."""
    far = trio.current_time() + 1e6
    entries = {
        "frame": lambda number: pair.outbox.write(plain(f"{number}".rjust(size))),
        "raw": lambda number: pair.outbox.write_raw(b"%d" % number + b"r" * size),
        "perishable": lambda number: pair.outbox.write(perishable(f"{number}".rjust(size), far)),
    }
    pair.clog_whole()
    number = 0
    tracemalloc.start()
    try:
        while entries[kind](number):
            number += 1
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert number > 10
    assert taken < LIMIT * 1.1
    assert pair.outbox.waiting_bytes <= LIMIT


async def test_pongs_are_few_where_much_waits_and_the_last_one_goes_out_first(pair: Pair) -> None:
    clogged = pair.clog_whole()
    for number in range(10_000):
        pair.outbox.write_control(b"pong %05d\n" % number)
    assert pair.outbox.waiting_bytes <= CONTROL_BYTES + BYTES_COST + 11
    assert pair.outbox.write_raw(b"behind\n")
    waiting = pair.outbox.waiting_bytes
    pongs = (waiting - BYTES_COST - 7) // (11 + BYTES_COST)
    expected = b"pong 09999\n" + b"".join(b"pong %05d\n" % number for number in range(pongs)) + b"behind\n"
    assert (await pair.read(clogged + len(expected)))[clogged:] == expected
    await pair.outbox.drained()
    assert pair.outbox.waiting_bytes == 0
    pair.outbox.write_control(b"pong\n")
    assert await pair.read(5) == b"pong\n"


async def test_finish_is_the_last_thing_even_where_the_outbox_is_full(pair: Pair) -> None:
    sent = pair.clog()
    while pair.outbox.write_raw(b"y" * 10_000):
        sent += 10_000
    pair.outbox.finish(b"bye")
    assert pair.outbox.write(plain("too late"))
    with trio.fail_after(5):
        data = await pair.read(sent + 3)
        await pair.outbox.drained()
    assert data.endswith(b"ybye")
    pair.ours.close()
    assert await pair.read_all() == b""


async def test_what_is_written_expired_is_told_as_skipped(pair: Pair) -> None:
    assert pair.outbox.write(perishable("secret", trio.current_time()))
    assert await pair.read(len(skipped(1))) == skipped(1)


async def test_what_expires_while_it_waits_is_skipped_and_the_rest_keeps_its_place(
    pair: Pair, mock_clock: MockClock
) -> None:
    sent = pair.clog_whole()
    now = trio.current_time()
    assert pair.outbox.write(perishable("secret one", now + 1))
    assert pair.outbox.write_raw(b"pong\n")
    assert pair.outbox.write(perishable("secret two", now + 1))
    assert pair.outbox.write(perishable("secret three", now + 1))
    assert pair.outbox.write(perishable("alive", now + 9))
    alive = perishable("alive", now + 9).wire(LINES)
    await wait_all_tasks_blocked()
    mock_clock.jump(1)
    expected = skipped(1) + b"pong\n" + skipped(2) + alive
    assert (await pair.read(sent + len(expected)))[sent:] == expected
    await pair.outbox.drained()
    assert pair.outbox.waiting_bytes == 0


async def test_what_has_expired_makes_room_in_a_full_outbox(pair: Pair, mock_clock: MockClock) -> None:
    pair.clog_whole()
    deadline = trio.current_time() + 1
    count = 0
    while pair.outbox.write(perishable("s" * 9999, deadline)):
        count += 1
    mock_clock.jump(1)
    assert pair.outbox.write(plain("z" * 20_000))
    assert pair.outbox.waiting_bytes == 20_001 + BYTES_COST + len(skipped(count)) + FRAME_COST


async def test_a_message_half_sent_is_never_finished_after_it_expires(pair: Pair, mock_clock: MockClock) -> None:
    assert pair.outbox.write(perishable("s" * 200_000, trio.current_time() + 1))
    assert pair.outbox.waiting_bytes > 0
    await wait_all_tasks_blocked()
    mock_clock.jump(1)
    await pair.outbox.drained()
    assert pair.outbox.waiting_bytes == 0
    assert pair.ours.fileno() == -1
    assert pair.outbox.write(plain("nobody hears this"))


async def test_a_client_that_takes_nothing_is_given_up(pair: Pair, mock_clock: MockClock) -> None:
    pair.clog()
    await wait_all_tasks_blocked()
    mock_clock.jump(STALL_SECONDS)
    await pair.outbox.drained()
    assert pair.ours.fileno() == -1


async def test_a_client_that_is_gone_is_no_error(pair: Pair) -> None:
    await pair.theirs.aclose()
    for _ in range(3):
        assert pair.outbox.write(plain("hello"))
    assert pair.outbox.waiting_bytes == 0


async def test_a_client_that_goes_while_something_waits_is_no_error(pair: Pair) -> None:
    pair.clog()
    await wait_all_tasks_blocked()
    await pair.theirs.aclose()
    await pair.outbox.drained()
    assert pair.outbox.waiting_bytes == 0


async def test_a_cancelled_flush_sends_nothing_more(mock_clock: MockClock) -> None:
    ours, theirs = trio.socket.socketpair()
    async with trio.SocketStream(theirs) as reader:
        async with trio.open_nursery() as nursery:
            outbox = Outbox(nursery, ours, LINES, limit=LIMIT)
            assert outbox.write_raw(b"x" * 400_000)
            assert outbox.waiting_bytes > 0
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert outbox.waiting_bytes == 0
        assert outbox.write(plain("after the end"))
        ours.close()
        received = 0
        while chunk := await reader.receive_some(65_536):
            received += len(chunk)
        assert 0 < received < 400_000


async def test_through_a_stream_in_order(mock_clock: MockClock) -> None:
    client, server = memory_stream_pair()
    ours, theirs = trio.socket.socketpair()
    async with trio.open_nursery() as nursery:
        outbox = Outbox(nursery, ours, LINES, limit=LIMIT, stream=server)
        assert outbox.write_raw(b"head ")
        assert outbox.write(plain("one"))
        outbox.finish(b"two")
        assert outbox.waiting_bytes == 12 + 3 * BYTES_COST
        await outbox.drained()
        assert outbox.waiting_bytes == 0
        assert await client.receive_some() == b"head one\ntwo"
    ours.close()
    theirs.close()


async def test_through_a_stream_a_message_that_expires_while_it_is_sent_ends_the_connection(
    mock_clock: MockClock,
) -> None:
    class Stuck(trio.abc.SendStream):
        async def send_all(self, data: object) -> None:
            await trio.sleep(math.inf)

        async def wait_send_all_might_not_block(self) -> None:
            raise NotImplementedError

        async def aclose(self) -> None:
            raise NotImplementedError

    ours, theirs = trio.socket.socketpair()
    async with trio.open_nursery() as nursery:
        outbox = Outbox(nursery, ours, LINES, limit=LIMIT, stream=Stuck())
        assert outbox.write(perishable("secret", trio.current_time() + 1))
        assert outbox.write(plain("behind it"))
        await wait_all_tasks_blocked()
        mock_clock.jump(1)
        await outbox.drained()
        assert ours.fileno() == -1
        assert outbox.waiting_bytes == 0
    theirs.close()


async def test_an_abort_is_told_while_the_socket_has_its_number() -> None:
    """Afterwards the kernel may give the number to another socket, of which somebody would be told then."""
    ours, theirs = trio.socket.socketpair()
    numbers: list[int] = []
    async with trio.open_nursery() as nursery:
        number = ours.fileno()
        outbox = Outbox(nursery, ours, LINES, limit=LIMIT, on_abort=lambda: numbers.append(ours.fileno()))
        outbox.abort()
        assert numbers == [number]
        assert ours.fileno() == -1
    theirs.close()


async def test_what_the_kernel_has_is_unacknowledged_until_the_client_takes_it() -> None:
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener, await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1]) as theirs:
            ours = await listener.accept()
            outbox = Outbox(nursery, ours.socket, LINES, limit=LIMIT)
            assert outbox.unacknowledged_bytes == 0
            written = 0
            while not outbox.waiting_bytes:
                assert outbox.write_raw(b"x" * 65_536)
                written += 65_536
            before = outbox.unacknowledged_bytes
            assert 0 < before < written
            outbox.write_raw(b"x" * 65_536)
            with trio.fail_after(PATIENCE):
                left = written + 65_536
                while left:
                    left -= len(await theirs.receive_some(1_000_000))
                while outbox.unacknowledged_bytes:  # noqa: ASYNC110  no event tells of an acknowledgement
                    await trio.sleep(0.01)
            outbox.discard()
            await ours.aclose()
            assert outbox.unacknowledged_bytes == 0
