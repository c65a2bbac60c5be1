"""Every setting that names a file: a relative path starts from the working folder, wherever the configuration is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest
import trio
import trustme
from msgspec import inspect

from evanesce.config import kinds, load
from evanesce.config.model import Config
from evanesce.errors import ConfigurationError
from evanesce.plugins import Components, Plugins, discovery
from evanesce.store.redis.url import check_url

SECRET = "0123456789abcdef0123456789abcdef"

WORLD_ID = f"""
[plugins]
enabled = ["worldid", "sqlite", "quart"]
[plugins.worldid]
app_id = "app_1"
rp_id = "rp_1"
action = "chat"
signing_key = "{"1" * 64}"
"""

NO_PATHS = {
    "admin.bind",  # a socket that is made: tests/core/admin
    "admin.token",
    "server.secret",
    "server.ban_secret",
    "server.public_url",
    "server.origins",
    "server.node",
    "redis.prefix",
    "limits.exempt_addresses",
    "logs.format",
    "logs.level",
    "logs.addresses",
    "traces.url",
    "plugins.oidc.issuer",
    "plugins.oidc.client_id",
    "plugins.oidc.client_secret",
    "plugins.passkey.name",
    "plugins.passkey.user_verification",
    "plugins.quart.bind",
    "plugins.quart.trusted_proxies",
    "plugins.trio_websocket.bind",
    "plugins.trio_websocket.trusted_proxies",
    "plugins.turso.auth_token",
    "plugins.webhooks.urls",
    "plugins.webhooks.secret",
    "plugins.webhooks.events",
    "plugins.worldid.app_id",
    "plugins.worldid.rp_id",
    "plugins.worldid.action",
    "plugins.worldid.signing_key",
    "plugins.worldid.environment",
    "plugins.worldid.api_url",
    "plugins.worldid.bridge_url",
    "plugins.worldid.connect_url",
}
"""The texts that name no file."""


def certificate(folder: Path) -> None:
    issued = trustme.CA().issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "named.pem"))


def key(folder: Path) -> None:
    authority = Path(folder.parent, "authority")  # one certificate, and its key in the folder that is tried
    authority.mkdir()
    issued = trustme.CA().issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(str(authority / "certificate.pem"))
    issued.private_key_pem.write_to_path(str(folder / "named.pem"))


def library(folder: Path) -> None:
    (folder / "named").mkdir()
    (folder / "named" / "idkit.global.js").write_text("globalThis.IDKit = {};")
    (folder / "named" / "idkit_wasm_bg.wasm").write_bytes(b"\0asm\1\0\0\0")


def secret(folder: Path) -> None:
    (folder / "named").write_text(SECRET)


PATHS: Mapping[str, tuple[str, Callable[[Path], None]]] = {
    "{ file = … }": ('[server]\nsecret = { file = "named" }', secret),
    "redis.url": (
        f'[server]\nsecret = "{SECRET}"\n[redis]\nurl = "rediss://localhost?ssl_ca_certs=named.pem"',
        certificate,
    ),
    "plugins.quart.certfile": ('[plugins.quart]\ncertfile = "named.pem"', certificate),
    "plugins.quart.keyfile": ('[plugins.quart]\ncertfile = "../authority/certificate.pem"\nkeyfile = "named.pem"', key),
    "plugins.trio_websocket.certfile": (
        '[plugins]\nenabled = ["guest", "sqlite", "trio_websocket"]\n[plugins.trio_websocket]\ncertfile = "named.pem"',
        certificate,
    ),
    "plugins.trio_websocket.keyfile": (
        '[plugins]\nenabled = ["guest", "sqlite", "trio_websocket"]\n[plugins.trio_websocket]\n'
        'certfile = "../authority/certificate.pem"\nkeyfile = "named.pem"',
        key,
    ),
    "plugins.worldid.idkit": (f'{WORLD_ID}idkit = "named"', library),
}
"""How each setting names a file that has to be there, and what puts it into a folder."""

DATABASES = {
    "plugins.sqlite.path": '[plugins.sqlite]\npath = "named.db"',
    "plugins.turso.url": '[plugins]\nenabled = ["guest", "turso", "quart"]\n[plugins.turso]\nurl = "file:named.db"',
}
"""How each setting names a file that is made."""


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Return the working folder, and another one, for the configuration."""
    working, other = tmp_path / "working", tmp_path / "other"
    for folder in (working, other):
        folder.mkdir()
    monkeypatch.chdir(working)
    return working, other


def build(file: Path, text: str) -> tuple[Plugins, Components]:
    """Read a configuration, as a command does, and build the components."""
    file.write_text(text)
    source = load.read(file, environ={}, default_plugins=("guest", "sqlite", "quart"))
    plugins = Plugins.load(source.enabled)
    config = source.config(plugins.settings())
    check_url(config.redis)
    return plugins, plugins.build(config, Path.cwd())


def texts() -> set[str]:
    """Return every setting that is text, or holds texts."""
    models = {field.name: field.type for field in msgspec.structs.fields(Config) if field.name != "plugins"}
    for name, model in Plugins.load(discovery.names()).settings().items():
        if model is not None:
            models[f"plugins.{name}"] = model
    found: set[str] = set()
    for table, model in models.items():
        kind = inspect.type_info(model)
        assert isinstance(kind, inspect.StructType)
        for field in kind.fields:
            plain = kinds.list_beside_text(field.type) or kinds.plain(field.type)
            if isinstance(plain, inspect.CollectionType):
                plain = kinds.plain(plain.item_type)
            if isinstance(plain, inspect.StrType | inspect.LiteralType | inspect.EnumType):
                found.add(f"{table}.{field.encode_name}")
    return found


def test_every_setting_that_is_text_is_tried_here_or_names_no_file() -> None:
    tried = {*PATHS, *DATABASES} - {"{ file = … }"}
    assert not tried & NO_PATHS
    assert texts() == tried | NO_PATHS, "say of a new setting whether it names a file"


@pytest.mark.parametrize("setting", PATHS)
def test_a_file_is_found_in_the_working_folder(setting: str, folders: tuple[Path, Path]) -> None:
    text, put = PATHS[setting]
    working, other = folders
    put(working)
    build(other / "config.toml", text)


@pytest.mark.parametrize("setting", PATHS)
def test_a_file_beside_the_configuration_is_not_taken(setting: str, folders: tuple[Path, Path]) -> None:
    text, put = PATHS[setting]
    put(folders[1])
    with pytest.raises(ConfigurationError) as wrong:
        build(folders[1] / "config.toml", text)
    assert wrong.value.path == ("server.secret" if setting.startswith("{") else setting)
    assert "named" in wrong.value.problem or "ssl_ca_certs" in wrong.value.problem


@pytest.mark.parametrize("setting", DATABASES)
async def test_a_database_is_made_in_the_working_folder(setting: str, folders: tuple[Path, Path]) -> None:
    working, other = folders
    plugins, components = build(other / "config.toml", DATABASES[setting])
    async with trio.open_nursery() as nursery:
        await nursery.start(plugins.run)
        async with components.repository:
            assert (working / "named.db").exists()
        nursery.cancel_scope.cancel()
    assert not (other / "named.db").exists()
