"""The database's files: for their owner alone, whoever made them and whatever the umask."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from evanesce_plugins.sql.driver import Statement
from evanesce_plugins.sql.files import create_for_folder, keep_private
from evanesce_plugins.sqlite.driver import connect as connect_sqlite
from evanesce_plugins.turso.driver import connect as connect_turso
from evanesce_plugins.turso.settings import Address


@pytest.fixture(params=[0o000, 0o022, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("plugin", ["sqlite", "turso"])
async def test_all_files_of_a_database_are_its_owners(tmp_path: Path, plugin: str) -> None:
    file = tmp_path / "e.db"
    if plugin == "sqlite":
        opening = connect_sqlite(file, "plugins.sqlite.path")
    else:
        opening = connect_turso(Address("file", str(file), str(file), str(file)), None, 5.0, "plugins.turso")
    async with opening as driver:
        await driver.execute([Statement("CREATE TABLE notes (text TEXT)")])
        await driver.execute([Statement("INSERT INTO notes VALUES ('a')")])
        found = modes(tmp_path)
        assert set(found.values()) == {0o600}
        assert found.keys() == ({"e.db", "e.db-wal", "e.db-shm"} if plugin == "sqlite" else {"e.db"})


@pytest.mark.parametrize("mode", [0o644, 0o666, 0o640, 0o604, 0o777])
async def test_files_that_are_there_are_tightened_and_that_is_told(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("e.db", "e.db-wal", "e.db-shm", "e.db-journal", "e.db.backup"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    keep_private(tmp_path / "e.db")
    expected = mode & 0o700
    found = modes(tmp_path)
    assert found.pop("e.db.backup") == mode, "this is none of the database's"
    assert set(found.values()) == {expected}
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 4
    caplog.clear()
    keep_private(tmp_path / "e.db")
    assert not caplog.records


def test_a_link_is_followed_to_the_database(tmp_path: Path) -> None:
    (tmp_path / "real.db").touch(0o666)
    (tmp_path / "real.db").chmod(0o666)
    (tmp_path / "link.db").symlink_to("real.db")
    keep_private(tmp_path / "link.db")
    assert stat.S_IMODE((tmp_path / "real.db").stat().st_mode) == 0o600


@pytest.mark.usefixtures("umask")
async def test_a_link_to_no_database_yet_leads_to_a_private_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(0o700)
    (tmp_path / "data").chmod(0o700)
    (tmp_path / "link.db").symlink_to("data/real.db")
    async with connect_sqlite(tmp_path / "link.db", "plugins.sqlite.path") as driver:
        await driver.execute([Statement("CREATE TABLE notes (text TEXT)")])
        assert modes(tmp_path / "data") == dict.fromkeys(("real.db", "real.db-wal", "real.db-shm"), 0o600)


def test_a_link_to_itself_is_left_to_sqlite(tmp_path: Path) -> None:
    (tmp_path / "loop.db").symlink_to("loop.db")
    keep_private(tmp_path / "loop.db")
    assert os.listdir(tmp_path) == ["loop.db"]


@pytest.mark.parametrize("name", ["nowhere/e.db", "", "a" * 300])
def test_what_is_no_file_is_left_to_sqlite(tmp_path: Path, name: str) -> None:
    before = modes(tmp_path)
    keep_private(tmp_path / name)
    assert modes(tmp_path) == before


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("user", ["root", "another"])
def test_only_root_gives_a_new_file_to_the_owner_of_the_folder(
    tmp_path: Path, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs the tests: what is given to whom is noted, and not done."""
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0 if user == "root" else 1000)
    monkeypatch.setattr(os, "fchown", lambda descriptor, uid, gid: given.append((uid, gid)))
    for _ in range(2):
        create_for_folder(tmp_path / "e.db")
        assert modes(tmp_path) == {"e.db": 0o600}
    folder = tmp_path.stat()
    assert given == ([(folder.st_uid, folder.st_gid)] if user == "root" else []), "a file that exists stays as it is"


def test_the_folder_that_was_looked_up_is_the_one_whose_owner_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns the folder above it may put another folder in its place at any moment."""
    folder, other = tmp_path / "data", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    real_open, asked = os.open, list[int]()

    def open_and_exchange(path: str | Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        descriptor = real_open(path, flags, mode, dir_fd=dir_fd)
        if flags & os.O_DIRECTORY:
            folder.rename(tmp_path / "moved")
            other.rename(folder)
        return descriptor

    def note(descriptor: int, uid: int, gid: int) -> None:
        asked.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "open", open_and_exchange)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", note)
    create_for_folder(folder / "e.db")
    assert os.listdir(folder) == []
    assert asked == [(tmp_path / "moved" / "e.db").stat().st_ino]


def test_no_link_beside_a_database_leads_to_another_file(tmp_path: Path) -> None:
    """Where root runs a command, the file of another user must keep its permissions."""
    (tmp_path / "other").write_text("")
    (tmp_path / "other").chmod(0o644)
    (tmp_path / "e.db-journal").symlink_to("other")
    keep_private(tmp_path / "e.db")
    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o644
