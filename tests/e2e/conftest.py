"""Fixtures: real server processes, a Valkey, and a browser."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.browsers import BrowserClient, chromium, find_chromium
from tests.e2e.running import Server
from tests.e2e.valkey import Valkey
from tests.worldid.idkit import fetch

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def transport() -> str:
    """The transport that clients connect over. Test modules about all transports are parametrised with them."""
    return "quart"


@pytest.fixture
def serve(tmp_path: Path, transport: str) -> Iterator[Callable[..., Server]]:
    """Start servers with the test's settings. Each must end with exit code 0, unless the test has ended it."""
    servers: list[Server] = []

    def start(
        *settings: str, transports: Sequence[str] = (transport,), environment: dict[str, str] | None = None
    ) -> Server:
        folder = tmp_path / f"server{len(servers)}"
        folder.mkdir()
        server = Server(folder, *settings, transports=transports, environment=environment)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        assert server.process is not None
        print(server.errors, file=sys.stderr)  # pytest shows it if the test failed
        if server.process.poll() is None:
            server.stop()
        else:
            server.wait()


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A Valkey that several servers share."""
    with Valkey() as valkey:
        yield valkey


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The SQLite database of the servers that `serve_shared` starts."""
    return tmp_path / "shared.db"


@pytest.fixture
def serve_shared(serve: Callable[..., Server], valkey: Valkey, database: Path) -> Callable[..., Server]:
    """Start servers with the test's settings, which share a Valkey, a database and a secret."""
    shared = [f"server.secret={'s' * 32}", f"redis.url={valkey.url}", f"plugins.sqlite.path={database}"]
    return partial(serve, *shared)


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    """A server with the shipped settings, but with high limits for messages."""
    return serve("limits.messages_per_second=100000", "limits.burst=100000")


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory, transport: str) -> Iterator[Server]:
    """A server for all tests of a module, none of which changes its state."""
    with Server(tmp_path_factory.mktemp("shared"), transports=[transport]) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium. The test is skipped if there is none, but fails in CI."""
    missing = None
    if importlib.util.find_spec("playwright") is None:
        missing = "playwright is not installed"
    elif find_chromium() is None:
        missing = "there is no Chromium on this machine"
    if missing is not None:
        if os.environ.get("CI"):
            pytest.fail(f"{missing}, and in CI this is not skipped")
        pytest.skip(missing)
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def idkit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with IDKit's bundle for browsers. The test is skipped if npm cannot fetch it, but fails in CI."""
    return fetch(tmp_path_factory.mktemp("idkit"))


@pytest.fixture
def browser_client(browser: Browser) -> Iterator[Callable[..., BrowserClient]]:
    """Open browser clients. Errors in any of them fail the test."""
    clients: list[BrowserClient] = []

    def open_client(**options: Any) -> BrowserClient:
        clients.append(BrowserClient(browser, **options))
        return clients[-1]

    yield open_client
    for client in clients:
        client.context.close()
    for client in clients:
        assert client.problems == []


@pytest.fixture
def plugin_path() -> dict[str, str]:
    """An environment in which the plugin in `data/plugin` is installed, as if by pip."""
    return {"PYTHONPATH": str(Path(__file__).parent / "data" / "plugin")}
