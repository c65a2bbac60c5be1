"""Every value of the configuration with its origin, as text that anybody may read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import msgspec

from evanesce.config.load import Source
from evanesce.config.model import Config
from evanesce.interfaces import Settings
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

_RECEIVERS = frozenset({("webhooks", "urls"), ("traces", "url")})
"""The addresses whose paths may be secret: receivers of other people often know a sender by the path alone."""


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
    for field in msgspec.structs.fields(table):
        yield _value(source, (*path, field.encode_name), getattr(table, field.name))


def _value(source: Source, path: tuple[str, ...], value: object) -> Value:
    origin, referred = source.origin(path)
    plain: object = msgspec.json.decode(msgspec.json.encode(value))
    shown = HIDDEN if referred and value is not None else _readable(path[-1], plain)
    if path[-2:] in _RECEIVERS:
        shown = _without_paths(shown)
    return Value(".".join(path), shown, origin)


def _readable(name: str, value: object) -> object:
    """Return the value of a setting, with `HIDDEN` in place of secrets, also in tables and lists."""
    if isinstance(value, str | list | dict) and not _SECRET_WORDS.isdisjoint(_words(name)):
        return HIDDEN
    if isinstance(value, dict):
        return {key: _readable(key, one) for key, one in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_readable("", one) for one in cast("list[object]", value)]
    return without_credentials(value) if isinstance(value, str) else value


def _words(name: str) -> list[str]:
    return name.lower().replace("-", "_").split("_")


def _without_paths(value: object) -> object:
    """Return addresses with `HIDDEN` in place of their paths, also in a list."""
    if isinstance(value, list):
        return [_without_paths(one) for one in cast("list[object]", value)]
    if not isinstance(value, str):
        return value
    scheme, separator, rest = value.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority}/{HIDDEN}" if slash and path else value
