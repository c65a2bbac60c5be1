"""Content, names, mail addresses and secrets are in types that show nothing, and no code formats or logs them."""

from __future__ import annotations

import ast
import copy
import dataclasses
import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evanesce.confidential import Confidential

PACKAGES = ("evanesce", "evanesce_plugins", "evanesce_transports")

FIELDS = {
    *("content", "sender_name", "display_name", "email", "subject", "body"),
    *("token", "auth_token", "credential", "account_code", "secret", "ban_secret", "signing_key", "registration"),
}
"""The names of fields that make a type confidential."""

PUBLIC: dict[str, str] = {
    "evanesce_transports.quart.joining._Module": "the body is a module of the page, which everybody gets",
}
"""Types with such a field that are not confidential, and why."""

TOLD = FIELDS - {"secret", "subject"}
"""The names that no code may format or log. The other two also mean something else."""

SHOWN = {"user_id", "number"}
"""Fields that a `repr` of its own may show."""

SHOWN_OF = {"evanesce.client.events.State": {"state", "code", "reason", "retry_in"}}
"""Fields that the `repr` of one type may show: the state of a connection says nothing of people."""

FORMATTED: dict[str, str] = {
    "evanesce/cli/admin_client.py": "the token of an operator, in the header by which the server knows the operator",
    "evanesce/cli/console.py": "what the person writes, on their own terminal",
    "evanesce/files.py": "the digest of a file of the page, which everybody gets",
    "evanesce/testing/conversation.py": "what a test lets people say, where they hear something else",
    "evanesce_plugins/turso/clients.py": "the token, in the header by which the database knows this server",
    "evanesce_plugins/turso/transactions.py": "the same",
    "evanesce_plugins/worldid/simulator/page.py": "a page of the simulator",
    "evanesce_transports/quart/joining.py": "a module of the page, which everybody gets",
}
"""Files that format something with such a name, and what it is."""

CANARY = "canary-7312"


def modules() -> Iterator[ModuleType]:
    for name in PACKAGES:
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def fields(kind: Any) -> tuple[str, ...]:
    """Return the fields of a struct, a data class or a named tuple."""
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    named: Sequence[str] = getattr(kind, "__struct_fields__", getattr(kind, "_fields", ()))
    return tuple(named)


def types() -> list[type[Any]]:
    found: list[type[Any]] = [
        kind
        for module in modules()
        for kind in vars(module).values()
        if inspect.isclass(kind) and kind.__module__ == module.__name__
    ]
    return list(dict.fromkeys(found))


def test_every_type_with_a_confidential_field_is_confidential() -> None:
    revealing = {
        f"{kind.__module__}.{kind.__qualname__}": FIELDS.intersection(fields(kind))
        for kind in types()
        if FIELDS.intersection(fields(kind)) and not issubclass(kind, Confidential)
    }
    assert revealing.keys() == PUBLIC.keys(), revealing


CONFIDENTIAL = [kind for kind in types() if issubclass(kind, Confidential) and fields(kind)]


@pytest.mark.parametrize("kind", CONFIDENTIAL, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_a_confidential_value_is_neither_shown_nor_pickled(kind: type) -> None:
    open_fields = SHOWN | SHOWN_OF.get(f"{kind.__module__}.{kind.__name__}", set())
    value: Any = kind(**{name: "shown" if name in open_fields else CANARY for name in fields(kind)})
    shown = [repr(value), str(value), f"{value}", f"{value!r:>40}", f"{[value]}", *map(repr, value.__rich_repr__())]
    assert CANARY not in " ".join(shown)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="confidential"):
            pickle.dumps(value, protocol)
    with pytest.raises(TypeError, match="confidential"):
        copy.deepcopy(value)


def formatted(tree: ast.AST) -> Iterator[int]:
    """Yield the lines where a confidential attribute or variable is formatted or logged."""
    for node in ast.walk(tree):
        parts: list[ast.expr] = []
        if isinstance(node, ast.FormattedValue):
            parts = [node.value]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            parts = [node.right]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            logs = isinstance(owner, ast.Name) and owner.id in ("logger", "logging", "warnings")
            if logs or node.func.attr == "format":
                parts = [*node.args, *(keyword.value for keyword in node.keywords)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "repr"):
            parts = list(node.args)
        for part in parts:
            yield from (part.lineno for name in _names(part) if name in TOLD)


def _names(part: ast.expr) -> Iterator[str]:
    """Yield the names of a formatted value: not those whose length or type alone is formatted."""
    if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id in ("len", "type", "folded"):
        return
    if isinstance(part, ast.Attribute):
        yield part.attr
    elif isinstance(part, ast.Name):
        yield part.id
    for child in ast.iter_child_nodes(part):
        if isinstance(child, ast.expr):
            yield from _names(child)


def test_no_code_formats_or_logs_what_is_confidential() -> None:
    found: dict[str, list[int]] = {}
    for name in PACKAGES:
        [folder] = importlib.import_module(name).__path__
        for file in sorted(Path(folder).rglob("*.py")):
            if lines := list(formatted(ast.parse(file.read_text()))):
                found[file.relative_to(Path(folder).parent).as_posix()] = lines
    assert found.keys() == FORMATTED.keys(), found


@pytest.mark.parametrize(
    "code",
    [
        'f"{draft.content}"',
        '"%s" % draft.content',
        '"%s" % (name, draft.content[:9])',
        '"{}".format(user.email)',
        'logger.info("%s", user.display_name.title())',
        "print(token)",
    ],
)
def test_such_code_is_found(code: str) -> None:
    assert list(formatted(ast.parse(code))) == [1]


def test_the_size_of_a_text_may_be_logged() -> None:
    assert list(formatted(ast.parse('logger.info("%d", len(draft.content))'))) == []
