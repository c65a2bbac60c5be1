"""The plugin `turso` from its hooks on: settings, addresses, what it is without its extra, and what it never shows."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pluggy
import pytest

from evanesce.errors import ConfigurationError, PluginError
from evanesce.hookspecs import Hooks
from evanesce.testing.contracts.rows import a_room, a_user
from evanesce_plugins import turso
from evanesce_plugins.sql.schema import MIGRATIONS
from evanesce_plugins.turso import TursoSettings
from evanesce_plugins.turso.settings import Address
from tests.plugins.conftest import a_setup, files, turso_repository

SETTING = "plugins.turso.url"


def test_its_hooks_are_those_of_a_repository() -> None:
    manager = pluggy.PluginManager("evanesce")
    manager.add_hookspecs(Hooks)
    manager.register(turso, "turso")
    manager.check_pending()
    callers = manager.get_hookcallers(turso) or []
    assert {caller.name for caller in callers} == {"evanesce_settings", "evanesce_repository"}


URLS = [
    ("libsql://name-org.turso.io", "http", "https://name-org.turso.io", "name-org.turso.io"),
    ("https://name-org.turso.io/", "http", "https://name-org.turso.io", "name-org.turso.io"),
    ("http://127.0.0.1:8080", "http", "http://127.0.0.1:8080", "127.0.0.1:8080"),
    ("http://proxy.example/db/one", "http", "http://proxy.example/db/one", "proxy.example"),
    ("wss://db.example", "ws", "wss://db.example", "db.example"),
    ("ws://[::1]:8080", "ws", "ws://[::1]:8080", "[::1]:8080"),
    ("file:evanesce.db", "file", "/folder/evanesce.db", "/folder/evanesce.db"),
    ("file:data/a%20b.db", "file", "/folder/data/a b.db", "/folder/data/a b.db"),
    ("file:/var/e.db", "file", "/var/e.db", "/var/e.db"),
    ("file:///var/e.db", "file", "/var/e.db", "/var/e.db"),
    ("file://localhost/var/e.db", "file", "/var/e.db", "/var/e.db"),
]


@pytest.mark.parametrize(("url", "way", "where", "name"), URLS)
def test_every_scheme_leads_somewhere(url: str, way: str, where: str, name: str) -> None:
    settings = msgspec.convert({"url": url}, TursoSettings)
    address = Address.of(settings.url, Path("/folder"), SETTING)
    assert (address.way, address.url, address.name) == (way, where, name)


@pytest.mark.parametrize(
    "url",
    [
        *("", "evanesce.db", "ftp://h", "libsql:", "libsql://", "http:///x", "http://h?authToken=x", "http://h#x"),
        *("http://user:secret@h", "http://h h", "http://h/a b", "file:", "file:/", "file:///", "file::memory:"),
        *("file:/:memory:", "file://elsewhere/e.db", "file:e.db?mode=ro", "file:a\0b", "LIBSQL://h"),
    ],
)
def test_what_is_no_address_is_no_setting(url: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"url": url}, TursoSettings)


@pytest.mark.parametrize("url", ["http://h:0", "http://h:99999", "http://h:x", "http://[::1", "http://:80"])
def test_an_address_that_leads_nowhere_is_told(url: str) -> None:
    with pytest.raises(ConfigurationError, match="Write it as http://HOST") as refused:
        turso.evanesce_repository(a_setup("turso", TursoSettings(url=url), Path()))
    assert refused.value.path == SETTING


def test_its_settings_have_ranges_and_never_show_the_token() -> None:
    settings = msgspec.convert({"url": "file:e.db", "auth_token": "s3cr3t"}, TursoSettings)
    assert settings.timeout == 5.0
    assert "s3cr3t" not in repr(settings)
    for wrong in ({"timeout": 0}, {"timeout": 61}, {"auth_token": ""}, {"auth_token": "a\nb"}, {"token": "x"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"url": "file:e.db", **wrong}, TursoSettings)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({}, TursoSettings)


def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("evanesce_plugins.turso.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(PluginError, match=r"aiohttp is not installed: pip install 'evanesce\[turso\]'"):
        turso.evanesce_repository(a_setup("turso", TursoSettings(url="file:e.db"), Path()))


def test_importing_it_imports_nothing_heavy() -> None:
    program = (
        "import sys; import evanesce_plugins.turso; print('aiohttp' in sys.modules, 'libsql_client' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["False", "False"]


async def test_a_file_is_found_again_beside_the_configuration(tmp_path: Path) -> None:
    repository = turso_repository("file:evanesce.db", folder=tmp_path)
    user = a_user()
    room = a_room(user)
    async with repository:
        await repository.sign_in(user)
        await repository.create_room(room, 10)
        described = f"libSQL at {tmp_path / 'evanesce.db'}, SQLite {sqlite3.sqlite_version}"
        assert await repository.check() == f"{described}, schema version {len(MIGRATIONS)}"
    assert files(tmp_path) == ["evanesce.db"]
    async with repository:
        assert await repository.user(user.user_id) == user
        assert await repository.room(room.room_id) == room
