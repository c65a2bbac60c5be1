"""Every call to a cluster ends within its deadline, however often it is sent on from one node to another."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from hashlib import sha1

import hiredis
import pytest
import trio

from evanesce.errors import StoreUnavailable
from evanesce.store.redis.cluster_client import ClusterClient
from evanesce.store.redis.connection import Address
from evanesce.store.redis.topology import Node
from tests.patience import PATIENCE, within

pytestmark = pytest.mark.slow

PROMISE = 2.5

Answer = Callable[[int], bytes | None]
"""What a node answers to a command for a key: by its port; None for no answer."""

ANSWERS: dict[str, Answer] = {
    "silent": lambda port: None,
    "moved": lambda port: b"-MOVED 0 127.0.0.1:%d\r\n" % port,
    "asked to ask": lambda port: b"-ASK 0 127.0.0.1:%d\r\n" % port,
    "asked to ask a node that is not there": lambda port: b"-ASK 0 127.0.0.1:1\r\n",
    "trying again": lambda port: b"-TRYAGAIN\r\n",
}


class StubbornNode:
    """A node that has all slots and never does what it is asked. It stands for what no real one does for long."""

    def __init__(self, answer: Answer) -> None:
        self.port = 0
        self._answer = answer

    async def serve(self, *, task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
        await trio.serve_tcp(self._talk, 0, host="127.0.0.1", task_status=task_status)

    async def _talk(self, stream: trio.SocketStream) -> None:
        reader = hiredis.Reader()
        try:
            async for data in stream:
                reader.feed(data)
                while (command := reader.gets()) is not False:
                    if (answer := self._answered(command)) is None:
                        await trio.sleep_forever()  # none of what follows has an answer either: they come in order
                    await stream.send_all(answer)
        except trio.BrokenResourceError:
            pass

    def _answered(self, command: list[bytes]) -> bytes | None:
        match command:
            case [b"SCRIPT", b"LOAD", source]:
                return b"$40\r\n%s\r\n" % sha1(source, usedforsecurity=False).hexdigest().encode()
            case [b"CLUSTER", b"SLOTS"]:
                return b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % self.port
            case [b"PING"]:
                return b"+PONG\r\n"
            case [b"ASKING"]:
                return b"+OK\r\n"
            case _:
                return self._answer(self.port)


@asynccontextmanager
async def cluster(answer: Answer) -> AsyncGenerator[ClusterClient, None]:
    node = StubbornNode(answer)
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(node.serve)
        node.port = listener.socket.getsockname()[1]
        seed = Node("127.0.0.1", node.port)
        async with ClusterClient(Address(f"redis://127.0.0.1:{node.port}"), [seed]) as cluster:
            nursery.start_soon(cluster.run_forever)
            assert cluster.up
            yield cluster
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("shape", ANSWERS)
async def test_a_command_that_no_node_does_ends(shape: str) -> None:
    async with cluster(ANSWERS[shape]) as client:
        with within(PROMISE), pytest.raises(StoreUnavailable):
            await client.run(("GET", "a"))


async def test_a_cluster_whose_start_is_cancelled_ends_its_clients() -> None:
    node = StubbornNode(ANSWERS["silent"])
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(node.serve)
        node.port = listener.socket.getsockname()[1]
        client = ClusterClient(Address(f"redis://127.0.0.1:{node.port}"), [Node("127.0.0.1", node.port)])
        client.on_change(lambda: scope.cancel())
        with trio.CancelScope() as scope:
            async with client:
                pytest.fail("it was cancelled before it was entered")
        [node_client] = client.clients.values()
        with trio.fail_after(PATIENCE):
            while not node_client.stopping:  # noqa: ASYNC110 (nobody is told)
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
