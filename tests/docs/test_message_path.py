"""The picture of the way of a message is what the modules import, and fails to be when one of them moves."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import FunctionType

import pytest

from docs import message_path

WAY = message_path.read(message_path.SOURCE.read_text("utf-8"))
NODES = [node for column in WAY.columns.values() for node in column]
PAGE = message_path.SOURCE.with_name("architecture.md")


def imports(module: str) -> set[str]:
    """Return the modules that a module imports, and the names that it imports from them as `module:name`."""
    spec = find_spec(module)
    assert spec is not None, f"there is no module {module}"
    assert spec.origin is not None
    found: set[str] = set()
    for node in ast.walk(ast.parse(Path(spec.origin).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            found |= {f"{node.module}:{alias.name}" for alias in node.names}
    return found


def fulfils(module: str, interface: type) -> bool:
    """Return whether a class of a module has all methods of an interface."""
    methods = {name for name, value in vars(interface).items() if isinstance(value, FunctionType) and name[0] != "_"}
    assert methods
    classes = [value for value in vars(import_module(module)).values() if inspect.isclass(value)]
    own = [one for one in classes if one.__module__ == module and not getattr(one, "_is_protocol", False)]
    return any(methods <= set(dir(one)) for one in own)


def test_the_picture_is_drawn_from_its_source() -> None:
    assert message_path.PICTURE.read_text("utf-8") == message_path.draw(WAY), "run `python -m docs.message_path`"


def test_every_line_of_the_source_is_read() -> None:
    text = message_path.SOURCE.read_text("utf-8")
    assert len(NODES) == text.count("[label=")
    assert len(WAY.edges) == text.count(" -> ")


def test_the_way_leads_from_each_module_to_the_next() -> None:
    steps = [(edge.tail, edge.head) for edge in WAY.edges]
    columns = [[node.module for node in column] for column in WAY.columns.values()]
    assert steps == [step for column in columns for step in pairwise(column)]
    assert len({node.module for node in NODES}) == len(NODES), "no module is passed twice"


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.module)
def test_a_module_imports_what_it_uses(node: message_path.Node) -> None:
    assert set(node.uses) <= imports(node.module)


@pytest.mark.parametrize("edge", WAY.edges, ids=lambda edge: edge.head)
def test_a_step_is_an_import_or_goes_through_an_interface(edge: message_path.Edge) -> None:
    if edge.via is None:
        assert edge.head in imports(edge.tail) or edge.tail in imports(edge.head)
        return
    module, _, name = edge.via.partition(":")
    interface = getattr(import_module(module), name)
    ends = [edge.tail, edge.head]
    knows = [end == module or edge.via in imports(end) or module in imports(end) for end in ends]
    has = [fulfils(end, interface) for end in ends]
    assert (knows[0] and has[1]) or (knows[1] and has[0])


def test_the_architecture_page_shows_the_picture() -> None:
    assert f"]({message_path.PICTURE.name})" in PAGE.read_text("utf-8")
