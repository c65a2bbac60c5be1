"""Plugins that are installed: entry points of a distribution made for the test."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what installs a distribution with a module and an entry point for it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, code: str, *, module: str | None = None) -> None:
        module = module or f"plugin_{name}"
        (tmp_path / f"{module}.py").write_text(code)
        metadata = tmp_path / f"{module}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[evanesce.plugins]\n{name} = {module}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install
