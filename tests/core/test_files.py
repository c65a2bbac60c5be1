"""Files that are served: read once, with the type that browsers insist on."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from evanesce.files import content_type, file_route
from evanesce.interfaces import HttpRequest


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("a.js", {"text/javascript; charset=utf-8", "application/javascript; charset=utf-8"}),
        ("a.css", {"text/css; charset=utf-8"}),
        ("a.html", {"text/html; charset=utf-8"}),
        ("a.json", {"application/json"}),
        ("a.svg", {"image/svg+xml"}),
        ("a.wasm", {"application/wasm"}),
        ("a", {"application/octet-stream"}),
    ],
)
def test_types(name: str, kinds: set[str]) -> None:
    assert content_type(name) in kinds


@pytest.mark.parametrize(("for_ever", "caching"), [(False, "no-cache"), (True, "public, max-age=31536000, immutable")])
async def test_a_file_is_read_once(tmp_path: Path, for_ever: bool, caching: str) -> None:
    file = tmp_path / "words.css"
    file.write_text("p { color: red }")
    route = file_route("/words/words.css", file, for_ever=for_ever)
    file.unlink()
    assert (route.method, route.path) == ("GET", "/words/words.css")
    answer = await route.handle(HttpRequest(method="GET", path=route.path, query={}, headers={}, body=b"", user=None))
    assert answer.body == b"p { color: red }"
    assert (answer.status, answer.content_type) == (200, "text/css; charset=utf-8")
    assert answer.headers["Cache-Control"] == caching


@pytest.mark.parametrize(
    ("headers", "packed"),
    [
        ({}, False),
        ({"Accept-Encoding": "gzip, deflate, br"}, True),
        ({"accept-encoding": "br,gzip"}, True),
        ({"Accept-Encoding": "br, gzip;q=0"}, False),
        ({"Accept-Encoding": "xgzip"}, False),
    ],
)
async def test_it_is_packed_for_who_takes_that(tmp_path: Path, headers: dict[str, str], packed: bool) -> None:
    file = tmp_path / "words.txt"
    file.write_text("again " * 1000)
    route = file_route("/words.txt", file)
    answer = await route.handle(
        HttpRequest(method="GET", path=route.path, query={}, headers=headers, body=b"", user=None)
    )
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers.get("Content-Encoding") == ("gzip" if packed else None)
    assert (gzip.decompress(answer.body) if packed else answer.body) == b"again " * 1000
    assert not packed or len(answer.body) < 100
