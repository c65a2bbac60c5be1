"""The private folder: whose is removed by the next process, and whose is left alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from evanesce.store.private_directory import PREFIX, PrivateDirectory


@pytest.fixture(autouse=True)
def temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_gone_when_it_is_removed(temporary_directory: Path) -> None:
    folder = PrivateDirectory()
    assert Path(folder.path).stat().st_mode & 0o777 == 0o700
    folder.remove()
    assert list(temporary_directory.iterdir()) == []


def test_a_folder_in_use_is_left_alone_and_an_abandoned_one_removed(temporary_directory: Path) -> None:
    used = PrivateDirectory()
    abandoned = temporary_directory / f"{PREFIX}abandoned"
    abandoned.mkdir()
    (abandoned / "lock").touch()
    (abandoned / "valkey.sock").touch()
    another = PrivateDirectory()
    assert Path(used.path).exists()
    assert not abandoned.exists()
    used.remove()
    another.remove()


def test_what_no_process_of_ours_made_is_left_alone(temporary_directory: Path) -> None:
    (temporary_directory / f"{PREFIX}without-a-lock").mkdir()
    (temporary_directory / f"{PREFIX}file").touch()
    somewhere = temporary_directory / "somewhere"
    somewhere.mkdir()
    (somewhere / "lock").touch()
    (temporary_directory / f"{PREFIX}link").symlink_to(somewhere)
    linked = temporary_directory / f"{PREFIX}linked-lock"
    linked.mkdir()
    (linked / "lock").symlink_to(somewhere / "lock")
    before = set(temporary_directory.iterdir())
    PrivateDirectory().remove()
    assert set(temporary_directory.iterdir()) == before
