"""The plugin `sqlite` from its hooks on: settings, files that cannot be opened, and what is found again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pluggy
import pytest
import trio

from evanesce.errors import ConfigurationError, PersistenceUnavailable
from evanesce.hookspecs import Hooks
from evanesce.interfaces import Setup
from evanesce.testing.contracts.rows import a_room, a_user
from evanesce_plugins import sqlite
from evanesce_plugins.sql.schema import MIGRATIONS
from evanesce_plugins.sqlite import SqliteSettings
from evanesce_plugins.sqlite import driver as driver_module
from tests.patience import PATIENCE
from tests.plugins.conftest import files, sqlite_repository


def test_its_hooks_are_those_of_a_repository() -> None:
    manager = pluggy.PluginManager("evanesce")
    manager.add_hookspecs(Hooks)
    manager.register(sqlite, "sqlite")
    manager.check_pending()
    callers = manager.get_hookcallers(sqlite) or []
    assert {caller.name for caller in callers} == {"evanesce_settings", "evanesce_repository"}


def test_its_settings_are_the_path_of_a_file() -> None:
    assert msgspec.convert({}, SqliteSettings).path == "evanesce.db"
    assert msgspec.convert({"path": "/var/lib/e/e.db"}, SqliteSettings).path == "/var/lib/e/e.db"
    for wrong in ({"path": ":memory:"}, {"path": ""}, {"path": "a\0b"}, {"path": 1}, {"file": "evanesce.db"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, SqliteSettings)


async def test_a_relative_path_begins_at_the_working_folder_and_what_was_written_is_found_again(tmp_path: Path) -> None:
    repository = sqlite_repository(tmp_path)
    user = a_user()
    room = a_room(user)
    async with repository:
        await repository.sign_in(user)
        await repository.create_room(room, 10)
    assert files(tmp_path) == ["evanesce.db"]
    async with repository:
        assert await repository.user(user.user_id) == user
        assert await repository.room(room.room_id) == room


async def test_it_says_version_path_and_size(tmp_path: Path) -> None:
    repository = sqlite_repository(tmp_path)
    async with repository:
        text = await repository.check()
    assert text.startswith(f"SQLite {sqlite3.sqlite_version}, {tmp_path / 'evanesce.db'}, ")
    assert text.endswith(f" bytes, schema version {len(MIGRATIONS)}")


def a_folder(path: Path) -> None:
    path.mkdir()


def no_database(path: Path) -> None:
    path.write_bytes(b"This is a letter to my grandmother, and no database. " * 40)


def no_parent(path: Path) -> None:
    path.parent.rmdir()


@pytest.mark.parametrize("spoil", [a_folder, no_database, no_parent])
async def test_a_file_that_cannot_be_opened_is_the_configurations_error(tmp_path: Path, spoil: object) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    assert callable(spoil)
    spoil(folder / "evanesce.db")
    setup = Setup(
        name="sqlite",
        settings=SqliteSettings(),
        folder=folder,
        public_url="",
        origins=(),
        frame_bytes=65_536,
        outbox_bytes=1_048_576,
    )
    with pytest.raises(ConfigurationError) as refused:
        async with sqlite.evanesce_repository(setup):
            pass
    assert refused.value.path == "plugins.sqlite.path"
    assert str(folder / "evanesce.db") in refused.value.problem


async def test_a_file_that_another_process_keeps_locked_is_told_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "SECONDS", 0.3)
    with closing(sqlite3.connect(tmp_path / "evanesce.db", isolation_level=None)) as other:
        other.execute("CREATE TABLE notes (text TEXT)")
        other.execute("BEGIN EXCLUSIVE")
        with trio.fail_after(PATIENCE), pytest.raises(PersistenceUnavailable, match="locked by another process"):
            async with sqlite_repository(tmp_path):
                pass


async def test_an_opening_that_is_cancelled_leaves_no_file_open(tmp_path: Path) -> None:
    # A connection that nobody closed would show as a ResourceWarning, and here a warning is an error.
    with trio.CancelScope() as scope:
        scope.cancel()
        async with sqlite_repository(tmp_path):
            pytest.fail("it was not cancelled")
    assert scope.cancelled_caught
    async with sqlite_repository(tmp_path):
        pass
    assert files(tmp_path) == ["evanesce.db"]
