"""Transports on Unix sockets: their files, whom the proxies there are believed, and workers that share one."""

from __future__ import annotations

import json
import os
import socket
import stat
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from evanesce.errors import ConfigurationError
from evanesce.listening.opening import shared_unix_socket
from tests.patience import PATIENCE
from tests.transports.serving import (
    QUART,
    TRANSPORTS,
    FakeGateway,
    Listening,
    address_limits,
    build,
    listening,
    upgrade_request,
)

BIND = "unix:chat.sock"

pytestmark = pytest.mark.parametrize("transport", TRANSPORTS)


async def status(server: Listening, **headers: str) -> int:
    """Return the status of the response to a handshake with these headers."""
    async with await server.raw() as stream:
        await stream.send_all(upgrade_request(**headers))
        with trio.fail_after(PATIENCE):
            return int((await stream.receive_some(12)).split()[1])


async def test_it_serves_and_removes_its_file(gateway: FakeGateway, transport: str, tmp_path: Path) -> None:
    async with listening(gateway, transport, tmp_path, bind=BIND) as server:
        assert server.url == BIND
        assert stat.S_IMODE((tmp_path / "chat.sock").stat().st_mode) == 0o660
        await server.check_alive()
        async with server.websocket() as client:
            await client.send_message("x" * 60_000)
            assert await client.get_message() == "x" * 60_000
        assert gateway.hosts[-1] == ("localhost", "")
        with pytest.raises(ConfigurationError, match="in use") as wrong:
            await build(transport, tmp_path, bind=BIND).serve(gateway)
        assert wrong.value.path == f"plugins.{transport}.bind"
        await server.check_alive()
    assert os.listdir(tmp_path) == []


async def test_one_that_a_killed_server_left_is_replaced_and_other_files_are_not(
    gateway: FakeGateway, transport: str, tmp_path: Path
) -> None:
    path = tmp_path / "chat.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(path))
    async with listening(gateway, transport, tmp_path, bind=BIND) as server:
        await server.check_alive()
    path.write_text("kept")
    with pytest.raises(ConfigurationError, match="something else"):
        await build(transport, tmp_path, bind=BIND).serve(gateway)
    assert path.read_text() == "kept"
    with pytest.raises(ConfigurationError, match="No such file"):
        await build(transport, tmp_path, bind="unix:missing/chat.sock").serve(gateway)
    assert os.listdir(tmp_path) == ["chat.sock"]


@pytest.mark.parametrize("path", ["", "a\0b", "x" * 91, "ü" * 46])
def test_a_path_that_is_none(transport: str, path: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        build(transport, bind=f"unix:{path}")
    assert wrong.value.path == f"plugins.{transport}.bind"


@pytest.mark.parametrize(
    ("trusted", "headers", "expected"),
    [
        ((), {}, ("unix:", False)),
        ((), {"x_forwarded_for": "127.0.0.1"}, ("unix:", False)),
        (("127.0.0.1", "0.0.0.0/0", "::/0"), {"x_forwarded_for": "127.0.0.1"}, ("unix:", False)),
        (("unix:",), {}, ("unix:", False)),
        (("unix:",), {"x_forwarded_for": "203.0.113.9"}, ("203.0.113.9", False)),
        (("unix:",), {"x_forwarded_for": "127.0.0.1"}, ("127.0.0.1", True)),
        (("unix:",), {"x_forwarded_for": "127.0.0.1, 203.0.113.9"}, ("203.0.113.9", False)),
        (("unix:",), {"x_forwarded_for": "203.0.113.9, 127.0.0.1"}, ("127.0.0.1", False)),
        (("unix:",), {"x_forwarded_for": "203.0.113.9, unknown"}, ("unix:", False)),
        (("unix:",), {"x_forwarded_for": "203.0.113.9, unix:"}, ("unix:", False)),
        (("unix:",), {"forwarded": "for=198.51.100.1"}, ("198.51.100.1", False)),
        (("unix:", "10.0.0.0/8"), {"x_forwarded_for": "127.0.0.1, 10.0.0.1"}, ("127.0.0.1", True)),
        (("unix:", "10.0.0.0/8"), {"x_forwarded_for": "unknown, 10.0.0.1"}, ("10.0.0.1", False)),
    ],
)
async def test_whose_request_it_is(
    gateway: FakeGateway,
    transport: str,
    tmp_path: Path,
    trusted: tuple[str, ...],
    headers: dict[str, str],
    expected: tuple[str, bool],
) -> None:
    async with listening(gateway, transport, tmp_path, bind=BIND, trusted_proxies=trusted) as server:
        assert await status(server, **headers) == 101
    [connection] = gateway.connections
    assert (connection.address, connection.local) == expected


async def test_all_share_the_limits_of_a_proxy_that_is_not_trusted(
    gateway: FakeGateway, transport: str, tmp_path: Path
) -> None:
    gateway.address_limits = address_limits(connections=2)
    async with listening(gateway, transport, tmp_path, bind=BIND) as server, AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(server.websocket())
        assert await status(server, x_forwarded_for="203.0.113.9") == 429


async def test_each_client_of_a_trusted_proxy_has_its_own_limits(
    gateway: FakeGateway, transport: str, tmp_path: Path
) -> None:
    gateway.address_limits = address_limits(connections=1)
    async with (
        listening(gateway, transport, tmp_path, bind=BIND, trusted_proxies=("unix:",)) as server,
        await server.raw() as held,
    ):
        await held.send_all(upgrade_request(x_forwarded_for="203.0.113.9"))
        assert (await held.receive_some(12)).endswith(b" 101")
        assert await status(server, x_forwarded_for="203.0.113.9") == 429
        assert await status(server, x_forwarded_for="198.51.100.1, 203.0.113.9") == 429
        assert await status(server, x_forwarded_for="203.0.113.10") == 101


async def test_workers_share_one_and_who_waits_there_is_served_by_the_others(transport: str, tmp_path: Path) -> None:
    leaving, staying = FakeGateway(), FakeGateway()
    bind = f"unix:{tmp_path}/chat.sock"
    with shared_unix_socket("plugins.x.bind", bind) as opened:
        inode = (tmp_path / "chat.sock").stat().st_ino
        async with AsyncExitStack() as stack:
            nursery = await stack.enter_async_context(trio.open_nursery())
            for gateway in (leaving, staying):
                gateway.address_limits = address_limits(connections=1_000, handshakes=10_000)
                sockets = {bind: os.dup(opened.fileno())}
                worker = build(transport, tmp_path, shared_port=True, sockets=sockets, bind=bind)
                assert await nursery.start(worker.serve, gateway) == [bind]
            server = Listening(transport, bind, None)
            with trio.fail_after(PATIENCE):
                while not (leaving.connections and staying.connections):  # whoever accepts first
                    async with trio.open_nursery() as clients:
                        for _ in range(40):
                            clients.start_soon(server.check_alive)
                leaving.draining = True
                leaving.going.set()
                await trio.testing.wait_all_tasks_blocked()
                before = len(leaving.connections)
                for _ in range(20):
                    await server.check_alive()
            assert len(leaving.connections) == before
            nursery.cancel_scope.cancel()
        assert (tmp_path / "chat.sock").stat().st_ino == inode, "it is the supervisor's"
    assert os.listdir(tmp_path) == []


async def test_a_worker_opens_none_that_its_supervisor_has_not(
    gateway: FakeGateway, transport: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="the supervisor"):
        await build(transport, tmp_path, shared_port=True, bind=BIND).serve(gateway)
    assert os.listdir(tmp_path) == []


async def test_an_error_names_no_client(gateway: FakeGateway, transport: str, tmp_path: Path) -> None:
    gateway.known_hosts = {"chat.example"}
    async with listening(gateway, transport, tmp_path, bind=BIND) as server:
        answer = await server.exchange(upgrade_request(host="other.example"))
        assert answer.startswith(b"HTTP/1.1 421 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "forbidden"
        if transport == QUART:
            assert b" 200 " in await server.exchange(b"GET /healthz HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n")
