"""A real server process for each test that asks for one, and the fixtures of the browser."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.running import Server
from tests.e2e.valkey import Valkey
from tests.e2e.visitors import Visitor
from tests.worldid.idkit import fetch

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Without the flags against background networking Chromium looks up its maker's hosts at every start.
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def transport() -> str:
    """Give the transport that people come over; the modules about any of them are parametrised with all."""
    return "quart"


@pytest.fixture
def serve(tmp_path: Path, transport: str) -> Iterator[Callable[..., Server]]:
    """Start servers with settings of the test's own; each must end with exit code 0, unless the test ended it."""
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
        print(server.errors, file=sys.stderr)  # pytest shows it where the test failed
        if server.process.poll() is None:
            server.stop()
        else:
            server.wait()


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A Valkey for several servers."""
    with Valkey() as valkey:
        yield valkey


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The SQLite database of those whom `serve_shared` starts."""
    return tmp_path / "shared.db"


@pytest.fixture
def serve_shared(serve: Callable[..., Server], valkey: Valkey, database: Path) -> Callable[..., Server]:
    """Start servers, with settings of the test's own, that share a Valkey, a database and a secret."""
    shared = [f"server.secret={'s' * 32}", f"redis.url={valkey.url}", f"plugins.sqlite.path={database}"]
    return partial(serve, *shared)


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    """A server as shipped, where one person may talk fast."""
    return serve("limits.messages_per_second=100000", "limits.burst=100000")


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory, transport: str) -> Iterator[Server]:
    """One server for all tests of a module that leave it as it was."""
    with Server(tmp_path_factory.mktemp("shared"), transports=[transport]) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium. Skipped where there is none, but never in CI."""
    missing = None
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing = "playwright is not installed"
    if chromium is None:
        missing = "there is no Chromium on this machine"
    if missing is not None:
        if os.environ.get("CI"):
            pytest.fail(f"{missing}, and in CI this is not skipped")
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def idkit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with IDKit's bundle for browsers. Skipped where npm cannot fetch it, but never in CI."""
    return fetch(tmp_path_factory.mktemp("idkit"))


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    visitors: list[Visitor] = []

    def visit(**options: bool) -> Visitor:
        visitors.append(Visitor(browser, **options))
        return visitors[-1]

    yield visit
    for one in visitors:
        one.context.close()
    for one in visitors:
        assert one.problems == []


@pytest.fixture
def plugin_path() -> dict[str, str]:
    """An environment in which the plugin of `data/plugin` is installed, as if by pip."""
    return {"PYTHONPATH": str(Path(__file__).parent / "data" / "plugin")}
