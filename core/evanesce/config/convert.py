"""Convert a table of the configuration to its model. An error names the path of the value, and never the value."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from evanesce import logs
from evanesce.config import kinds
from evanesce.errors import ConfigurationError

T = TypeVar("T")

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}


def convert(value: Any, model: type[T], path: str) -> T:
    """Return `value` as an instance of `model`. Raises `ConfigurationError` with the path below `path`."""
    try:
        converted = msgspec.convert(value, model)
    except msgspec.ValidationError as error:
        # from None: the message of msgspec may contain the value, which may be secret
        raise _described(str(error), model, path) from None
    except (Exception, SystemExit, GeneratorExit) as error:  # the boundary to a plugin's model: its `__post_init__`
        problem = f"cannot be read, because the plugin's model failed ({logs.folded(error)})"
        raise ConfigurationError(path, problem, "This is a fault of the plugin: report it to its authors") from None
    if (where := _misformed(converted, inspect.type_info(model))) is not None:
        raise _described(f"Expected `str` matching regex - at `${where}`", model, path)
    return converted


def _misformed(value: Any, kind: inspect.Type) -> str | None:
    """Return where a text is that may be a list as well, and that has not the pattern of the list's items.

    Such a text has no pattern of its own: msgspec 0.22 corrupts the memory of the process when it frees a type that
    has one.
    """
    kind = kinds.plain(kind)
    if value is None or not isinstance(kind, inspect.StructType):
        return None
    for field in kind.fields:
        inner = getattr(value, field.name)
        several = kinds.list_beside_text(field.type)
        where: str | None = None
        if several is None:
            where = _misformed(inner, field.type)
        elif isinstance(inner, str):
            item = kinds.plain(several.item_type)
            if isinstance(item, inspect.StrType) and item.pattern is not None and not re.search(item.pattern, inner):
                where = ""
        if where is not None:
            return f".{field.encode_name}{where}"
    return None


def _described(text: str, model: Any, path: str) -> ConfigurationError:
    problem, _, where = text.partition(" - at `$")
    where = where.removesuffix("`")
    kind, default = _declared(model, where)
    full = path + where
    if missing := re.fullmatch(r"Object missing required field `(.+)`", problem):
        return ConfigurationError(f"{full}.{missing[1]}", "is missing", "Set it: it has no default")
    if re.match(r"Invalid (enum )?value", problem):
        problem = f"expected one of {', '.join(_choices(kind))}"
    elif problem == "Number out of range":
        problem = "is too large a number"
    elif problem.startswith("Expected "):
        problem = re.sub(r"`([a-z |]+)`", lambda names: _in_words(names[1]), problem.replace("Expected", "expected", 1))
        problem = re.sub(r"a list of length >= (\d+)", r"a list of \1 or more values", problem)
        problem = re.sub(r"a list of length <= (\d+)", r"a list of at most \1 values", problem)
        problem = re.sub(r"of length >= (\d+)", r"of \1 or more characters", problem)
        if "matching regex" in problem:
            problem = f"expected {kinds.description(kind) or 'text of another form'}"
    return ConfigurationError(full, problem, default or "Correct it")


def _in_words(names: str) -> str:
    return " or ".join(_WORDS.get(name, name) for name in names.split(" | ") if name != "null")


def _declared(model: Any, where: str) -> tuple[inspect.Type, str | None]:
    """Return the declared type at the path `where` of msgspec, and a sentence about its default."""
    kind = inspect.type_info(model)
    default: str | None = None
    for name, index in re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", where):
        plain = kinds.plain(kind)
        default = None
        if isinstance(plain, inspect.StructType):
            for field in plain.fields:
                if field.encode_name == name:
                    kind = field.type
                    if isinstance(field.default, str | int | float):
                        default = f"The default is {msgspec.json.encode(field.default).decode()}"
        elif isinstance(plain, inspect.DictType):
            kind = plain.value_type
        else:
            kind = kinds.item(plain, int(index) if index.isdigit() else 0)
    return kind, default


def _choices(kind: inspect.Type) -> list[str]:
    plain = kinds.plain(kind)
    if isinstance(plain, inspect.LiteralType):
        return [str(value) for value in plain.values]
    if isinstance(plain, inspect.EnumType):
        return [str(member.value) for member in plain.cls]
    return ["the declared values"]
