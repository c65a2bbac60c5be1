"""What a setting may be: its declared type, as msgspec describes it, and how text is read as a value of it."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from typing import Any, cast

from msgspec import inspect

from evanesce.errors import ConfigurationError

ANY = inspect.AnyType()


def plain(kind: inspect.Type) -> inspect.Type:
    """Give the type itself, without what is said about it and without `None`."""
    while True:
        if isinstance(kind, inspect.Metadata):
            kind = kind.type
        elif isinstance(kind, inspect.UnionType):
            rest = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
            if len(rest) != 1:
                return kind
            kind = rest[0]
        else:
            return kind


def is_text(kind: inspect.Type) -> bool:
    """Whether a setting's declared type is text: then text for it is taken as it is."""
    kind = plain(kind)
    if isinstance(kind, inspect.LiteralType):
        return all(isinstance(value, str) for value in kind.values)
    if isinstance(kind, inspect.EnumType):
        return all(isinstance(member.value, str) for member in kind.cls)
    return isinstance(kind, inspect.StrType)


def description(kind: inspect.Type) -> str | None:
    """Give what its declaration says that a value has to be."""
    if isinstance(kind, inspect.Metadata):
        schema = cast(dict[str, str] | None, cast(Any, kind).extra_json_schema) or {}
        return schema.get("description") or description(kind.type)
    if isinstance(kind, inspect.UnionType):
        return next(filter(None, map(description, kind.types)), None)
    return None


def member(kind: inspect.Type, key: str, path: str) -> inspect.Type:
    """Give the type of `key` in the table at `path`, which is of type `kind`; an unknown key is an error."""
    kind = plain(kind)
    if isinstance(kind, inspect.StructType):
        for known in kind.fields:
            if known.encode_name == key:
                return known.type
        raise unknown(path, key, [known.encode_name for known in kind.fields])
    return kind.value_type if isinstance(kind, inspect.DictType) else ANY


def item(kind: inspect.Type, index: int) -> inspect.Type:
    """Give the type of an item of a list that is of type `kind`."""
    kind = plain(kind)
    if isinstance(kind, inspect.CollectionType):
        return kind.item_type
    if isinstance(kind, inspect.TupleType) and index < len(kind.item_types):
        return kind.item_types[index]
    return ANY


def value(text: str, kind: inspect.Type, path: str, origin: str) -> Any:
    """Read `text`, which `origin` gave for the setting at `path`: as it is where that is text, else as TOML."""
    if is_text(kind):
        return text
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # ValueError itself: a number of more than 4,300 digits
        document = {}
    if document.keys() != {"value"}:  # nothing, or a line break and more
        # from None: what TOML says may be of a secret
        raise ConfigurationError(
            path,
            f"what {origin} gives is not a TOML value",
            'Write it as in config.toml: 60, true, "text", ["a", "b"]',
        ) from None
    return document["value"]


def unknown(path: str, key: str, known: Iterable[str]) -> ConfigurationError:
    """Make the error for a key that the table at `path` (empty: the whole file) does not have."""
    dotted = f"{path}.{key}" if path else key
    names = sorted(known)
    near = difflib.get_close_matches(key, names, 1)
    if near:
        hint = f"Did you mean {path}.{near[0]}?" if path else f"Did you mean {near[0]}?"
    elif names:
        hint = f"Known here: {', '.join(names)}"
    else:
        hint = "There is nothing to set here: remove it"
    return ConfigurationError(dotted, "unknown key", hint)
