"""What the transport leans on in trio-websocket: when one of these changes, look at `wire` and `connection`."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream
from wsproto.utilities import LocalProtocolError

from tests.patience import PATIENCE
from tests.transports.serving import masked, upgrade_request


@dataclass
class Stream(trio.abc.Stream):
    """A stream that returns what the test puts into it, and records what the library does."""

    calls: list[str] = field(default_factory=list)
    written: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.network, self._incoming = trio.open_memory_channel[bytes](100)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self.calls.append("receive_some")
        if "aclose" in self.calls:
            raise trio.ClosedResourceError
        return await self._incoming.receive()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.written.append(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        raise AssertionError("the library has no use for it")

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self.calls.append("aclose")


@asynccontextmanager
async def accepted(stream: Stream, *behind: bytes) -> AsyncIterator[WebSocketConnection]:
    async with trio.open_nursery() as nursery:
        await stream.network.send(upgrade_request())
        with trio.fail_after(PATIENCE):
            proposal = await wrap_server_stream(nursery, stream, max_message_size=10)
            library = await proposal.accept()
            for data in behind:
                await stream.network.send(data)
            yield library
        nursery.cancel_scope.cancel()


async def closed(library: WebSocketConnection) -> int:
    with pytest.raises(ConnectionClosed) as caught:
        await library.get_message()
    assert caught.value.reason is not None
    code: int = caught.value.reason.code
    return code


def test_the_library_is_called_as_it_is_declared() -> None:
    parameters = inspect.signature(wrap_server_stream).parameters
    assert list(parameters) == [
        "nursery",
        "stream",
        "message_queue_size",
        "max_message_size",
        "receive_buffer_size",
    ]


async def test_of_a_nursery_it_asks_to_start_one_task_without_arguments() -> None:
    class Nursery:
        def __init__(self, nursery: trio.Nursery) -> None:
            self.nursery = nursery
            self.started = 0

        def start_soon(self, reader: Callable[[], Awaitable[None]]) -> None:
            self.started += 1
            self.nursery.start_soon(reader)

    async with trio.open_nursery() as nursery:
        shim, stream = Nursery(nursery), Stream()
        await stream.network.send(upgrade_request())
        await wrap_server_stream(shim, stream)  # type: ignore[arg-type]
        assert shim.started == 1
        nursery.cancel_scope.cancel()


async def test_bytes_that_it_reads_before_it_accepts_are_lost() -> None:
    stream = Stream()
    async with trio.open_nursery() as nursery:
        await stream.network.send(upgrade_request() + masked(1, b"lost"))
        proposal = await wrap_server_stream(nursery, stream)
        library = await proposal.accept()
        await stream.network.send(masked(1, b"heard"))
        with trio.fail_after(PATIENCE):
            assert await library.get_message() == "heard"
        nursery.cancel_scope.cancel()
    assert stream.written[0].startswith(b"HTTP/1.1 101 ")


async def test_messages_and_pongs() -> None:
    stream = Stream()
    async with accepted(stream, masked(1, b"a") + masked(9, b"p") + masked(2, b"b")) as library:
        assert await library.get_message() == "a"
        assert await library.get_message() == b"b"
    assert stream.written[1:] == [b"\x8a\x01p"]


async def test_the_answer_to_a_close_is_written_whole() -> None:
    stream = Stream()
    async with accepted(stream, masked(8, b"\x03\xe8bye")) as library:
        assert await closed(library) == 1000
        await trio.testing.wait_all_tasks_blocked()
    assert stream.written[1:] == [b"\x88\x05\x03\xe8bye"]
    assert "aclose" in stream.calls


@pytest.mark.parametrize(("frame", "code"), [(masked(3), 1002), (masked(1, b"\xff"), 1007), (b"\x81\0", 1002)])
async def test_of_a_violation_it_says_nothing_and_hangs_up(frame: bytes, code: int) -> None:
    stream = Stream()
    async with accepted(stream, frame) as library:
        assert await closed(library) == code
        await trio.testing.wait_all_tasks_blocked()
    assert len(stream.written) == 1
    assert "aclose" in stream.calls


async def test_an_end_of_what_comes_is_1006() -> None:
    stream = Stream()
    async with accepted(stream, b"") as library:
        assert await closed(library) == 1006
    assert len(stream.written) == 1


async def test_sizes_are_in_characters() -> None:
    stream = Stream()
    async with accepted(stream, masked(1, "é".encode() * 10)) as library:
        assert await library.get_message() == "é" * 10


async def test_a_ping_after_its_own_close_raises() -> None:
    """C4 (python-trio/trio-websocket#184): the reason why it is never told that the server closes."""
    stream = Stream()
    with pytest.RaisesGroup(pytest.RaisesExc(LocalProtocolError), flatten_subgroups=True):
        async with accepted(stream, masked(1, b"x" * 11) + masked(9, b"p")) as library:
            await closed(library)
            await trio.testing.wait_all_tasks_blocked()
