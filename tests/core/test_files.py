"""Files that are served: read once, with the type that browsers insist on."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import brotli
import pytest

from evanesce.files import content_type, file_route, file_routes, static_file
from evanesce.interfaces import HttpRequest, HttpResponse, HttpRoute


async def ask(route: HttpRoute, headers: dict[str, str]) -> HttpResponse:
    request = HttpRequest(method="GET", path=route.path, query={}, headers=headers, body=b"", user=None)
    return await route.handle(request)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("a.js", {"text/javascript; charset=utf-8", "application/javascript; charset=utf-8"}),
        ("a.css", {"text/css; charset=utf-8"}),
        ("a.html", {"text/html; charset=utf-8"}),
        ("a.json", {"application/json"}),
        ("a.svg", {"image/svg+xml"}),
        ("a.wasm", {"application/wasm"}),
        ("a.webmanifest", {"application/manifest+json"}),
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
    answer = await ask(route, {})
    assert answer.body == b"p { color: red }"
    assert (answer.status, answer.content_type) == (200, "text/css; charset=utf-8")
    assert answer.headers["Cache-Control"] == caching


UNPACKED: dict[str | None, Callable[[bytes], bytes]] = {None: bytes, "gzip": gzip.decompress, "br": brotli.decompress}


@pytest.mark.parametrize(
    ("headers", "coding"),
    [
        ({}, None),
        ({"Accept-Encoding": "gzip, deflate, br"}, "br"),
        ({"accept-encoding": "gzip"}, "gzip"),
        ({"Accept-Encoding": "BR;q=0, gzip;q=0.1"}, "gzip"),
        ({"Accept-Encoding": "br;q=0.000, gzip; q=0"}, None),
        ({"Accept-Encoding": "xgzip"}, None),
        ({"Accept-Encoding": "x," * 100 + "gzip"}, None),
    ],
)
async def test_it_is_packed_for_who_takes_that(tmp_path: Path, headers: dict[str, str], coding: str | None) -> None:
    file = tmp_path / "words.txt"
    file.write_text("again " * 1000)
    answer = await ask(file_route("/words.txt", file), headers)
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers.get("Content-Encoding") == coding
    assert UNPACKED[coding](answer.body) == b"again " * 1000
    assert coding is None or len(answer.body) < 100


def test_what_does_not_get_smaller_is_not_packed() -> None:
    assert set(static_file(b"{}", "application/json").forms) == {"identity"}
    assert set(static_file(b" " * 1000, "image/png").forms) == {"identity"}


@pytest.mark.parametrize("kind", ['W/"{0}"', '"{0}"', '"other", W/"{0}"', "*"])
async def test_a_client_that_has_the_file_gets_it_no_second_time(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "words.txt"
    file.write_text("again " * 1000)
    route = file_route("/words.txt", file)
    etag = (await ask(route, {})).headers["ETag"]
    known = kind.format(etag.removeprefix('W/"').removesuffix('"'))
    answer = await ask(route, {"If-None-Match": known, "Accept-Encoding": "gzip"})
    assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", etag)
    assert answer.headers["Cache-Control"] == "no-cache"
    assert (await ask(route, {"If-None-Match": '"other"'})).status == 200
    file.write_text("another")
    assert (await ask(file_route("/words.txt", file), {"If-None-Match": known})).status == (304 if kind == "*" else 200)


async def test_files_of_a_folder_have_new_paths_where_one_changes(tmp_path: Path) -> None:
    files = [tmp_path / "one.js", tmp_path / "two.css"]
    for file in files:
        file.write_text("1")
    first = file_routes("/it", files)
    assert re.fullmatch("/it/[0-9a-f]{16}/one[.]js", first["one.js"].path)
    assert first["two.css"].path == first["one.js"].path.replace("one.js", "two.css")
    assert (await ask(first["one.js"], {})).headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert file_routes("/it", files[::-1])["one.js"].path == first["one.js"].path
    files[1].write_text("2")
    assert file_routes("/it", files)["one.js"].path != first["one.js"].path
