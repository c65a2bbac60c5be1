"""Errors as a page for a browser and as JSON for everybody else; deep links in other forms."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from evanesce.errors import CommandError, ErrorCode, RateLimited
from evanesce.interfaces import HttpRequest, HttpResponse, HttpRoute
from evanesce_transports.error_texts import error_texts
from evanesce_transports.response import error_page, prefers_page
from tests.transports.serving import (
    ORIGIN,
    QUART,
    TRANSPORTS,
    TRIO_WEBSOCKET,
    FakeGateway,
    Listening,
    address_limits,
    listening,
    upgrade_request,
)

on_each = pytest.mark.parametrize("transport", TRANSPORTS)

BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
ROOM = "5b1f2c1e-0d3e-4c7e-8a43-6f4ad1f0d3a1"


def ask(line: str, *headers: bytes, accept: bytes | None = BROWSER) -> bytes:
    """Write a request; `line` is its method and target."""
    lines = [f"{line} HTTP/1.1".encode(), b"Host: x", *headers]
    if accept is not None:
        lines.append(b"Accept: " + accept)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def read(answer: bytes) -> tuple[int, dict[str, str], str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return int(lines[0].split()[1]), headers, body.decode()


def check_page(answer: bytes, expected: int, home: str | None = None) -> str:
    """See that an answer is a whole page that needs nothing else, and give it."""
    status, headers, body = read(answer)
    assert (status, headers["content-type"]) == (expected, "text/html; charset=utf-8")
    assert headers["vary"].startswith("Accept") or "\r\nvary: Accept\r\n" in answer.decode()
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert int(headers["content-length"]) == len(body.encode())
    [style] = re.findall(r"<style>(.*)</style>", body, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert not re.search(r"<script|<link|<img|\ssrc=|\sstyle=|\son\w+=|url\(|\$\w", body)
    assert f"Error {expected}<" in body
    assert re.findall(r'href="([^"]*)"', body) == ([] if home is None else [home])
    return body


async def fail(request: HttpRequest) -> HttpResponse:
    raise CommandError(ErrorCode.REJECTED, "<script>alert(1)</script> & \"more\" 'text'")


async def break_down(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a secret of the server")


QUART_ERRORS = [
    (ask("GET /nothing"), 404),
    (ask("GET /static/nothing.js"), 404),
    (ask("GET /r/a/b"), 404),
    (ask("POST /healthz"), 405),
    (ask("GET /ws"), 426),
    (ask("GET /fail"), 403),
    (ask("GET /break"), 500),
    (ask("GET /healthz", b"X: \x7f"), 400),
    (ask("POST /healthz", b"Content-Length: 999999"), 413),
    (ask("POST /healthz", b"Transfer-Encoding: chunked"), 411),
    (ask("GET /api/nothing"), 404),
    (ask("GET /healthz", b"X: " + b"x" * 20_000), 431),
    (ask("GET /healthz").replace(b"HTTP/1.1", b"HTTP/2.0"), 505),
    (ask("GET http://x/nothing"), 404),
    (upgrade_request("/nothing", accept=BROWSER.decode()), 404),
    (upgrade_request(origin="https://evil.example", accept=BROWSER.decode()), 403),
    (upgrade_request(sec_websocket_version="8", accept=BROWSER.decode()), 426),
]
TRIO_WEBSOCKET_ERRORS = [
    (ask("GET /"), 404),
    (ask("GET /ws"), 426),
    (ask("GET /", b"X: \x7f"), 400),
    (upgrade_request(origin="https://evil.example", accept=BROWSER.decode()), 403),
]
ERRORS = [(QUART, *row) for row in QUART_ERRORS] + [(TRIO_WEBSOCKET, *row) for row in TRIO_WEBSOCKET_ERRORS]


@pytest.mark.parametrize(("transport", "request_", "expected"), ERRORS)
async def test_a_browser_gets_a_page_and_anybody_else_json(
    gateway: FakeGateway, transport: str, faults: list[str], request_: bytes, expected: int
) -> None:
    gateway.routes = [HttpRoute("GET", "/fail", fail), HttpRoute("GET", "/break", break_down)]
    if expected == 500:
        faults += ["a request failed"] * 2
    async with listening(gateway, transport) as server:
        page = await server.exchange(request_)
        plain = await server.exchange(request_.replace(BROWSER, b"*/*"))
    # What is cut off for its size may not show what it prefers.
    body = check_page(page, expected, "/" if transport == QUART else None) if expected != 431 else ""
    status, headers, text = read(plain)
    assert (status, headers["content-type"]) == (expected, "application/json")
    error = json.loads(text)
    assert error.keys() >= {"code", "message", "retry"}
    assert "<script" not in body
    assert "secret" not in body
    if expected == 403 and "GET /fail" in request_.decode():
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;more&quot; &#x27;text&#x27;" in body


@on_each
async def test_a_foreign_name_and_too_many_requests(gateway: FakeGateway, transport: str) -> None:
    gateway.known_hosts = {"x"}
    gateway.address_limits = address_limits(handshakes=1, exempt=())
    foreign = ask("GET /<script>").replace(b"Host: x", b"Host: evil.example")
    async with listening(gateway, transport) as server:
        body = check_page(await server.exchange(foreign), 421)
        assert "evil" not in body
        assert "<script" not in body
        await server.exchange(ask("GET /nothing"))
        answer = await server.exchange(ask("GET /nothing"))
        assert "Try again in 1 second." in check_page(answer, 429, "/" if transport == QUART else None)
        assert read(answer)[1]["retry-after"] == "1"


@on_each
async def test_a_draining_server(gateway: FakeGateway, transport: str) -> None:
    gateway.draining = True
    async with listening(gateway, transport) as server:
        answer = await server.exchange(upgrade_request(accept=BROWSER.decode()))
    check_page(answer, 503, "/" if transport == QUART else None)


@on_each
async def test_head_has_the_headers_alone(gateway: FakeGateway, transport: str) -> None:
    requests = [ask("HEAD /nothing"), ask("HEAD /ws"), ask("HEAD /nothing", b"X: \x7f")]
    async with listening(gateway, transport) as server:
        for request in [*requests, *(request.replace(BROWSER, b"*/*") for request in requests)]:
            status, headers, body = read(await server.exchange(request))
            whole = read(await server.exchange(request.replace(b"HEAD", b"GET")))
            assert (status, headers["content-length"], body) == (whole[0], whole[1]["content-length"], ""), request
            assert int(headers["content-length"]) > 0


async def test_the_errors_of_the_api_are_json_whatever_its_client_accepts(server: Listening) -> None:
    """By the protocol; and some HTTP libraries say by themselves that they accept HTML."""
    origin = b"Origin: " + ORIGIN.encode()
    for request in (
        ask("GET /api/v1/nothing", origin),
        ask("PUT /api/v1/me", origin),
        ask("GET /api/v1/me", origin, b"X: \x7f"),
        ask("GET http://x/api/v1/me", origin, b"X: \x7f"),
        ask("POST /api/v1/session", origin, b"Content-Length: 999999"),
        ask("POST /api/v1/session", origin, b"Content-Length: 1") + b"{",
        upgrade_request("/api/v1/me", origin=ORIGIN, accept=BROWSER.decode()),
    ):
        _, headers, body = read(answer := await server.exchange(request))
        assert headers["content-type"] == "application/json", request
        assert json.loads(body).keys() >= {"code", "message", "retry"}
        assert headers["access-control-allow-origin"] == ORIGIN
        assert b"\r\nvary: Accept\r\n" in answer
        assert b"\r\nvary: Origin\r\n" in answer


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (BROWSER.decode(), True),
        ("text/html", True),
        ("TEXT/HTML", True),
        ("text/*", True),
        ("text/html;level=1", True),
        ("text/html;q=0.5, application/json;q=0.4", True),
        ("text/html, */*;q=0.9", True),
        ("application/json;q=0.9, text/html", True),
        ("text/html; q=1.000, application/json; Q=0.999", True),
        ("text/plain, text/html", True),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/*", False),
        ("text/plain", False),
        ("text/html, application/json", False),
        ("text/html, */*", False),
        ("text/html;q=0", False),
        ("text/html;q=0, */*", False),
        ("text/html;q=0.4, application/json;q=0.5", False),
        ("text/html;q=nan", False),
        ("text/html;q=inf", False),
        ("text/html;q=2", False),
        ("text/html;q=-1", False),
        ("text/html;q=x", False),
        ("text/html;q=", False),
        ("text/html/x", False),
        (",;=,;", False),
        ("\xa0text/html\xff", False),
    ],
)
async def test_what_a_request_prefers(server: Listening, accept: str, page: bool) -> None:
    assert prefers_page([accept]) is page
    for request in (
        ask("GET /nothing", accept=accept.encode("latin-1")),
        ask("GET /ws", accept=accept.encode("latin-1")),
    ):
        _, headers, _ = read(await server.exchange(request))
        assert headers["content-type"] == ("text/html; charset=utf-8" if page else "application/json"), request


def test_accept_in_several_lines_is_one_list() -> None:
    assert prefers_page(["application/json;q=0.1", "text/html"])
    assert not prefers_page(["application/json", "text/html"])
    assert not prefers_page([])


def test_a_page_says_when_to_come_back_and_escapes_everything() -> None:
    page = error_page(429, RateLimited("<b>$title</b>", 1.2), home='/a"b').decode()
    assert "Try again in 2 seconds." in page
    assert "&lt;b&gt;$title&lt;/b&gt;" in page
    assert 'href="/a&quot;b"' in page


@pytest.mark.parametrize(
    ("wanted", "language", "title"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de", "Seite nicht gefunden"),
        ("fr, ar;q=0.5, en;q=0.4", "ar", "الصفحة غير موجودة"),
        ("en;q=0.3, DE;q=0.7", "de", "Seite nicht gefunden"),
        ("fr", "en", "Page not found"),
        ("de;q=no, en;q=0.1", "en", "Page not found"),
        ("", "en", "Page not found"),
    ],
)
@on_each
async def test_a_page_is_in_the_language_of_the_browser(
    gateway: FakeGateway, transport: str, wanted: str, language: str, title: str
) -> None:
    async with listening(gateway, transport) as server:
        header = b"Accept-Language: " + wanted.encode()
        answer = await server.exchange(ask("GET /nothing", header))
    _, _, body = read(answer)
    direction = "rtl" if language == "ar" else "ltr"
    assert f'<html lang="{language}" dir="{direction}">' in body
    assert f"<h1>{title}</h1>" in body
    assert "Accept, Accept-Language" in answer.decode()


@pytest.mark.parametrize("language", ["en", "de", "ar"])
def test_every_status_has_a_title_in_every_language(language: str) -> None:
    texts, english = error_texts([language]), error_texts([])
    assert texts.language == language
    assert texts.titles.keys() == english.titles.keys()
    assert texts.explanations.keys() <= texts.titles.keys()
    if language != "en":
        assert not set(texts.titles.values()) & set(english.titles.values())


# Deep links


@pytest.mark.parametrize(
    ("path", "location"),
    [
        (f"/r/{ROOM}", None),
        (f"/r/{ROOM}?from=chat", None),
        (f"/r/{ROOM}/", f"../{ROOM}"),
        (f"/r/{ROOM}/?from=chat", f"../{ROOM}"),
        (f"/r/{ROOM.upper()}", ROOM),
        (f"/r/{ROOM.upper()}/", f"../{ROOM}"),
        (f"/r/{ROOM.replace('-', '%2D')}", ROOM),
        (f"/r/%35{ROOM[1:]}/", f"../{ROOM}"),
        (f"http://x/r/{ROOM.upper()}", ROOM),
        ("/r/nonsense", None),
        ("/r/NONSENSE/", None),
        (f"/r/{ROOM}x/", None),
        (f"/r/{{{ROOM}}}", None),
        ("/r/javascript:alert(1)/", None),
    ],
)
async def test_deep_links_in_other_forms(server: Listening, path: str, location: str | None) -> None:
    for method in ("GET", "HEAD"):
        status, headers, body = read(await server.exchange(ask(f"{method} {path}")))
        assert (status, headers.get("location")) == ((200, None) if location is None else (301, location))
        assert ("<title>Evanesce</title>" in body) == (location is None and method == "GET")
