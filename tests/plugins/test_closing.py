"""Whatever a plugin opens is closed by its owner: whenever it is cancelled, and while a request is under way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest
import trio

from evanesce.errors import EvanesceError
from evanesce.interfaces import Repository
from evanesce.model import Timestamp, User
from evanesce.testing.leaks import cancelled_at_each_await, nothing_left_open
from evanesce_plugins.sql.driver import Statement
from evanesce_plugins.turso.driver import TursoDriver, connect
from evanesce_plugins.turso.settings import Address
from evanesce_plugins.worldid.portal import Portal
from tests.patience import PATIENCE, Stopwatch, within
from tests.plugins.conftest import sqlite_repository, turso_repository
from tests.plugins.worldid.scripted import scripted_portal
from tests.sqld import Sqld

pytestmark = pytest.mark.slow

AT = Timestamp("2026-01-01T00:00:00.000Z")
ADA = User(user_id="ada", world_id="world", display_name="Ada", created_at=AT, last_active=AT)

SCHEMES = ["http", "ws"]

CLOSING = 3.0
"""How long a plugin may take to be closed, in seconds, whatever its server does."""


@pytest.fixture
async def silent() -> AsyncIterator[tuple[int, trio.MemoryReceiveChannel[None]]]:
    """A server that takes connections and says nothing; its port, and word of each time that anything came."""
    send, receive = trio.open_memory_channel[None](1_000)

    async def listen(stream: trio.SocketStream) -> None:
        async with stream:
            while await stream.receive_some():
                send.send_nowait(None)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, listen, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1], receive
        nursery.cancel_scope.cancel()


def opened(url: str, token: str | None = None, folder: Path = Path()) -> AbstractAsyncContextManager[TursoDriver]:
    return connect(Address.of(url, folder, "plugins.turso.url"), token, 5.0, "plugins.turso")


async def used(repository: Repository) -> None:
    """Open a repository, write and read, and close it."""
    with trio.fail_after(PATIENCE):
        async with repository:
            await repository.sign_in(ADA)
            assert await repository.user("ada") is not None
            await repository.check()


@pytest.mark.parametrize("kind", ["sqlite", "turso file", "turso http", "turso ws"])
async def test_a_repository_cancelled_at_any_await_leaves_nothing_open(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made: Callable[[], Repository]
    if kind == "sqlite":
        made = lambda: sqlite_repository(tmp_path)  # noqa: E731
    elif kind == "turso file":
        made = lambda: turso_repository("file:evanesce.db", folder=tmp_path)  # noqa: E731
    else:
        server: Sqld = request.getfixturevalue("sqld")
        made = lambda: turso_repository(server.url(kind.removeprefix("turso ")), server.token())  # noqa: E731
    assert await cancelled_at_each_await(lambda: used(made())) > 5


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_closed_while_requests_are_under_way_nothing_is_left_open(
    scheme: str, silent: tuple[int, trio.MemoryReceiveChannel[None]]
) -> None:
    """The client is closed by one task while others wait for a server that does not answer."""
    port, came = silent
    failed = 0

    async def ask(driver: TursoDriver) -> None:
        nonlocal failed
        try:
            await driver.execute([Statement("SELECT 1")])
        except EvanesceError:
            failed += 1

    async with nothing_left_open(), trio.open_nursery() as nursery:
        async with opened(f"{scheme}://127.0.0.1:{port}") as driver:
            for _ in range(5):
                nursery.start_soon(ask, driver)
            await came.receive()
            closing = Stopwatch()
        assert closing.seconds() < CLOSING
    assert failed == 5


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_cancelled_at_any_await_of_a_silent_server_nothing_is_left_open(
    scheme: str, silent: tuple[int, trio.MemoryReceiveChannel[None]]
) -> None:
    port, came = silent

    async def body() -> None:
        async with opened(f"{scheme}://127.0.0.1:{port}") as driver, trio.open_nursery() as nursery:
            nursery.start_soon(driver.execute, [Statement("SELECT 1")])
            await came.receive()
            nursery.cancel_scope.cancel()

    assert await cancelled_at_each_await(body) > 2


async def test_closed_while_a_server_reads_nothing_no_connection_is_left_open(sqld: Sqld) -> None:
    """More was written than the kernel takes: a connection that still has something to write is not waited for."""
    large = [Statement("SELECT ?", ("x" * 20_000_000,))]
    try:
        async with nothing_left_open():
            with within(5 + CLOSING):
                async with opened(sqld.url("ws"), sqld.token()) as driver, trio.open_nursery() as nursery:
                    await driver.execute([Statement("SELECT 1")])
                    sqld.freeze()
                    nursery.start_soon(driver.execute, large)
                    await trio.sleep(0.5)  # nothing tells when the kernel's buffers are full
                    nursery.cancel_scope.cancel()
    finally:
        sqld.thaw()


async def test_the_client_of_worlds_portal_leaves_nothing_open() -> None:
    async with scripted_portal() as scripted:
        scripted.say({"success": True, "production_status": "registered"})

        async def body() -> None:
            async with Portal(scripted.url, "rp_1", 5.0) as portal:
                await portal.status()

        assert await cancelled_at_each_await(body) > 2


async def test_the_client_of_worlds_portal_is_closed_within_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    stopwatch = Stopwatch()
    async with Portal("https://portal.example", "rp_1", 5.0) as portal:
        monkeypatch.setattr(portal._client._client, "aclose", trio.sleep_forever)
    assert stopwatch.seconds() < CLOSING
