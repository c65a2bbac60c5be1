"""The names of modules, classes and files in the documentation exist."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text("utf-8") for page in PAGES}
NAMES = sorted({name for text in TEXTS.values() for name in re.findall(r"`(evanesce(?:_\w+)?(?:\.\w+)+)`", text)})
FILES = sorted({name for text in TEXTS.values() for name in re.findall(r"`(tests/[\w/.-]+)`", text)})
FILES_OF_A_SERVER = {"evanesce.db", "evanesce.db.lock", "evanesce.secret"}
OTHERS = {"evanesce.v1", "evanesce.deliveries"}  # the subprotocol, and an attribute of spans
SOURCES = [
    file.as_posix()
    for folder in ("core", "plugins", "transports", "tests", "docs")
    for file in (ROOT / folder).rglob("*.*")
    if "node_modules" not in file.parts
]
MODULES = sorted(
    {name for text in TEXTS.values() for name in re.findall(r"`(\w[\w/-]*\.(?:py|js|lua|html|css|svg))`", text)}
)
EXAMPLES = {"accounts.js", "benchmark.svg", "build/sheet/index.html", "fr.js", "my_client.py", "words.py"}
"""Files of guides and a tutorial, and files that commands write."""


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    module, _, attribute = name.rpartition(".")
    try:
        import_module(name)
    except ModuleNotFoundError:
        return hasattr(import_module(module), attribute)
    return True


def test_there_are_names() -> None:
    assert "evanesce.interfaces" in NAMES
    assert len(FILES) > 5
    assert "sessions/task.py" in MODULES


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FILES_OF_A_SERVER | OTHERS])
def test_a_name_exists(name: str) -> None:
    assert exists(name)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_tests_exists(name: str) -> None:
    assert (ROOT / name).exists()


@pytest.mark.parametrize("name", [name for name in MODULES if name not in EXAMPLES])
def test_a_file_that_is_named_by_the_end_of_its_path_exists(name: str) -> None:
    assert any(source.endswith(f"/{name}") for source in SOURCES)
