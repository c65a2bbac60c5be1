"""A database is looked at without a trace: nothing is made, migrated or tidied, and what cannot be used is refused."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import trio

from evanesce.errors import ConfigurationError, PersistenceUnavailable
from evanesce.interfaces import Repository
from evanesce_plugins.sql import inspection
from evanesce_plugins.sql.schema import MIGRATIONS, STEPS
from tests.patience import PATIENCE
from tests.plugins.conftest import sqlite_repository, turso_repository
from tests.sqld import Sqld

NEWEST = len(MIGRATIONS)
VERSIONS = 'CREATE TABLE "Schema" (version INTEGER NOT NULL PRIMARY KEY)'

FILES: Mapping[str, Callable[[Path], Repository]] = {
    "sqlite": sqlite_repository,
    "turso file": lambda folder: turso_repository("file:evanesce.db", folder=folder),
}


@pytest.fixture(params=list(FILES))
def opens(request: pytest.FixtureRequest) -> Callable[[Path], Repository]:
    return FILES[request.param]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    return made


def sql(path: Path, *statements: str) -> None:
    """Do statements on a file, past Evanesce."""
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def of_version(version: int) -> list[str]:
    """Return what makes a database of an older version."""
    statements = [VERSIONS] if version else []
    for number, migration in enumerate(MIGRATIONS[:version], 1):
        statements += [*migration, f'INSERT INTO "Schema" VALUES ({number})']
    return statements


def trace(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return what is in a folder, if it is one: contents, when they were changed, and modes; not the index of a log."""
    return {
        file.name: (file.read_bytes() if file.is_file() else b"", file.lstat().st_mtime_ns, file.lstat().st_mode)
        for file in (folder.iterdir() if folder.is_dir() else ())
        if not file.name.endswith("-shm")
    }


@pytest.mark.parametrize("version", range(1, NEWEST + 1))
async def test_a_file_is_left_as_it_is_whatever_its_version(
    folder: Path, opens: Callable[[Path], Repository], version: int
) -> None:
    path = folder / "evanesce.db"
    sql(path, "PRAGMA journal_mode = WAL", *of_version(version))
    path.chmod(0o644)  # opening it would take that away
    before = trace(folder)
    assert list(before) == ["evanesce.db"]
    found = await opens(folder).inspect()
    assert (found.found, found.newest, tuple(found.steps)) == (version, NEWEST, STEPS[version:])
    assert found.file == path
    assert found.text.endswith(f"schema version {version}")
    assert trace(folder) == before


async def test_what_a_killed_server_left_in_the_log_is_read_and_stays_there(
    folder: Path, opens: Callable[[Path], Repository]
) -> None:
    alive = folder.parent / "alive"
    alive.mkdir()
    with closing(sqlite3.connect(alive / "evanesce.db")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        for statement in of_version(NEWEST):
            database.execute(statement)
        database.commit()
        for file in alive.iterdir():
            shutil.copy(file, folder)  # as it is on the disk at this moment
        assert (await opens(alive).inspect()).found == NEWEST, "while another process has it open"
    assert (folder / "evanesce.db-wal").stat().st_size > 0
    before = trace(folder)
    assert (await opens(folder).inspect()).found == NEWEST
    assert trace(folder) == before


async def test_nothing_is_made_where_nothing_is(folder: Path, opens: Callable[[Path], Repository]) -> None:
    found = await opens(folder).inspect()
    assert (found.found, found.newest, found.file) == (0, NEWEST, folder / "evanesce.db")
    assert "does not exist yet" in found.text
    assert "MiB free" in found.text
    assert trace(folder) == {}
    (folder / "evanesce.db").touch()
    assert (await opens(folder).inspect()).found == 0
    assert (folder / "evanesce.db").stat().st_size == 0


async def test_a_full_disk_is_told_before_anything_is_made(
    folder: Path, opens: Callable[[Path], Repository], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "LEAST_FREE", 2**62)
    with pytest.raises(PersistenceUnavailable, match="disk of"):
        await opens(folder).inspect()


def a_letter(path: Path) -> None:
    path.write_bytes(b"This is a letter to my grandmother, and no database. " * 40)


def another_application(path: Path) -> None:
    sql(path, "PRAGMA application_id = 252006674", *of_version(NEWEST))


def no_folder(path: Path) -> None:
    path.parent.rmdir()


def a_file_as_folder(path: Path) -> None:
    path.parent.rmdir()
    path.parent.touch()


def a_loop(path: Path) -> None:
    path.symlink_to(path)


def a_link_to_nowhere(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere" / "evanesce.db")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (Path.mkdir, "is a folder"),
        (os.mkfifo, "is not a regular file"),
        (a_letter, "cannot be used as a database"),
        (another_application, "application_id 252006674"),
        (no_folder, "a folder that does not exist"),
        (a_file_as_folder, "evanesce.db "),
        (a_loop, "cannot be used"),
        (a_link_to_nowhere, "a folder that does not exist"),
    ],
)
async def test_a_path_that_cannot_be_used(
    folder: Path, opens: Callable[[Path], Repository], spoil: Callable[[Path], None], told: str
) -> None:
    path = folder / "evanesce.db"
    spoil(path)
    before = trace(folder)
    with trio.fail_after(PATIENCE), pytest.raises(ConfigurationError) as refused:
        await opens(folder).inspect()
    assert told in refused.value.problem
    assert str(path) in refused.value.problem
    assert refused.value.path in ("plugins.sqlite.path", "plugins.turso.url")
    assert trace(folder) == before


@pytest.mark.parametrize("denied", ["folder", "file"])
async def test_what_this_user_may_not_write_to(
    folder: Path, opens: Callable[[Path], Repository], denied: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "evanesce.db"
    sql(path, *of_version(NEWEST))
    barred, allowed = (folder if denied == "folder" else path), os.access
    # Whoever runs this test may be root, whom no permission stops.
    monkeypatch.setattr(os, "access", lambda asked, mode: Path(asked) != barred and allowed(asked, mode))
    with pytest.raises(ConfigurationError, match="may not"):
        await opens(folder).inspect()


FOREIGN: Mapping[str, Sequence[str]] = {
    "a table of one of our names": ('CREATE TABLE "User" (id INTEGER)',),
    "the same in other letters": ("CREATE TABLE user (id INTEGER)",),
    "a later table of ours": ('CREATE TABLE "Registration" (id INTEGER)',),
    "a view": ('CREATE VIEW "ChatRoom" AS SELECT 1 AS roomId',),
    "tables of other names": ("CREATE TABLE moz_places (id INTEGER)",),
    "a table of versions that is not ours": ('CREATE TABLE "Schema" (name TEXT, value TEXT)',),
    "the same in other letters, with rows": (
        'CREATE TABLE "schema" (name TEXT)',
        """INSERT INTO "schema" VALUES ('one')""",
    ),
    "a table of versions like ours beside others": (VERSIONS, 'CREATE TABLE "User" (id INTEGER)'),
    "versions without our tables": (VERSIONS, 'INSERT INTO "Schema" VALUES (1)', 'CREATE TABLE "User" (id INTEGER)'),
}


@pytest.mark.parametrize("statements", FOREIGN.values(), ids=FOREIGN)
async def test_anothers_file_is_refused_and_left_as_it_is(
    folder: Path, opens: Callable[[Path], Repository], statements: Sequence[str]
) -> None:
    path = folder / "evanesce.db"
    sql(path, *statements)
    before = trace(folder)
    with pytest.raises(ConfigurationError, match="another application's") as refused:
        await opens(folder).inspect()
    assert refused.value.hint == "Name another database"
    assert trace(folder) == before


async def test_tables_of_tools_are_nobodys(folder: Path, opens: Callable[[Path], Repository]) -> None:
    sql(folder / "evanesce.db", "CREATE TABLE _litestream_seq (id INTEGER)")
    assert (await opens(folder).inspect()).found == 0
    async with opens(folder):
        pass
    assert (await opens(folder).inspect()).found == NEWEST


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_a_server_is_left_as_it_is(sqld: Sqld, scheme: str) -> None:
    repository = turso_repository(sqld.url(scheme), sqld.token())
    names = "SELECT name, sql FROM sqlite_master ORDER BY name"
    empty = sqld.rows(names)
    found = await repository.inspect()
    assert (found.found, found.newest, found.file) == (0, NEWEST, None)
    assert sqld.rows(names) == empty
    for statement in of_version(2):
        sqld.rows(statement)
    before = sqld.rows(names)
    found = await repository.inspect()
    assert (found.found, tuple(found.steps)) == (2, STEPS[2:])
    assert sqld.rows(names) == before
    async with repository:
        pass
    assert (await repository.inspect()).found == NEWEST


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_a_token_that_may_only_read_is_told_on_an_empty_server_too(sqld: Sqld, scheme: str) -> None:
    with pytest.raises(PersistenceUnavailable) as refused:
        await turso_repository(sqld.url(scheme), sqld.token("ro")).inspect()
    assert "takes no writes with this token" in str(refused.value.__cause__)


@pytest.mark.parametrize("statements", FOREIGN.values(), ids=FOREIGN)
async def test_anothers_server_is_refused_and_left_as_it_is(sqld: Sqld, statements: Sequence[str]) -> None:
    for statement in statements:
        sqld.rows(statement)
    names = "SELECT name, sql FROM sqlite_master ORDER BY name"
    before = sqld.rows(names)
    repository = turso_repository(sqld.url(), sqld.token())
    with pytest.raises(ConfigurationError, match="another application's"):
        await repository.inspect()
    with pytest.raises(ConfigurationError, match="another application's"):
        async with repository:
            pass
    assert sqld.rows(names) == before


async def test_a_newer_version_is_refused(folder: Path, opens: Callable[[Path], Repository]) -> None:
    sql(folder / "evanesce.db", *of_version(NEWEST), f'INSERT INTO "Schema" VALUES ({NEWEST + 1})')
    before = trace(folder)
    with pytest.raises(ConfigurationError, match=f"schema version {NEWEST + 1}, and this Evanesce knows none above"):
        await opens(folder).inspect()
    assert trace(folder) == before


def test_every_migration_says_what_it_adds() -> None:
    assert len(STEPS) == len(MIGRATIONS)
