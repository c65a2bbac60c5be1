"""Copies of the plugins and transports that come with Evanesce, in which a fault may be planted."""

from __future__ import annotations

import importlib
import itertools
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
PLUGINS, TRANSPORTS = "evanesce_plugins", "evanesce_transports"
OUTBOX = "delivery/outbox.py"
"""The outbox of the core, which the copy of the transports has as a module of its own."""

_SOURCES = {PLUGINS: ROOT / "plugins" / PLUGINS, TRANSPORTS: ROOT / "transports" / TRANSPORTS}
_CORE = [path for path in (ROOT / "core/evanesce").glob("*/*.py") if path.parent.name in ("delivery", "listening")]
"""The modules of the core that connections are made of: copied into the package as well."""

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Change:
    """A text in a file of a package, which must be there once, and what takes its place."""

    file: str
    old: str
    new: str


class Copy:
    """A copy of one package under another name."""

    def __init__(self, package: str, name: str) -> None:
        self.package = package
        self.name = name

    def module(self, path: str) -> ModuleType:
        """Import a module of the copy; `path` is relative to the package."""
        return importlib.import_module(f"{self.name}.{path}")


@contextmanager
def copied(package: str, folder: Path, changes: Sequence[Change]) -> Iterator[Copy]:
    """Copy a package into a folder, with these changes, and forget its modules at the end."""
    copy = Copy(package, f"copied_{next(_numbers)}_{package}")
    target = folder / copy.name
    shutil.copytree(_SOURCES[package], target, ignore=shutil.ignore_patterns("__pycache__"))
    for module in _CORE:
        (target / module.parent.name).mkdir(exist_ok=True)
        shutil.copy(module, target / module.parent.name / module.name)
    for file in target.rglob("*.py"):
        text = re.sub(rf"\b{package}\b", copy.name, file.read_text("utf-8"))
        file.write_text(re.sub(r"\bevanesce\.(delivery\.outbox|listening)\b", rf"{copy.name}.\1", text), "utf-8")
    for change in changes:
        file = target / change.file
        text = file.read_text("utf-8")
        assert text.count(change.old) == 1, f"{change.old!r} is {text.count(change.old)} times in {change.file}"
        file.write_text(text.replace(change.old, change.new), "utf-8")
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield copy
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] == copy.name]:
            del sys.modules[name]
