"""Every value of the configuration with its origin, as text that anybody may read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import msgspec
from msgspec import inspect

from evanesce.config import kinds
from evanesce.config.load import Source
from evanesce.config.model import Config
from evanesce.interfaces import SECRET_PATH, Settings
from evanesce.webaddress import without_credentials

HIDDEN = "(hidden)"
"""Stands for a secret."""

_SECRET_WORDS = frozenset(
    {
        *("secret", "secrets", "token", "tokens", "key", "keys", "password", "passwords", "passphrase"),
        *("credential", "credentials", "auth", "authorization"),
    }
)
"""A setting is secret if one of the words of its name is one of these, such as `signing_key`, not `keyfile`.

So are all values of a table with such a name, and a header such as `X-Api-Key`.
"""


@dataclass(frozen=True, slots=True)
class Value:
    """A setting, its value without secrets (None where nothing is set), and where the value comes from."""

    key: str
    value: object
    origin: str


def values(source: Source, config: Config, models: Iterable[tuple[str, Settings | None]]) -> Iterator[Value]:
    """Return every setting of Evanesce's own tables, and of the tables of the enabled plugins, in their order."""
    yield _value(source, ("plugins", "enabled"), source.enabled)
    for table in msgspec.structs.fields(Config):
        if table.name != "plugins":
            yield from _table(source, (table.name,), getattr(config, table.name))
    for name, model in models:
        if model is not None:
            yield from _table(source, ("plugins", name), config.plugins[name])


def _table(source: Source, path: tuple[str, ...], table: msgspec.Struct) -> Iterator[Value]:
    kind = inspect.type_info(type(table))
    assert isinstance(kind, inspect.StructType)
    for field in kind.fields:
        yield _value(source, (*path, field.encode_name), getattr(table, field.name), field.type)


def _value(source: Source, path: tuple[str, ...], value: object, kind: inspect.Type = kinds.ANY) -> Value:
    origin, referred = source.origin(path)
    plain: object = msgspec.json.decode(msgspec.json.encode(value))
    shown = HIDDEN if referred and value is not None else _readable(path[-1], plain, kind)
    return Value(".".join(path), shown, origin)


def _readable(name: str, value: object, kind: inspect.Type) -> object:
    """Return the value of a setting with `HIDDEN` in place of secrets, also in tables and lists. `kind` is its type."""
    if isinstance(value, str | list | dict) and not _SECRET_WORDS.isdisjoint(_words(name)):
        return HIDDEN
    if isinstance(value, dict):
        members = cast("dict[str, object]", value).items()
        return {key: _readable(key, one, kinds.within(kind, key)) for key, one in members}
    if isinstance(value, list):
        items = enumerate(cast("list[object]", value))
        return [_readable("", one, kinds.within(kind, index)) for index, one in items]
    if not isinstance(value, str):
        return value
    shown = without_credentials(value)
    return _without_path(shown) if kinds.is_marked(kind, SECRET_PATH) else shown


def _words(name: str) -> list[str]:
    return name.lower().replace("-", "_").split("_")


def _without_path(address: str) -> str:
    """Return an address with `HIDDEN` in place of its path."""
    scheme, separator, rest = address.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority}/{HIDDEN}" if slash and path else address
