"""A port that several servers share: who listens there, and how one of them leaves it to the others."""

from __future__ import annotations

import errno
import math
import socket
from collections.abc import Iterator

import pytest
import trio

from evanesce.errors import ConfigurationError
from evanesce.ports import probe
from tests.patience import PATIENCE
from tests.transports.serving import TRANSPORTS, FakeGateway, build, listening, upgrade_request

pytestmark = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.fixture
def bind() -> Iterator[str]:
    """A port that nobody else is given meanwhile: it is bound here, and nobody listens on it."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{reserved.getsockname()[1]}"


def leave(gateway: FakeGateway) -> None:
    gateway.draining = True
    gateway.going.set()


async def refused(bind: str) -> bool:
    host, _, port = bind.rpartition(":")
    try:
        await trio.open_tcp_stream(host, int(port))
    except OSError:
        return True
    return False


def test_a_port_that_the_system_chooses_cannot_be_shared(transport: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        build(transport, shared_port=True, bind="127.0.0.1:0")
    assert wrong.value.path == f"plugins.{transport}.bind"


async def test_several_listen_on_one_port_and_one_that_leaves_gets_nobody_new(transport: str, bind: str) -> None:
    leaving, staying = FakeGateway(), FakeGateway()
    async with (
        listening(leaving, transport, shared_port=True, bind=bind) as server,
        listening(staying, transport, shared_port=True, bind=bind),
    ):
        with trio.fail_after(PATIENCE):
            while not (leaving.connections and staying.connections):  # the kernel chooses
                await server.check_alive()
            leave(leaving)
            await trio.testing.wait_all_tasks_blocked()
            before = len(leaving.connections)
            for _ in range(20):
                await server.check_alive()
        assert len(leaving.connections) == before


async def test_who_waits_to_be_taken_in_is_taken_in_before_the_port_is_left(
    gateway: FakeGateway, transport: str, bind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(self: trio.SocketListener) -> trio.SocketStream:
        await trio.sleep(math.inf)
        raise AssertionError

    monkeypatch.setattr(trio.SocketListener, "accept", busy)
    async with listening(gateway, transport, shared_port=True, bind=bind) as server:
        with trio.fail_after(PATIENCE):
            async with await server.raw() as one, await server.raw() as other:
                leave(gateway)
                await trio.testing.wait_all_tasks_blocked()
                assert await refused(bind)
                for stream in (one, other):
                    await stream.send_all(upgrade_request())
                    assert (await stream.receive_some()).startswith(b"HTTP/1.1 503 "), "it is told where to go"


async def test_a_transport_that_has_left_ends_with_its_last_client(
    gateway: FakeGateway, transport: str, bind: str
) -> None:
    ended = trio.Event()
    built = build(transport, shared_port=True, bind=bind)

    async def serve(task_status: trio.TaskStatus[object]) -> None:
        await built.serve(gateway, task_status=task_status)
        ended.set()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            host, _, port = bind.rpartition(":")
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                await stream.send_all(upgrade_request())
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")
                leave(gateway)
                await trio.testing.wait_all_tasks_blocked()
                assert await refused(bind)
                assert not ended.is_set()
            await ended.wait()


@pytest.mark.parametrize("shared_port", [False, True])
async def test_the_probe_finds_whoever_listens(
    gateway: FakeGateway, transport: str, bind: str, shared_port: bool
) -> None:
    await probe(bind)
    own = bind if shared_port else "127.0.0.1:0"
    async with listening(gateway, transport, shared_port=shared_port, bind=own) as server:
        with pytest.raises(OSError, match="in use") as taken:
            await probe(f"127.0.0.1:{server.port}")
        assert taken.value.errno == errno.EADDRINUSE
    await probe(bind)
