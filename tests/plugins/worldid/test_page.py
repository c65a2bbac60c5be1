"""What the World ID plugin gives the web page: its modules, the library, what they are told, and the policy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evanesce.errors import ConfigurationError
from evanesce.interfaces import HttpRequest, HttpResponse, HttpRoute, Setup
from evanesce_plugins.worldid import page
from evanesce_plugins.worldid.settings import WorldIdSettings
from tests.plugins.worldid.results import settings

STATIC = Path(page.__file__).with_name("static")


def given(folder: Path, deployed: WorldIdSettings) -> Mapping[str, HttpRoute]:
    """Return the routes, by method and path."""
    setup = Setup(
        name="worldid",
        settings=deployed,
        folder=folder,
        public_url="https://chat.example",
        origins=(),
        frame_bytes=65_536,
        outbox_bytes=1_048_576,
    )
    return {f"{route.method} {route.path}": route for route in page.routes(deployed, setup)}


async def ask(route: HttpRoute) -> HttpResponse:
    request = HttpRequest(method=route.method, path=route.path, query={}, headers={}, body=b"", user=None)
    return await route.handle(request)


async def told(routes: Mapping[str, HttpRoute]) -> dict[str, Any]:
    answer = await ask(routes["GET /worldid/page.json"])
    assert answer.content_type == "application/json"
    fields: dict[str, Any] = msgspec.json.decode(answer.body)
    return fields


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A working folder with a library in it."""
    folder = tmp_path / "idkit"
    folder.mkdir()
    (folder / "idkit.global.js").write_text("globalThis.IDKit = {};")
    (folder / "idkit_wasm_bg.wasm").write_bytes(b"\0asm\1\0\0\0")
    return tmp_path


async def test_every_module_is_served(tmp_path: Path) -> None:
    routes = given(tmp_path, settings())
    folder = page.sign_in_page(settings()).module.removesuffix("/worldid.js")
    assert re.fullmatch(r"/worldid/[0-9a-f]{16}", folder)
    for file in STATIC.iterdir():
        answer = await ask(routes[f"GET {folder}/{file.name}"])
        assert answer.body == file.read_bytes()
        assert answer.headers["Cache-Control"].endswith("immutable")
        assert ("css" if file.suffix == ".css" else "javascript") in answer.content_type
    assert f"GET {page.sign_in_page(settings()).module}" in routes
    assert "POST /worldid/qr" in routes


async def test_the_library_is_kept_by_browsers_under_a_name_of_its_version(library: Path) -> None:
    deployed = settings(idkit="idkit")
    routes = given(library, deployed)
    address = (await told(routes))["idkit"]
    script, wasm = routes[f"GET {address}"], routes[f"GET {address.removesuffix('idkit.global.js')}idkit_wasm_bg.wasm"]
    assert (await ask(script)).body == b"globalThis.IDKit = {};"
    assert (await ask(wasm)).body == b"\0asm\1\0\0\0"
    assert (await ask(wasm)).content_type == "application/wasm"
    assert "immutable" in (await ask(wasm)).headers["Cache-Control"]
    (library / "idkit" / "idkit_wasm_bg.wasm").write_bytes(b"\0asm\1\0\0\1")
    assert (await told(given(library, deployed)))["idkit"] != address


async def test_what_the_module_is_told(library: Path) -> None:
    assert await told(given(library, settings())) == {"publicUrl": "https://chat.example"}
    deployed = settings(
        idkit=str(library / "idkit"),
        legacy_proofs=True,
        bridge_url="https://bridge.example",
        connect_url="https://connect.example/verify",
    )
    fields = await told(given(library, deployed))
    assert fields.pop("idkit").endswith("/idkit.global.js")
    assert fields == {
        "publicUrl": "https://chat.example",
        "legacyProofs": True,
        "bridgeUrl": "https://bridge.example",
        "connectUrl": "https://connect.example/verify",
    }


@pytest.mark.parametrize("missing", ["idkit.global.js", "idkit_wasm_bg.wasm"])
def test_a_library_that_is_not_whole_stops_the_start(library: Path, missing: str) -> None:
    (library / "idkit" / missing).unlink()
    with pytest.raises(ConfigurationError, match=rf"{missing} cannot be read in .*/idkit \(No such file") as caught:
        given(library, settings(idkit="idkit"))
    assert caught.value.path == "plugins.worldid.idkit"
    assert "@worldcoin/idkit-core" in caught.value.hint


def test_a_bridge_that_idkit_would_not_take_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="without a path") as caught:
        given(tmp_path, settings(bridge_url="https://bridge.example/path"))
    assert caught.value.path == "plugins.worldid.bridge_url"
    assert given(tmp_path, settings(bridge_url="https://bridge.example/"))


@pytest.mark.parametrize(
    ("changes", "bridge"),
    [
        ({}, "https://bridge.worldcoin.org"),
        ({"bridge_url": "https://bridge.example/"}, "https://bridge.example"),
        ({"bridge_url": "http://127.0.0.1:8100"}, "http://127.0.0.1:8100"),
    ],
)
def test_the_page_may_load_what_idkit_needs(changes: dict[str, str], bridge: str) -> None:
    given = page.sign_in_page(settings(idkit="idkit", **changes))
    assert given.provider == "worldid"
    assert given.sources == {
        "script-src": ["'wasm-unsafe-eval'"],
        "connect-src": [bridge],
        "trusted-types": ["evanesce-worldid"],
    }


def test_without_the_library_the_page_may_load_nothing_more() -> None:
    assert page.sign_in_page(settings(bridge_url="https://bridge.example")).sources == {}
