"""The declared type of a setting, as `msgspec.inspect` describes it, and how a text is read as a value of it."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, cast

from msgspec import inspect

from evanesce.errors import ConfigurationError

ANY = inspect.AnyType()


def plain(kind: inspect.Type) -> inspect.Type:
    """Return the type without its metadata and without `None`."""
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
    """Return whether the declared type is text. A text for such a setting is its value, and not TOML."""
    kind = plain(kind)
    if isinstance(kind, inspect.LiteralType):
        return all(isinstance(value, str) for value in kind.values)
    if isinstance(kind, inspect.EnumType):
        return all(isinstance(member.value, str) for member in kind.cls)
    return isinstance(kind, inspect.StrType)


def list_beside_text(kind: inspect.Type) -> inspect.CollectionType | None:
    """Return the type of the list where the declared type is a text or a list."""
    kind = plain(kind)
    if not isinstance(kind, inspect.UnionType):
        return None
    rest = [plain(one) for one in kind.types if not isinstance(one, inspect.NoneType)]
    lists = [one for one in rest if isinstance(one, inspect.CollectionType)]
    return lists[0] if len(rest) == 2 and len(lists) == 1 and any(map(is_text, rest)) else None


def description(kind: inspect.Type) -> str | None:
    """Return the description of the values in the declaration."""
    if isinstance(kind, inspect.Metadata):
        schema = cast(dict[str, str] | None, cast(Any, kind).extra_json_schema) or {}
        return schema.get("description") or description(kind.type)
    if isinstance(kind, inspect.UnionType):
        return next(filter(None, map(description, kind.types)), None)
    return None


def is_marked(kind: inspect.Type, mark: Mapping[str, str]) -> bool:
    """Return whether the declaration of a value has `mark` in the `extra` of its metadata."""
    if isinstance(kind, inspect.Metadata):
        extra = cast(Mapping[str, str] | None, cast(Any, kind).extra) or {}
        return mark.items() <= extra.items() or is_marked(kind.type, mark)
    return isinstance(kind, inspect.UnionType) and any(is_marked(one, mark) for one in kind.types)


def within(kind: inspect.Type, key: str | int) -> inspect.Type:
    """Return the type of what a table or list of type `kind` has at `key`: a union over all its forms."""
    if isinstance(kind, inspect.Metadata):
        return within(kind.type, key)
    if isinstance(kind, inspect.UnionType):
        return inspect.UnionType(tuple(within(one, key) for one in kind.types))
    if isinstance(key, int):
        return item(kind, key)
    if isinstance(kind, inspect.StructType):
        return next((known.type for known in kind.fields if known.encode_name == key), ANY)
    return kind.value_type if isinstance(kind, inspect.DictType) else ANY


def member(kind: inspect.Type, key: str, path: str) -> inspect.Type:
    """Return the type of `key` in the table at `path` of type `kind`. Raises `ConfigurationError` if it is unknown."""
    kind = plain(kind)
    if isinstance(kind, inspect.StructType):
        for known in kind.fields:
            if known.encode_name == key:
                return known.type
        raise unknown(path, key, [known.encode_name for known in kind.fields])
    return kind.value_type if isinstance(kind, inspect.DictType) else ANY


def item(kind: inspect.Type, index: int) -> inspect.Type:
    """Return the type of an item of a list of type `kind`."""
    kind = list_beside_text(kind) or plain(kind)
    if isinstance(kind, inspect.CollectionType):
        return kind.item_type
    if isinstance(kind, inspect.TupleType) and index < len(kind.item_types):
        return kind.item_types[index]
    return ANY


def value(text: str, kind: inspect.Type, path: str, origin: str) -> Any:
    """Return the value of the setting at `path` from `text`, which `origin` contains.

    If the type is text, the value is `text` itself; likewise if it may be a list too, and `text` is not in brackets.
    Otherwise `text` is read as TOML. Raises `ConfigurationError`, also for bytes that are not UTF-8, which Python
    passes on as surrogates and which TOML does not allow either.
    """
    if not text.isprintable() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ConfigurationError(path, f"the value from {origin} is not UTF-8 text", "Write it as UTF-8")
    in_brackets = text.startswith("[") and text.endswith("]")
    if is_text(kind) or (list_beside_text(kind) is not None and not in_brackets):
        return text
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # a plain ValueError: a number of more than 4,300 digits
        document = {}
    if document.keys() != {"value"}:  # no value, or a line break and another key
        # from None: the message of tomllib may contain a part of a secret
        raise ConfigurationError(
            path,
            f"the value from {origin} is not a TOML value",
            'Write it as in config.toml: 60, true, "text", ["a", "b"]',
        ) from None
    return document["value"]


def unknown(path: str, key: str, known: Iterable[str]) -> ConfigurationError:
    """Return the error for an unknown key in the table at `path` (empty: the whole file)."""
    dotted = f"{path}.{key}" if path else key
    names = sorted(known)
    near = difflib.get_close_matches(key, names, 1)
    if near:
        hint = f"Did you mean {path}.{near[0]}?" if path else f"Did you mean {near[0]}?"
    elif names:
        hint = f"The known keys are {', '.join(names)}"
    else:
        hint = "This table has no keys: remove it"
    return ConfigurationError(dotted, "unknown key", hint)
