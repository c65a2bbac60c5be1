"""The page as an app: its manifest, and its service worker, which keeps files and no content."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.browsers import BrowserClient
from tests.e2e.pathproxy import PathProxy
from tests.e2e.running import Server

pytestmark = pytest.mark.slow

TRANSPORTS = Path(__file__).parents[2] / "transports" / "evanesce_transports"
PATH = "/apps/chat"
STYLE = "new URL(document.querySelector('link[rel=stylesheet]').href).pathname.slice(1)"
CANARY = "canary-2f1c9a"
WORKER = "navigator.serviceWorker.ready.then(({ active, scope }) => [active.scriptURL, scope])"
ACTIVE = """async () => {
    const { active } = await navigator.serviceWorker.ready;
    while (active.state !== "activated") await new Promise((done) => active.addEventListener("statechange", done));
}"""
UPDATED = """async () => {
    const registration = await navigator.serviceWorker.ready;
    await registration.update();
    const newest = registration.installing ?? registration.waiting ?? registration.active;
    while (newest.state !== "activated") {
        await new Promise((done) => newest.addEventListener("statechange", done, { once: true }));
    }
}"""
KEPT = """async () => {
    const kept = [];
    for (const name of await caches.keys()) {
        const cache = await caches.open(name);
        for (const request of await cache.keys()) {
            const response = await cache.match(request);
            kept.push({ cache: name, address: new URL(request.url).pathname, text: await response.text() });
        }
    }
    return kept;
}"""


@pytest.fixture
def below_a_path(serve: Callable[..., Server]) -> Iterator[tuple[Server, str]]:
    """A server below a path, behind a proxy that leaves the path. Return it with the address that people use."""
    with PathProxy(PATH, strips=False) as proxy:
        server = serve(f"server.public_url={proxy.url}/", 'plugins.quart.trusted_proxies=["127.0.0.1"]')
        proxy.port = server.port
        yield server, proxy.url


def enter(client: BrowserClient, link: str) -> None:
    """Open a room, with a service worker that controls the page."""
    client.sign_in(link, "Ana")
    client.in_room(1)
    client.page.evaluate(ACTIVE)
    client.page.reload()
    client.in_room(1)
    assert client.page.evaluate("navigator.serviceWorker.controller !== null")


def test_it_keeps_files_alone_and_has_a_page_without_a_network(
    below_a_path: tuple[Server, str], browser_client: Callable[..., BrowserClient]
) -> None:
    server, address = below_a_path
    ana = browser_client(worker=True)
    link = server.open_room()["deepLink"]
    assert link.startswith(address)
    enter(ana, link)
    assert ana.page.evaluate(WORKER) == [f"{address}/service-worker.js", f"{address}/"]
    ana.say(CANARY)
    ana.sees(CANARY)
    ana.page.reload()
    ana.sees(CANARY)
    token = ana.page.evaluate(f"JSON.parse(localStorage.getItem('evanesce.account{PATH}')).token")
    kept = ana.page.evaluate(KEPT)
    assert {one["address"].rpartition("/")[2] for one in kept} >= {"offline.html", "chat.css", "icon.svg", "chat.js"}
    for one in kept:
        assert one["address"].startswith(f"{PATH}/static/")
        assert one["cache"].startswith(f"evanesce {address}/ static/")
        assert CANARY not in one["text"]
        assert token not in one["text"]

    ana.context.set_offline(True)
    ana.page.reload()
    ana.shows("h1:has-text('No connection')")
    assert ana.page.url == link
    assert ana.page.evaluate("getComputedStyle(document.querySelector('main')).display") != "inline"
    assert ana.page.evaluate("document.styleSheets[0].cssRules.length > 10"), "with its style"
    ana.context.set_offline(False)
    ana.page.click("text=Try again")
    ana.in_room(1)
    ana.expect("net::ERR_INTERNET_DISCONNECTED")


def test_a_new_version_takes_over_and_old_files_go(
    serve: Callable[..., Server], browser_client: Callable[..., BrowserClient], tmp_path: Path
) -> None:
    shutil.copytree(TRANSPORTS, tmp_path / "version" / TRANSPORTS.name)
    style = tmp_path / "version" / TRANSPORTS.name / "quart" / "static" / "base.css"
    server = serve(environment={"PYTHONPATH": str(tmp_path / "version")})
    ana = browser_client(worker=True)
    enter(ana, server.open_room()["deepLink"])
    other = "evanesce https://another.example/ static/0"
    ana.page.evaluate("name => caches.open(name)", other)
    versions = [files_of(ana, server)]
    for number in range(2):
        server.stop()
        with style.open("a") as file:
            file.write(f"#brand {{ --version: {number}; }}")
        server.start()
        ana.page.reload()
        ana.in_room(1)
        versions.append(ana.page.evaluate(STYLE).rpartition("/")[0])
        shown = ana.page.evaluate("getComputedStyle(document.querySelector('#brand')).getPropertyValue('--version')")
        assert shown.strip() == str(number), "the page is of the new version at once, whatever worker answers"
        ana.page.evaluate(UPDATED)
        assert ana.page.evaluate("name => caches.has(name)", f"evanesce {server.url}/ {versions[-1]}")
    assert len(set(versions)) == 3
    expected = {other, *(f"evanesce {server.url}/ {version}" for version in versions[1:])}
    ana.page.wait_for_function("async (count) => (await caches.keys()).length === count", arg=len(expected))
    assert set(ana.page.evaluate("caches.keys()")) == expected
    ana.expect("net::ERR_CONNECTION")


def files_of(client: BrowserClient, server: Server) -> str:
    """Return the folder of the files that the page uses, without the address of the server."""
    folder: str = client.page.evaluate(STYLE).rpartition("/")[0]
    assert folder.startswith("static/")
    assert server.ask("GET", f"/{folder}/chat.css")[0] == 200
    return folder


@pytest.mark.parametrize(("locale", "title"), [("de-AT", "Keine Verbindung"), ("ar-EG", "لا يوجد اتصال")])
def test_the_page_without_a_network_is_in_the_language_of_the_browser(
    shared_server: Server, browser_client: Callable[..., BrowserClient], locale: str, title: str
) -> None:
    ana = browser_client(worker=True, locale=locale)
    ana.page.goto(shared_server.url)
    ana.page.evaluate(ACTIVE)
    ana.expect("net::ERR_INTERNET_DISCONNECTED")
    ana.context.set_offline(True)
    ana.page.reload()
    ana.shows(f"h1:has-text('{title}')")
    assert ana.page.locator("h1:visible").count() == 1
    assert ana.page.evaluate("document.documentElement.lang") == locale[:2]


def test_the_manifest(server: Server, browser_client: Callable[..., BrowserClient]) -> None:
    ana = browser_client(worker=True)
    ana.page.goto(server.url)
    ana.page.evaluate(ACTIVE)
    session = ana.context.new_cdp_session(ana.page)
    found = session.send("Page.getAppManifest")
    assert found["errors"] == []
    assert found["url"].endswith("/manifest.webmanifest")
    assert json.loads(found["data"])["name"] == "Evanesce"
    problems = {problem["errorId"] for problem in session.send("Page.getInstallabilityErrors")["installabilityErrors"]}
    assert problems <= {"in-incognito"}  # as all pages of tests are
