"""Where every value of the configuration comes from, and that no secret is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from evanesce.config import load, origins
from evanesce.config.origins import HIDDEN, Value
from evanesce.interfaces import SECRET_PATH
from evanesce.plugins import Plugins
from evanesce.webaddress import without_credentials

SECRET = "S3CR3T" * 6

FILE = f"""
[plugins]
enabled = ["worldid", "oidc", "turso", "quart"]
[server]
secret = ["{SECRET}", "{SECRET}2"]
ban_secret = {{ env = "BANS" }}
node = {{ env = "NODE" }}
[redis]
url = "rediss://user:{SECRET}@cache.example:6380/1?ssl_password={SECRET}"
[messages]
ttl = 20
history = 7
[admin]
token = "{SECRET}"
[plugins.turso]
url = "libsql://chat.example"
auth_token = "{SECRET}"
[plugins.oidc]
issuer = "https://issuer.example"
client_id = "chat"
client_secret = "{SECRET}"
[plugins.worldid]
app_id = "app_x"
rp_id = "rp_1"
action = "act"
signing_key = "{"a" * 64}"
"""


def shown(folder: Path, *options: str, environ: Mapping[str, str] | None = None) -> dict[str, Value]:
    """Return the values by key, with a file, options and the environment."""
    file = folder / "c.toml"
    file.write_text(FILE)
    environ = {"BANS": SECRET + "3", "NODE": "one"} | dict(environ or {})
    source = load.read(file, options, environ=environ, default_plugins=())
    models = Plugins.load(source.enabled).settings()
    found = origins.values(source, source.config(models), [(name, models[name]) for name in source.enabled])
    return {value.key: value for value in found}


def test_no_secret_is_shown_whatever_its_form(tmp_path: Path) -> None:
    found = shown(tmp_path)
    text = repr(found)
    assert "S3CR3T" not in text
    assert "a" * 64 not in text
    hidden = {key for key, value in found.items() if value.value == HIDDEN}
    assert hidden == {
        "server.secret",
        "server.ban_secret",
        "server.node",  # a reference: what is kept elsewhere is not shown
        "admin.token",
        "plugins.turso.auth_token",
        "plugins.oidc.client_secret",
        "plugins.worldid.signing_key",
    }
    assert found["redis.url"].value == "rediss://(hidden)@cache.example:6380/1?(hidden)"


def test_each_value_has_its_origin(tmp_path: Path) -> None:
    environ = {"EVANESCE__MESSAGES__HISTORY": "8", "EVANESCE__ROOMS__CAPACITY": "5"}
    found = shown(tmp_path, "rooms.capacity=6", 'plugins.quart={bind="127.0.0.1:1"}', environ=environ)
    file = f"the file {tmp_path / 'c.toml'}"
    assert found["messages.ttl"] == Value("messages.ttl", 20.0, file)
    assert found["messages.history"].value == 8
    assert found["messages.history"].origin == "the environment variable EVANESCE__MESSAGES__HISTORY"
    assert found["rooms.capacity"] == Value("rooms.capacity", 6, "--set rooms.capacity")
    assert found["rooms.roster_size"] == Value("rooms.roster_size", 200, "default")
    assert found["plugins.quart.bind"] == Value("plugins.quart.bind", "127.0.0.1:1", "--set plugins.quart")
    assert found["server.node"].origin == f"{file}: the environment variable NODE"
    assert found["server.public_url"] == Value("server.public_url", None, "default")
    assert found["plugins.enabled"].origin == file


def test_values_are_those_of_json(tmp_path: Path) -> None:
    found = shown(tmp_path)
    assert json.loads(json.dumps([value.value for value in found.values()]))
    assert found["server.token_hours"].value == 24.0
    assert found["limits.exempt_addresses"].value == ["127.0.0.0/8", "::1"]
    assert found["logs.levels"].value == {}


class FurtherSettings(msgspec.Struct):
    """Settings of a plugin that keeps secrets in tables and lists."""

    tokens: dict[str, str]
    headers: dict[str, str]
    receivers: list[dict[str, str]]


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "proxy-authorization", "auth", "bearer_token"])
def test_no_secret_in_a_table_is_shown(name: str) -> None:
    settings = FurtherSettings(
        tokens={"alice": SECRET}, headers={name: SECRET, "Accept": "text/plain"}, receivers=[{name: SECRET}]
    )
    tree = {"plugins": {"enabled": ["further"], "further": msgspec.to_builtins(settings)}}
    source = load.from_tree(tree, environ={}, default_plugins=())
    models = {"further": FurtherSettings}
    found = {one.key: one.value for one in origins.values(source, source.config(models), list(models.items()))}
    assert found["plugins.further.tokens"] == HIDDEN
    assert found["plugins.further.headers"] == {name: HIDDEN, "Accept": "text/plain"}
    assert found["plugins.further.receivers"] == [{name: HIDDEN}]


def test_the_path_of_a_receiver_is_not_shown(tmp_path: Path) -> None:
    webhooks = f'["https://hooks.example/{SECRET}", "https://hooks.example:8443"]'
    found = shown(
        tmp_path,
        'plugins.enabled=["webhooks"]',
        f'plugins.webhooks={{urls={webhooks}, secret="whsec_{"A" * 40}"}}',
        f"traces.url=https://otlp.example/{SECRET}/v1/traces",
    )
    assert found["plugins.webhooks.urls"].value == ["https://hooks.example/(hidden)", "https://hooks.example:8443"]
    assert found["traces.url"].value == "https://otlp.example/(hidden)"


Address = Annotated[str, Meta(description="an address", extra=SECRET_PATH)]


class Alert(msgspec.Struct, tag="alert"):
    """A receiver of one form."""

    to: Address
    help: str


class Archive(msgspec.Struct, tag="archive"):
    """A receiver of another form."""

    folder: str


class MarkingSettings(msgspec.Struct):
    """Settings of a plugin that marks the addresses whose paths may be secrets."""

    receiver: Address | None
    nobody: Address | None
    receivers: tuple[Address, ...]
    pair: tuple[str, Address]
    by_name: dict[str, Address]
    also_for_others: Annotated[Address, Meta(extra={"unit": "one address"})]
    all: list[Alert | Archive]
    help: str


def test_a_plugin_marks_the_addresses_whose_paths_are_not_shown() -> None:
    secret, plain = f"https://user:{SECRET}@chat.example/{SECRET}?key={SECRET}", "https://help.example/page"
    shown = "https://(hidden)@chat.example/(hidden)"
    settings = MarkingSettings(
        receiver=secret,
        nobody=None,
        receivers=(secret, "https://chat.example"),
        pair=(plain, secret),
        by_name={"one": secret},
        also_for_others=secret,
        all=[Alert(secret, plain), Archive(plain)],
        help=plain,
    )
    tree = {"plugins": {"enabled": ["marking"], "marking": msgspec.to_builtins(settings)}}
    source = load.from_tree(tree, environ={}, default_plugins=())
    models = {"marking": MarkingSettings}
    found = {one.key: one.value for one in origins.values(source, source.config(models), list(models.items()))}
    assert {key.removeprefix("plugins.marking."): value for key, value in found.items() if "marking." in key} == {
        "receiver": shown,
        "nobody": None,
        "receivers": [shown, "https://chat.example"],
        "pair": [plain, shown],
        "by_name": {"one": shown},
        "also_for_others": shown,
        "all": [{"type": "alert", "to": shown, "help": plain}, {"type": "archive", "folder": plain}],
        "help": plain,
    }


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("embedded", "embedded"),
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:S3CR3T@h:1,h:2/0", "redis://(hidden)@h:1,h:2/0"),
        ("redis://u@S3CR3T@h", "redis://(hidden)@h"),
        ("unix:///run/redis.sock?password=S3CR3T", "unix:///run/redis.sock?(hidden)"),
        ("redis://[::1]:1", "redis://[::1]:1"),
        ("redis://u:S3CR3T@[h", "redis://(hidden)@[h"),
    ],
)
def test_an_address_is_shown_without_its_credentials(url: str, expected: str) -> None:
    assert without_credentials(url) == expected
