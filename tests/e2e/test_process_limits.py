"""What real processes of a server leave on disk, and how many descriptors they may use."""

from __future__ import annotations

import os
import resource
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest
import trio
from redis.exceptions import RedisError

from evanesce.process import DESCRIPTOR_RESERVE
from tests.e2e.clients import ChatClient, until
from tests.e2e.running import TRANSPORTS, Server
from tests.patience import PATIENCE, Stopwatch

pytestmark = pytest.mark.slow

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
SECRET = "server.secret=0123456789abcdef0123456789abcdef"

Serve = Callable[..., Server]


@pytest.fixture
def core_files() -> Iterator[None]:
    """Allow what is started here to write core files, as `ulimit -c unlimited` does."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def limits(pid: int) -> dict[str, tuple[str, str]]:
    """Return a process's soft and hard limits by name."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {line[:26].strip(): (line[26:47].strip(), line[47:68].strip()) for line in lines}


def dumped(pid: int) -> int:
    """Return which kinds of a process's memory a core file would hold, as bits."""
    return int(Path(f"/proc/{pid}/coredump_filter").read_text(), 16)


@pytest.mark.usefixtures("core_files")
async def test_a_crash_leaves_no_core_file(serve: Serve, nursery: trio.Nursery) -> None:
    server = serve()
    ana = await ChatClient.open(server, nursery, "Ana")
    room_id = (await ana.ask("create_room"))["roomId"]
    await ana.join(room_id)
    await ana.say(room_id, "canary")
    assert server.process is not None
    valkey, _ = server.valkey()
    for pid in (server.process.pid, valkey):
        assert limits(pid)["Max core file size"] == ("0", "0")
        assert dumped(pid) == 0
    before = {file.name for file in server.folder.iterdir()}
    server.send_signal(signal.SIGQUIT)
    assert await trio.to_thread.run_sync(server.wait) == -signal.SIGQUIT
    assert {file.name for file in server.folder.iterdir()} <= before
    assert not [file for file in before if file.startswith("core")]


@pytest.mark.usefixtures("core_files")
def test_no_process_of_several_workers_may_write_a_core_file(serve: Serve) -> None:
    server = serve("server.workers=2", SECRET)
    assert server.process is not None
    valkey, _ = server.valkey()
    for pid in (server.process.pid, valkey, *server.workers().values()):
        assert limits(pid)["Max core file size"] == ("0", "0"), pid


@pytest.mark.usefixtures("open_umask")
async def test_only_the_owner_may_read_what_a_server_keeps(serve: Serve) -> None:
    server = serve()
    await trio.to_thread.run_sync(server.sign_in, "Ana")
    kept = ["evanesce.db", "evanesce.db-shm", "evanesce.db-wal", "evanesce.db.lock", "evanesce.secret"]
    await until(lambda: all((server.folder / name).exists() for name in kept))
    modes = {
        file.name: stat.S_IMODE(file.stat().st_mode) for file in server.folder.iterdir() if file.name != "stderr.log"
    }
    assert modes == dict.fromkeys(kept, 0o600)


def descriptors_of(pid: int) -> int:
    """Count what a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_clients_leave_descriptors_for_the_servers_own_parts(tmp_path: Path, transport: str) -> None:
    server = Server(tmp_path, transports=(transport,), descriptors=200)
    with server:
        assert server.process is not None
        before, _ = server.valkey()
        async with AsyncExitStack() as stack:
            for _ in range(250):
                stream = await trio.open_tcp_stream("127.0.0.1", server.port)
                await stack.enter_async_context(stream)
                await stream.send_all(UPGRADE)
            await until(lambda: descriptors_of(server.process.pid) >= 200 - DESCRIPTOR_RESERVE)  # type: ignore[union-attr]
            os.kill(before, signal.SIGKILL)
            await until(lambda: is_restarted(server, before))
            assert descriptors_of(server.process.pid) < 200 - DESCRIPTOR_RESERVE // 2
            assert "could not be started" not in server.errors
        # When they have gone there is room again.
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(UPGRADE)
            with trio.fail_after(PATIENCE):
                assert (await stream.receive_some(12)).startswith(b"HTTP/1.1 101")
    assert server.errors.count("no descriptors are left for clients") == 1
    assert server.errors.count("left for clients") <= 2, "one line a minute"


def is_restarted(server: Server, before: int) -> bool:
    """Whether another Valkey runs, and the server uses it."""
    try:
        return server.valkey()[0] != before and bool(server.redis().ping())
    except (AssertionError, RedisError):
        return False


CROWD = 4_000


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("said", [b"", UPGRADE[:40], UPGRADE], ids=["nothing", "half a head", "a handshake"])
def test_sockets_that_say_no_hello_are_closed_by_12_seconds(tmp_path: Path, transport: str, said: bytes) -> None:
    """No client reads anything, so that none of them answers a close either."""
    with Server(tmp_path, transports=(transport,)) as server, ExitStack() as stack:
        assert server.process is not None
        before = descriptors_of(server.process.pid)
        for _ in range(CROWD):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            sock.sendall(said)
        stopwatch = Stopwatch()
        most = 0
        while (left := descriptors_of(server.process.pid) - before) > 0 or not most:
            most = max(most, left)
            assert stopwatch.seconds() < 12, f"{left} of {CROWD} are still there"
            time.sleep(0.05)
    assert most > CROWD / 10, "they were there"
