"""A connection to Redis on the Trio thread: whole answers from whatever pieces arrive."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator

import pytest
import trio
from redis.exceptions import ConnectionError, InvalidResponse, MovedError, NoScriptError, ResponseError

from evanesce.store.redis import stream as streams
from evanesce.store.redis.connection import BROKEN
from evanesce.store.redis.stream import Stream, pack
from tests.patience import PATIENCE

LARGE = b"x" * (3 * streams.READ_BYTES)


@pytest.fixture
async def ends() -> AsyncGenerator[tuple[Stream, socket.socket], None]:
    own, peer = socket.socketpair()
    stream = Stream(own)
    yield stream, peer
    stream.close()
    peer.close()


async def received(stream: Stream, count: int) -> list[object]:
    answers: list[object] = []
    with trio.fail_after(PATIENCE):
        while len(answers) < count:
            await stream.wait_readable()
            answers += stream.receive()
    return answers


def test_commands_are_packed_as_redis_reads_them() -> None:
    assert pack(("SET", "é", b"\0\r\n"), ("PING",), ("EXPIRE", "a", 5)) == (
        b"*3\r\n$3\r\nSET\r\n$2\r\n\xc3\xa9\r\n$3\r\n\0\r\n\r\n*1\r\n$4\r\nPING\r\n*3\r\n$6\r\nEXPIRE\r\n$1\r\na\r\n$1\r\n5\r\n"
    )


async def test_answers_that_arrive_in_single_bytes_are_whole(ends: tuple[Stream, socket.socket]) -> None:
    stream, peer = ends
    data = b"+OK\r\n*2\r\n$1\r\na\r\n*1\r\n:7\r\n$-1\r\n-NOSCRIPT none\r\n-MOVED 5 127.0.0.1:7\r\n-ERR odd\r\n"

    async def dribble() -> None:
        for place in range(len(data)):
            peer.send(data[place : place + 1])
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dribble)
        answers = await received(stream, 6)
    assert answers[:3] == [b"OK", [b"a", [7]], None]
    assert [type(answer) for answer in answers[3:]] == [NoScriptError, MovedError, ResponseError]


async def test_an_answer_may_be_larger_than_what_is_read_at_once(ends: tuple[Stream, socket.socket]) -> None:
    stream, peer = ends
    peer.setblocking(False)
    other = trio.socket.from_stdlib_socket(peer)

    async def answer() -> None:
        left = memoryview(b"$%d\r\n%b\r\n+after\r\n" % (len(LARGE), LARGE))
        while left:
            left = left[await other.send(left) :]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        assert await received(stream, 2) == [LARGE, b"after"]


async def test_what_the_peer_does_not_take_is_sent_when_it_does(ends: tuple[Stream, socket.socket]) -> None:
    stream, peer = ends
    peer.setblocking(False)
    other = trio.socket.from_stdlib_socket(peer)
    expected = pack(("SET", "a", LARGE))
    taken = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send, ("SET", "a", LARGE))
        await trio.testing.wait_all_tasks_blocked()  # the kernel takes no more
        with trio.fail_after(PATIENCE):
            while len(taken) < len(expected):
                taken += await other.recv(65_536)
    assert taken == expected


async def test_the_end_of_the_connection_is_told(ends: tuple[Stream, socket.socket]) -> None:
    stream, peer = ends
    peer.send(b"+last\r\n+hal")
    assert not isinstance(await received(stream, 1), BROKEN)
    assert not stream.readable()
    peer.close()
    assert stream.readable()
    with pytest.raises(ConnectionError, match="closed by server"):
        await received(stream, 1)


async def test_what_is_no_redis_is_told(ends: tuple[Stream, socket.socket]) -> None:
    stream, peer = ends
    peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(InvalidResponse):
        await received(stream, 1)
