"""The public address: what was set, in its normal form, or where a transport listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from evanesce.config import load
from evanesce.config.public import public_address
from evanesce.errors import ConfigurationError
from evanesce.plugins import Plugins


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where there is no config.toml


def public(*options: str, plugins: tuple[str, ...] = ("guest", "sqlite", "quart", "trio_websocket")) -> str:
    settings = Plugins.load(plugins).settings()
    return public_address(load.read(None, options, environ={}, default_plugins=plugins).config(settings)).text


@pytest.mark.parametrize(
    ("bind", "url"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("127.0.0.1:80", "http://127.0.0.1"),
        ("0.0.0.0:9000", "http://127.0.0.1:9000"),
        ("[::]:9000", "http://[::1]:9000"),
        ("[0:0::0]:9000", "http://[::1]:9000"),
        ("[::1]:9000", "http://[::1]:9000"),
        ("192.0.2.7:9000", "http://192.0.2.7:9000"),
        ("LocalHost:9000", "http://localhost:9000"),
        ("Chat.Example.:9000", "http://chat.example:9000"),
    ],
)
def test_it_follows_bind(bind: str, url: str) -> None:
    assert public(f"plugins.quart.bind={bind}") == url


def test_it_follows_the_first_plugin_that_listens() -> None:
    binds = ("plugins.quart.bind=127.0.0.1:1", "plugins.trio_websocket.bind=127.0.0.1:2")
    assert public(*binds) == "http://127.0.0.1:1"
    assert public(*binds, plugins=("trio_websocket", "guest", "sqlite", "quart")) == "http://127.0.0.1:2"
    assert public(*binds, "server.public_url=https://chat.example/") == "https://chat.example"
    assert public(plugins=("guest", "sqlite")) == "http://127.0.0.1:8000"


def test_it_must_be_set_where_the_first_plugin_that_listens_has_a_unix_socket() -> None:
    binds = ("plugins.quart.bind=unix:chat.sock", "plugins.trio_websocket.bind=127.0.0.1:2")
    with pytest.raises(ConfigurationError, match=r"must be set with plugins.quart.bind = unix:chat.sock"):
        public(*binds)
    assert public(*binds, plugins=("trio_websocket", "guest", "sqlite", "quart")) == "http://127.0.0.1:2"
    assert public(*binds, "server.public_url=https://chat.example/a") == "https://chat.example/a"


def test_with_a_certificate_it_is_https() -> None:
    assert public("plugins.quart.bind=127.0.0.1:443", "plugins.quart.certfile=cert.pem") == "https://127.0.0.1"
    assert public("plugins.quart.bind=127.0.0.1:80", "plugins.quart.certfile=cert.pem") == "https://127.0.0.1:80"


@pytest.mark.parametrize("path", ["", "/", "//", "/chat", "/a/b-c/D_e~f.g/"])
def test_paths(path: str) -> None:
    assert public(f"server.public_url=https://h{path}") == f"https://h{path.rstrip('/')}"


@pytest.mark.parametrize("path", ["/a//b", "/a/../b", "/.", "/%61", "/é", "/a;b", "/a'b", '/a"b', "/a<b>", "/a\\b"])
def test_paths_that_may_be_written_in_several_ways(path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"public_url: has a path that can be written in several ways"):
        public(f"server.public_url=https://h{path}")
