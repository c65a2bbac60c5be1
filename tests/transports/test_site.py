"""The web client's pages and files: what is served, how browsers keep it, and connections with several requests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import brotli
import pytest
import trio

from evanesce.files import file_routes
from evanesce.interfaces import SignInPage
from tests.patience import PATIENCE
from tests.transports.serving import FakeGateway, Listening, listening, read_all, upgrade_request

ROOM = "00000000-0000-4000-8000-000000000001"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; "
    "worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types evanesce"
)


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


async def receive(stream: trio.abc.Stream, *, body: bool = True) -> Answer:
    """Read one response, and no byte more."""
    head = b""
    with trio.fail_after(PATIENCE):
        while not head.endswith(b"\r\n\r\n"):
            byte = await stream.receive_some(1)
            assert byte, head
            head += byte
        first, *lines = head.decode().strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        size, data = int(headers.get("content-length", "0")) if body else 0, b""
        while len(data) < size:
            data += await stream.receive_some(size - len(data))
    return Answer(int(first.split(" ")[1]), headers, data)


def request(path: str, method: str = "GET", version: str = "1.1", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/{version}\r\nHost: x\r\n{lines}\r\n".encode()


async def get(server: Listening, path: str, method: str = "GET", **headers: str) -> Answer:
    async with await server.connect() as stream:
        await stream.send_all(request(path, method, Connection="close", **headers))
        return await receive(stream, body=method != "HEAD")


async def addresses(server: Listening) -> list[str]:
    """Return the addresses of all files that the page names."""
    page = (await get(server, "/")).body.decode()
    return re.findall(r'(?:src|href)="(/[^"]+[.][a-z]+)"', page)


async def script(server: Listening) -> str:
    return next(path for path in await addresses(server) if path.endswith("/chat.js"))


@pytest.mark.parametrize("path", ["/", f"/r/{ROOM}", "/r/nonsense", "/r/nonsense/"])
async def test_the_page(server: Listening, path: str) -> None:
    answer = await get(server, path)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert "microphone=()" in answer.headers["permissions-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"
    assert b"<html" in answer.body


@pytest.mark.parametrize(
    ("path", "location"),
    [
        (f"/r/{ROOM}/", f"../{ROOM}"),
        ("/r/ABCDEF00-0000-4000-8000-000000000001", "abcdef00-0000-4000-8000-000000000001"),
        (f"/r/%30{ROOM[1:]}", ROOM),
    ],
)
async def test_a_deep_link_that_is_not_canonical(server: Listening, path: str, location: str) -> None:
    answer = await get(server, path)
    assert (answer.status, answer.headers["location"], answer.body) == (301, location, b"")
    assert answer.headers["cache-control"] == "no-store"


async def test_a_page_that_a_browser_has_is_not_sent_again(server: Listening) -> None:
    etag = (await get(server, "/")).headers["etag"]
    for known in (etag, f'"x", {etag.removeprefix("W/")}'):
        answer = await get(server, f"/r/{ROOM}", If_None_Match=known)
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag)
        assert answer.headers["content-security-policy"] == POLICY
    assert (await get(server, "/", If_None_Match='"another"')).status == 200


async def test_the_ways_to_sign_in(gateway: FakeGateway) -> None:
    first = (await page_with(gateway, [])).headers["etag"]
    pages = [
        SignInPage(
            'b"',
            "/b/b.js?x&y",
            {"script-src": ["'wasm-unsafe-eval'"], "connect-src": ["https://one.example"], "trusted-types": ["b"]},
        ),
        SignInPage(
            "a", "/a.js", {"connect-src": ("https://two.example", "https://one.example"), "font-src": ["data:"]}
        ),
    ]
    answer = await page_with(gateway, pages)
    links = re.findall(r'<meta name="sign-in" content="([^"]*)" data-provider="([^"]*)">', answer.body.decode())
    assert links == [("/b/b.js?x&amp;y", "b&quot;"), ("/a.js", "a")]
    wanted = (
        POLICY.replace("script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'")
        .replace("connect-src 'self'", "connect-src 'self' https://one.example https://two.example")
        .replace("trusted-types evanesce", "trusted-types evanesce b; font-src 'self' data:")
    )
    assert answer.headers["content-security-policy"] == wanted
    assert answer.headers["etag"] != first
    other = [SignInPage(page.provider, page.module) for page in pages]
    assert (await page_with(gateway, other)).headers["etag"] != answer.headers["etag"], "another policy, the same page"


async def page_with(gateway: FakeGateway, pages: list[SignInPage]) -> Answer:
    gateway.sign_in_pages = pages
    async with listening(gateway) as server:
        return await get(server, "/")


async def test_files_are_kept_for_ever(server: Listening) -> None:
    paths = await addresses(server)
    assert len({path.rpartition("/")[0] for path in paths}) == 1
    for path in paths:
        answer = await get(server, path)
        assert answer.status == 200
        assert re.fullmatch(r"/static/[0-9a-f]{16}/[^/]+", path)
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-security-policy"] == POLICY
        assert "connection" in answer.headers
    packed = await get(server, await script(server), Accept_Encoding="gzip, br")
    assert packed.headers["content-encoding"] == "br"
    plain = await get(server, await script(server))
    assert brotli.decompress(packed.body) == plain.body
    assert len(packed.body) * 3 < len(plain.body)
    head = await get(server, await script(server), "HEAD")
    assert (head.status, head.headers["content-length"]) == (200, str(len(plain.body)))


async def test_nothing_else_is_served(server: Listening) -> None:
    folder = (await script(server)).rpartition("/")[0]
    names = (
        *("", "nothing.js", "index.html", "service-worker.js", "client", "client/", "client/package.json"),
        *("client/driver.js", "client/index.js", "client/index.d.ts", "../pages.py", "..%2fpages.py", "chat%2ejs"),
    )
    for path in (
        *(f"{folder}/{name}" for name in names),
        folder,
        "/static/",
        "/static/chat.js",
        "/r/",
        "/r//",
        "/r/a/b",
    ):
        assert (await get(server, path)).status == 404, path


async def test_the_service_worker_knows_the_files(server: Listening) -> None:
    answer = await get(server, "/service-worker.js")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    folder = (await script(server)).rpartition("/")[0].removeprefix("/")
    assert f'const FILES = "{folder}";'.encode() in answer.body
    [names] = re.findall(rb"const OFFLINE = Object.freeze\(\[(.*)\]\);", answer.body)
    kept = json.loads(f"[{names.decode()}]")
    assert set(kept) == {"offline.html", "chat.css", "icon.svg"}
    for name in kept:
        assert (await get(server, f"/{folder}/{name}")).status == 200, name
    offline = (await get(server, f"/{folder}/offline.html")).body.decode()
    used = re.findall(r'<link [^>]*href="([^"]+)"', offline)
    assert {address.rpartition("/")[2] for address in used} <= set(kept), "it has all that it uses"
    manifest = json.loads((await get(server, f"/{folder}/manifest.webmanifest")).body)
    for icon in manifest["icons"]:
        assert (await get(server, f"/{folder}/{icon['src']}")).headers["content-type"] == icon["type"]


@pytest.mark.parametrize("path", ["/", f"/r/{ROOM}", "/service-worker.js"])
async def test_other_methods_are_refused(server: Listening, path: str) -> None:
    for method in ("POST", "DELETE", "OPTIONS"):
        answer = await get(server, path, method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
        assert json.loads(answer.body)["code"] == "unknown_type"


# Connections that are kept


async def test_a_connection_serves_several_files_and_then_something_else(server: Listening) -> None:
    paths = ["/", *await addresses(server)]
    async with await server.connect() as stream:
        for path in paths:
            await stream.send_all(request(path))
            answer = await receive(stream)
            assert answer.status == 200
            assert answer.headers["keep-alive"] == "timeout=5"
            assert "connection" not in answer.headers
        await stream.send_all(request("/", "HEAD"))
        assert (await receive(stream, body=False)).status == 200
        await stream.send_all(request("/healthz"))
        rest = await read_all(stream)
    assert rest.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in rest.lower()


async def test_requests_that_are_sent_at_once_are_answered_in_order(server: Listening) -> None:
    paths = ["/", "/service-worker.js", "/r/x"]
    async with await server.connect() as stream:
        await stream.send_all(b"".join(map(request, paths)))
        kinds = [(await receive(stream)).headers["content-type"] for _ in paths]
    assert kinds == ["text/html; charset=utf-8", "text/javascript; charset=utf-8", "text/html; charset=utf-8"]


async def test_a_websocket_on_a_connection_that_served_a_file(server: Listening) -> None:
    async with await server.connect() as stream:
        await stream.send_all(request("/"))
        await receive(stream)
        await stream.send_all(upgrade_request())
        assert (await receive(stream)).status == 101


@pytest.mark.parametrize(
    "last",
    [
        request("/", Connection="close"),
        request("/", version="1.0", Connection="keep-alive"),
        request("/", Content_Length="3") + b"abc",
        request("/", "HEAD", Content_Length="3") + b"abc",
        request("/", Content_Length="3", Expect="100-continue") + b"abc",
        request("/", Content_Length="0\r\nContent-Length: 3") + b"abc",
        request("/", Content_Length="+3") + b"abc",
        request("/", Transfer_Encoding="chunked") + b"3\r\nabc\r\n0\r\n\r\n",
        request("/", Connection="keep-alive, Close"),
        request("/nothing"),
        request("/", "POST"),
        request("/", X="\x7f"),
    ],
)
@pytest.mark.parametrize("hidden", [request("/"), upgrade_request()])
async def test_what_ends_a_connection(server: Listening, last: bytes, hidden: bytes) -> None:
    """What comes after it, be it a body or a request that a proxy took for one, is not read as a request."""
    async with await server.connect() as stream:
        await stream.send_all(request("/"))
        await receive(stream)
        await stream.send_all(last + hidden)
        rest = await read_all(stream)
    assert rest.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in rest.lower()


async def test_the_requests_of_a_connection_are_counted(server: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evanesce_transports.quart.transport.KEPT_REQUESTS", 3)
    answer = await server.exchange(request("/") * 5)
    assert answer.count(b"HTTP/1.1 200") == 3
    assert answer.lower().count(b"connection: close") == 1


async def test_a_connection_is_kept_for_a_while(server: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evanesce_transports.quart.transport.KEPT_SECONDS", 0.05)
    assert (await server.exchange(request("/"))).count(b"HTTP/1.1 200") == 1


async def test_no_connection_is_kept_while_the_server_goes(server: Listening, gateway: FakeGateway) -> None:
    gateway.draining = True
    assert (await server.exchange(request("/") * 2)).count(b"HTTP/1.1 200") == 1


async def test_no_connection_of_a_proxy_is_kept(gateway: FakeGateway) -> None:
    async with listening(gateway, trusted_proxies=("127.0.0.1",)) as server:
        answer = await server.exchange(request("/", X_Forwarded_For="203.0.113.9") * 2)
    assert answer.count(b"HTTP/1.1 200") == 1


async def test_each_request_of_a_connection_is_checked(server: Listening, gateway: FakeGateway) -> None:
    gateway.known_hosts = {"x"}
    async with await server.connect() as stream:
        await stream.send_all(request("/"))
        await receive(stream)
        await stream.send_all(request("/").replace(b"Host: x", b"Host: evil.example"))
        assert (await receive(stream)).status == 421


async def test_the_file_of_a_plugin(gateway: FakeGateway, tmp_path: Path) -> None:
    file = tmp_path / "part.js"
    file.write_text("export default {};")
    route = file_routes("/part", [file])["part.js"]
    gateway.routes = [route]
    async with listening(gateway) as server, await server.connect() as stream:
        for _ in range(2):
            await stream.send_all(request(route.path))
            answer = await receive(stream)
            assert answer.body == b"export default {};"
            assert answer.headers["cache-control"].endswith("immutable")
