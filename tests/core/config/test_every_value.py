"""Every key of the configuration, given each of many hostile values: it is taken, or refused in one line that names it.

What is taken here builds a server's parts, as `serve` and `check` do before they connect to anything.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from evanesce.cli.exit_status import error_line
from evanesce.config import kinds, load
from evanesce.config.model import Config
from evanesce.config.public import public_address
from evanesce.errors import ConfigurationError
from evanesce.lifecycle.startup_checks import check_environment, refuse_exposed_guests
from evanesce.plugins import Plugins

pytestmark = pytest.mark.slow

SERVERS = {
    "local": ("guest", "sqlite", "quart", "trio_websocket"),
    "remote": ("worldid", "oidc", "turso", "quart", "webhooks"),
}

LAWFUL = [
    f"server.secret={'s' * 32}",
    "plugins.guest.allow_public=true",
    "plugins.oidc.issuer=http://127.0.0.1:1",
    "plugins.oidc.client_id=chat",
    "plugins.turso.url=http://127.0.0.1:1",
    "plugins.webhooks.urls=['http://127.0.0.1:1']",
    f"plugins.webhooks.secret=whsec_{'a' * 40}",
    "plugins.worldid.app_id=app_x",
    "plugins.worldid.rp_id=rp_1",
    "plugins.worldid.action=act",
    f"plugins.worldid.signing_key={'1' * 64}",
]

NUMBERS = [
    *("-1", "0", "-0.0", "1", "1.0", "1.5", "true", '"5"', "[]", "{}", "1979-05-27", "", "0x7fffffffffffffff"),
    *("nan", "-nan", "inf", "-inf", "1e308", "-1e308", "1e309", "1e-320", "5e-324", "1e-9", "4294967296", "1e18"),
    *("9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775809"),
    *("18446744073709551615", "18446744073709551616", "1" + "0" * 30, "9" * 400, "9" * 4301),
]

AUTHORITIES = [
    *("h", "h:0", "h:65535", "h:65536", "h:abc", "h:", "h:-1", "h:²", "h:" + "9" * 4301, ":80", "", "[::1]", "[::1]:0"),
    *("[::1", "::1", "::1]:80", "[::1]x", "[]", "[]:80", "[fe80::1%eth0]:80", "[fe80::1%25eth0]", "[127.0.0.1]:1"),
    *("a..b:80", "." + "a:80", "a" * 64 + ":80", "a." * 200 + "a:80", "1.2.3.256:80", "bücher.example", "\udcff:80"),
    *(
        "ü\u200b:80",
        "a b:80",
        "a\0b:80",
        "u:S3CR3T@h",
        "*:80",
        "xn--\u00fc:80",
        "10.0.0.0/8",
        "fe80::%1/64",
        "10.0.0.0/33",
    ),
]

TEXTS = [
    *(
        "",
        " ",
        "\0",
        "\ufeff",
        "x\r",
        "x\n",
        "x" * 100_000,
        "\udcff",
        "..",
        "/",
        "/nowhere/x",
        "%",
        "%00",
        "{",
        "[",
        "∞",
    ),
    *(f"{'s' * 40}\r", f"\ufeff{'s' * 40}", f"{'s' * 20} {'s' * 20}", f"{'s' * 40}\udcff", "é" * 40),
    *AUTHORITIES,
    *(f"http://{authority}" for authority in AUTHORITIES),
    *(f"https://{authority}/a/../b" for authority in AUTHORITIES),
    *("http://h/a//b", "http://h/%2e%2e/", "http://h/é", "http://h/a?b", "http://h/#c", "HTTP://H", "ftp://h", "file:"),
    *(f"redis://{authority}" for authority in AUTHORITIES),
    *(f"redis+sentinel://{authority}/m" for authority in AUTHORITIES),
    *("redis://h/abc", "redis://h/" + "9" * 4301, "redis://h?x=1", "unix://", "redis://h/-1", "libsql://[", "ws://h:x"),
]


def settings_of(table: str, model: Any) -> Iterator[tuple[str, inspect.Type]]:
    kind = inspect.type_info(model)
    assert isinstance(kind, inspect.StructType)
    for field in kind.fields:
        yield f"{table}.{field.encode_name}", field.type


def keys(server: str) -> dict[str, inspect.Type]:
    """Find every key of the configuration that this server has, with its declared type."""
    found: dict[str, inspect.Type] = {}
    for field in msgspec.structs.fields(Config):
        if field.name != "plugins":
            found |= settings_of(field.name, field.type)
    for name, model in Plugins.load(SERVERS[server]).settings().items():
        if model is not None:
            found |= settings_of(f"plugins.{name}", model)
    return found


def values_of(kind: inspect.Type) -> list[str]:
    plain = kinds.plain(kind)
    if kinds.is_text(kind):
        return TEXTS
    if isinstance(plain, inspect.CollectionType) or kinds.list_beside_text(kind) is not None:
        lists = [json.dumps([text], ensure_ascii=False) for text in TEXTS if text.isprintable() and len(text) < 1000]
        texts = [] if isinstance(plain, inspect.CollectionType) else TEXTS
        return ["[]", "[1]", "[[]]", "[" * 5000, *lists, *texts]
    return NUMBERS


class Attempt:
    def __init__(self, server: str, folder: Path) -> None:
        self._folder = folder
        self._plugins = Plugins.load(SERVERS[server])
        self._models = self._plugins.settings()

    def __call__(self, setting: str) -> Config:
        """Do what `serve` and `check` do before they connect to anything. Raises `ConfigurationError`."""
        source = load.read(None, [*LAWFUL, setting], environ={}, default_plugins=self._plugins.names)
        config = source.config(self._models)
        check_environment(config)
        refuse_exposed_guests(config, self._plugins.build(config, self._folder))
        return config


PATHS = (".idkit", ".certfile", ".keyfile")
"""How keys end whose value is told where it is wrong: it says where a file is, and opens nothing."""

KEYS = [(server, key) for server in SERVERS for key in keys(server) if server == "local" or key.startswith("plugins.")]


@pytest.mark.parametrize(("server", "key"), KEYS)
def test_each_value_is_taken_or_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str, key: str
) -> None:
    monkeypatch.chdir(tmp_path)
    attempt = Attempt(server, tmp_path)
    kind = keys(server)[key]
    refused = 0
    values = values_of(kind)
    for value in values:
        try:
            config = attempt(f"{key}={value}")
        except ConfigurationError as error:
            refused += 1
            told = error_line(str(error))
            assert key in told, f"{value[:80]!r}: {told}"
            assert told.count("\n") == 1
            assert "S3CR3T" not in told or key.endswith(PATHS), "only paths are told"
            assert "fault of the plugin" not in told, value[:80]
        else:
            assert public_address(config).origin.isascii()
            table, _, name = key.rpartition(".")
            given = getattr(config.plugins[table[8:]] if table.startswith("plugins.") else getattr(config, table), name)
            if isinstance(given, int | float):
                assert math.isfinite(given), value
                assert abs(given) <= 2**53, value
    assert refused, "not all of these values are lawful for anything"


def bounds(end: str) -> list[str]:
    """Return each number of the configuration its least or greatest value, as far as they go together."""
    settings = {}
    for key, kind in keys("local").items():
        plain = kinds.plain(kind)
        if isinstance(plain, inspect.IntType | inspect.FloatType):
            bound = plain.ge if end == "least" else plain.le
            assert bound is not None, f"{key} has no bound: its inverse, or what is beyond 2**63, is no time"
            settings[key] = int(bound) if isinstance(plain, inspect.IntType) else bound
    if end == "greatest":  # what a process and this machine have
        settings |= {"server.workers": 1, "server.lame_duck_seconds": 1, "messages.content_bytes": 4096}
    return [f"{key}={value}" for key, value in settings.items()]


@pytest.mark.parametrize("end", ["least", "greatest"])
def test_every_number_has_bounds_that_are_lawful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.chdir(tmp_path)
    plugins = Plugins.load(SERVERS["local"])
    source = load.read(None, [*LAWFUL, *bounds(end)], environ={}, default_plugins=plugins.names)
    assert plugins.build(source.config(plugins.settings()), tmp_path)


SECRETS = [
    "server.secret",
    "server.ban_secret",
    "plugins.oidc.client_secret",
    "plugins.turso.auth_token",
    "plugins.worldid.signing_key",
]
SECRET = b"S3CR3T" * 8

SPOILT = {
    "a BOM": b"\xef\xbb\xbf" + SECRET,
    "CR": SECRET + b"\r\r\n",
    "CR within": SECRET + b"\r\n" + SECRET,
    "a space at its end": SECRET + b" \n",
    "a space at its start": b" " + SECRET,
    "no UTF-8": SECRET + b"\xff",
    "UTF-16": SECRET.decode().encode("utf-16"),
    "NUL": SECRET + b"\0",
    "nothing": b"",
}


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize("key", SECRETS)
@pytest.mark.parametrize("place", ["file", "env"])
def test_a_spoilt_secret_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, key: str, spoilt: str
) -> None:
    monkeypatch.chdir(tmp_path)
    table, _, name = key.rpartition(".")
    Path("secret").write_bytes(SPOILT[spoilt])
    Path("config.toml").write_text(f'[{table}]\n{name} = {{ {place} = "secret" }}')
    plugins = Plugins.load(SERVERS["remote"])
    lawful = [option for option in LAWFUL if not option.startswith(key)]
    environ = {"secret": os.fsdecode(SPOILT[spoilt])}  # as Python reads its environment
    with pytest.raises(ConfigurationError) as refused:
        load.read(None, lawful, environ=environ, default_plugins=plugins.names).config(plugins.settings())
    told = error_line(str(refused.value))
    assert told.startswith(f"evanesce: {key}: ")
    assert "S3CR3T" not in told
