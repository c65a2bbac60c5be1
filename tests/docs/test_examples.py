"""The example plugins pass their own checks, use the public API alone, and are what the pages show."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.core.scaffold import distributions
from tests.core.scaffold.distributions import ROOT

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "docs/examples"
NAMES = sorted(folder.name for folder in EXAMPLES.iterdir() if (folder / "pyproject.toml").exists())
GUIDE = (ROOT / "docs/how-to/write-a-plugin.md").read_text("utf-8")
TESTING = {"evanesce.testing", "evanesce.testing.contracts"}


def public_modules() -> set[str]:
    """Return the modules that plugins may import, as the guide lists them."""
    [listed] = re.findall(r"^A plugin imports from (.*?) All other modules", GUIDE, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"`([\w.]+)`", listed))


def imported(file: Path) -> set[str]:
    """Return the modules of Evanesce that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            module = str(node.module)
            found |= {f"evanesce.{alias.name}" for alias in node.names} if module == "evanesce" else {module}
    return {name for name in found if name == "evanesce" or name.startswith(("evanesce.", "evanesce_"))}


def test_there_are_examples_and_the_page_lists_them() -> None:
    page = (EXAMPLES / "README.md").read_text("utf-8")
    assert NAMES == ["line-transport", "slow-mode"]
    assert re.findall(r"\]\(([\w-]+)/README\.md\)", page) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_imports_the_public_api_alone(name: str) -> None:
    public = public_modules()
    assert "evanesce.hookspecs" in public
    [package] = (EXAMPLES / name / "src").iterdir()
    for file in (EXAMPLES / name).rglob("*.py"):
        allowed = {package.name} | (TESTING if "tests" in file.parts[-2:] else set())
        used = imported(file)
        assert used, file
        wrong = {module for module in used - allowed if not any(f"{module}.".startswith(f"{one}.") for one in public)}
        assert not wrong, f"{file} imports {wrong}"


@pytest.mark.parametrize("name", NAMES)
def test_it_passes_its_checks_and_tests(name: str, tmp_path: Path) -> None:
    distributions.check_style(EXAMPLES / name)
    distributions.check_types(EXAMPLES / name, tmp_path)
    assert " passed" in distributions.check_tests(EXAMPLES / name)


def test_the_transport_of_the_guide_is_the_example() -> None:
    [shown] = re.findall(r"^<!-- lines -->\n```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    assert shown == (EXAMPLES / "line-transport/src/evanesce_lines/__init__.py").read_text("utf-8")
