"""The watch over the files of plugins."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from evanesce.lifecycle import reload
from evanesce.lifecycle.reload import FileWatch
from evanesce.plugins import Plugins, discovery
from tests.patience import within


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def replace_of_equal_size(path: Path) -> None:
    before = path.stat()
    path.write_text("y")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


CHANGES: dict[str, Callable[[Path], object]] = {
    "a module": lambda root: replace_of_equal_size(root / "package" / "module.py"),
    "a new file": lambda root: write(root / "package" / "page" / "new.js", "x"),
    "a file that is gone": lambda root: (root / "package" / "module.py").unlink(),
    "the only file of a plugin": lambda root: write(root / "single.py", "longer"),
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(reload, "POLL_SECONDS", 0.01)
    write(tmp_path / "package" / "module.py", "x")
    write(tmp_path / "single.py", "x")
    write(tmp_path / "beside.py", "x")
    return tmp_path


class Asked:
    """Counts what the watch asks for."""

    def __init__(self) -> None:
        self.times = 0
        self.came = trio.Event()

    def __call__(self) -> None:
        self.times += 1
        self.came.set()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_each_change_is_told_once(change: Callable[[Path], object], root: Path, nursery: trio.Nursery) -> None:
    asked = Asked()
    await nursery.start(FileWatch([root / "package", root / "single.py"], asked).run)
    change(root)
    with within(10):
        await asked.came.wait()
    asked.came = trio.Event()
    write(root / "single.py", "another change")
    with within(10):
        await asked.came.wait()
    assert asked.times == 2


async def test_what_is_compiled_hidden_or_beside_is_not_watched(root: Path, nursery: trio.Nursery) -> None:
    asked = Asked()
    await nursery.start(FileWatch([root / "package", root / "single.py"], asked).run)
    write(root / "package" / "__pycache__" / "module.pyc", "x")
    write(root / "package" / ".hidden" / "file", "x")
    write(root / "package" / ".module.py.swp", "x")
    write(root / "beside.py", "longer")
    write(root / "single.py", "longer")  # after the others: the watch has seen them when it has seen this
    with within(10):
        await asked.came.wait()
    assert asked.times == 1


async def test_so_many_files_and_no_more_are_watched(
    root: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "MOST_FILES", 1)
    asked = Asked()
    await nursery.start(FileWatch([root / "single.py", root / "package"], asked).run)
    write(root / "package" / "module.py", "longer")
    write(root / "single.py", "longer")
    with within(10):
        await asked.came.wait()
    assert asked.times == 1


def test_the_files_of_plugins_are_found_by_their_entry_points() -> None:
    Plugins.load(["guest", "sqlite", "quart"])
    names = [path.name for path in discovery.files(["guest", "sqlite", "quart"])]
    assert sorted(names) == ["evanesce_plugins", "evanesce_transports"]
