"""A server whose public address has a path, behind a real proxy that takes the path away or leaves it."""

from __future__ import annotations

import http.client
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
import trio

from tests.e2e.browsers import BrowserClient
from tests.e2e.clients import until
from tests.e2e.pathproxy import PathProxy
from tests.e2e.running import TRANSPORTS, Server
from tests.e2e.terminals import Terminal
from tests.e2e.test_page_worldid import grouped, kept, sign_up
from tests.e2e.world_app import IDKIT, WorldApp
from tests.worldid.humans import configuration
from tests.worldid.process import SimulatorProcess, running

pytestmark = pytest.mark.slow

PATH = "/apps/chat"
Serve = Callable[..., Server]


@pytest.fixture(params=["the proxy strips the path", "the proxy leaves the path"])
def proxy(request: pytest.FixtureRequest) -> Iterator[PathProxy]:
    with PathProxy(PATH, strips=request.param == "the proxy strips the path") as proxy:
        yield proxy


def behind(proxy: PathProxy, serve: Serve, *settings: str, transport: str = "quart") -> Server:
    """Start a server that people reach through `proxy` alone."""
    trusted = f'plugins.{transport}.trusted_proxies=["127.0.0.1"]'
    server = serve(f"server.public_url={proxy.url}/", trusted, *settings, transports=(transport,))
    proxy.port = server.port
    return server


def get(url: str, target: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request("GET", target, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_a_browser_and_a_terminal_talk(
    proxy: PathProxy, serve: Serve, browser_client: Callable[..., BrowserClient]
) -> None:
    behind(proxy, serve)
    ana, ben = browser_client(), browser_client()
    ana.sign_in(proxy.url, "Ana")
    ana.in_room(1)
    link = ana.page.url
    assert link.startswith(f"{proxy.url}/r/")
    ana.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ana.page.click("#room-share")
    ana.page.click("#dialog-share .copy")
    ana.shows("#dialog-share .copy:has-text('Copied')")
    ana.page.keyboard.press("Escape")
    assert ana.page.evaluate("navigator.clipboard.readText()") == link
    ben.sign_in(link, "Ben")
    ben.in_room(2)
    with Terminal(link, "Cleo") as cleo:
        cleo.sees("you are in the room")
        ana.say("hello below a path")
        ben.sees("hello below a path")
        cleo.sees("Ana: hello below a path")
        cleo.type("and from a terminal")
        ana.sees("and from a terminal")
        cleo.type("/quit")
        assert cleo.ends() == (0, "")
    ana.page.click("#room-menu-open")
    ana.page.click("#room-leave")
    ana.shows("#home")
    assert ana.page.url == f"{proxy.url}/"
    ana.page.click("#home-rooms a")
    ana.in_room(2)
    assert ana.page.url == link
    ana.page.reload()
    ana.in_room(2)
    ana.page.click("#brand")
    ana.shows("#home")
    assert ana.page.url == f"{proxy.url}/"
    assert set(ana.page.evaluate("Object.keys(localStorage)")) == {f"evanesce.account{PATH}"}
    assert [path for path in proxy.refused if path != "/favicon.ico"] == []


def test_all_that_the_server_has_is_below_it(proxy: PathProxy, serve: Serve) -> None:
    server = behind(proxy, serve)
    origin = f"http://{urlsplit(proxy.url).netloc}"
    page = get(proxy.url, f"{PATH}/")[2].decode()
    loaded = re.findall(r'(?:src|href|content)="(/[^"]*[.][a-z]+)"', page)
    assert len(loaded) >= 5
    for address in loaded:
        assert address.startswith(f"{PATH}/")
        assert get(proxy.url, address)[0] == 200, address
    manifest = next(address for address in loaded if address.endswith(".webmanifest"))
    start = json.loads(get(proxy.url, manifest)[2])["start_url"]
    assert urljoin(f"{origin}{manifest}", start) == f"{proxy.url}/"
    for target, kind in [
        ("", "text/html"),
        ("/", "text/html"),
        ("/?x=/", "text/html"),
        ("/service-worker.js", "text/javascript"),
        ("/healthz", "application/json"),
        ("/readyz", "application/json"),
        ("/metrics", "text/plain"),
    ]:
        status, headers, _ = get(proxy.url, PATH + target)
        assert (status, headers.get_content_type()) == (200, kind), target
        assert headers["Content-Security-Policy"], target
    framed: dict[str, str] = {"Transfer_Encoding": "chunked"}  # which the application never sees
    for more, wanted in ({}, 401), (framed, 411):
        status, headers, _ = get(proxy.url, f"{PATH}/api/v1/me", Origin=origin, **more)
        assert (status, headers["Access-Control-Allow-Origin"]) == (wanted, origin), "refused, and told so"
    assert get(proxy.url, f"{PATH}/nothing")[0] == 404
    assert get(server.url, "/healthz")[0] == 200, "a probe that goes round the proxy"
    assert get(server.url, f"{PATH}/healthz")[0] == 200
    assert get(server.url, f"{PATH}x/healthz")[0] == 404
    assert get(server.url, f"{PATH}{PATH}/healthz")[0] == 404


def test_a_websocket_on_each_transport(proxy: PathProxy, serve: Serve) -> None:
    room = "5b1f2c1e-0d3e-4c7e-8a43-6f4ad1f0d3a1"
    for transport in TRANSPORTS:
        behind(proxy, serve, transport=transport)
        with Terminal(f"{proxy.url}/r/{room}", "Ana") as ana:
            code, errors = ana.ends()
        assert code == 1
        assert "There is no such room" in errors or "not found" in errors.lower(), errors


def test_sign_in_with_world_id(
    proxy: PathProxy, serve: Serve, browser_client: Callable[..., BrowserClient], tmp_path: Path
) -> None:
    (tmp_path / "world").mkdir()
    with running(tmp_path / "world", "--bind", "127.0.0.1:0") as world:
        sign_in_with_world_id(proxy, serve, browser_client, world)


def sign_in_with_world_id(
    proxy: PathProxy, serve: Serve, browser_client: Callable[..., BrowserClient], world: SimulatorProcess
) -> None:
    server = behind(proxy, serve, *configuration(world, "guest", idkit=str(IDKIT)))
    ada = browser_client()
    app = WorldApp(ada, world, "Ada")
    link = server.open_room()["deepLink"]
    assert link.startswith(f"{proxy.url}/r/")
    sign_up(ada, link, "Ada")
    ada.in_room(1)
    assert [asked["kind"] for asked in app.asked] == ["create_session", "sign_up"]
    code = kept(ada, f"evanesce.worldid{PATH}")["accountCode"]
    ada.page.click("#account-open")
    ada.shows(f"#account:has-text('{grouped(code)}')")
    assert [path for path in proxy.refused if path != "/favicon.ico"] == []


@pytest.mark.parametrize("path", ["/api", "/api/v1", "/static", "/r", "/ws", "/healthz", "/guest"])
def test_a_path_that_the_server_has_itself_is_refused(tmp_path: Path, path: str) -> None:
    from tests.core.cli.test_commands import run

    for command in ("check", "serve"):
        done = run(tmp_path, command, "--set", f"server.public_url=http://127.0.0.1:8000{path}")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("evanesce: server.public_url: has a path that is the server's own")


def test_deep_links_are_of_the_present_address_and_the_database_follows(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        account = server.sign_in("Ana")
        room = server.open_room(account["token"])
        assert room["deepLink"] == f"{server.url}/r/{room['roomId']}"
    moved = f"{server.url}/chat"
    with Server(tmp_path, f"server.public_url={moved}") as server:
        expected = f"{moved}/r/{room['roomId']}"
        found = server.ask("GET", f"/api/v1/rooms/{room['roomId']}", token=account["token"])[1]
        listed = server.ask("GET", "/api/v1/rooms", token=account["token"])[1]["rooms"]
        assert [one["deepLink"] for one in (found, *listed)] == [expected, expected]
        trio.run(until, lambda: stored(server) == [expected], 30.0)


def stored(server: Server) -> list[str]:
    database = sqlite3.connect(server.database)
    try:
        return [link for [link] in database.execute('SELECT deepLink FROM "ChatRoom"')]
    finally:
        database.close()
