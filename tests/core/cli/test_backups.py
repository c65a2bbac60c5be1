"""`evanesce db backup`, `db restore` and `db check`, run as deployers run them, on SQLite and a real libSQL server."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from evanesce_plugins.sql.inspection import LEAST_FREE
from evanesce_plugins.sql.schema import BINDING, MIGRATIONS
from evanesce_plugins.sql.table_copy import tables
from tests.core.cli.test_commands import run
from tests.core.cli.test_database_command import contents, filled, on, sql
from tests.core.cli.test_migrations import make, of_version
from tests.patience import PATIENCE
from tests.sqld import Sqld

pytestmark = pytest.mark.slow

NEWEST = len(MIGRATIONS)
PEOPLE = 1_200
TURSO = ("--set", f"plugins.enabled={json.dumps(['guest', 'turso', 'quart'])}")


@dataclass(frozen=True)
class Place:
    """A database of one kind with rows in it, and how to reach it."""

    folder: Path
    arguments: Sequence[str]
    write: Callable[[str], object]


@pytest.fixture(params=["sqlite", "file", "http", "ws"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    path = filled(tmp_path, PEOPLE)
    if request.param == "sqlite":
        return Place(tmp_path, (), lambda statement: sql(path, statement))
    if request.param == "file":
        there: Sequence[str] = ("--set", "plugins.turso.url=file:there.db")
        done = run(tmp_path, "db", "copy", "sqlite", "turso", *there)
        assert done.returncode == 0, done.stderr
        return Place(tmp_path, (*TURSO, *there), lambda statement: sql(tmp_path / "there.db", statement))
    sqld: Sqld = request.getfixturevalue("sqld")
    there = on(sqld, request.param)
    done = run(tmp_path, "db", "copy", "sqlite", "turso", *there)
    assert done.returncode == 0, done.stderr
    return Place(tmp_path, (*TURSO, *there), sqld.rows)


def checks(folder: Path, *arguments: str) -> Mapping[str, Mapping[str, str]]:
    done = run(folder, "db", "check", "--json", *arguments)
    return {check["part"]: check for check in json.loads(done.stdout)["checks"]}


def test_a_backup_has_every_row_and_comes_back(place: Place) -> None:
    before = contents(place.folder / "evanesce.db")
    done = run(place.folder, "db", "backup", "backup.db", *place.arguments)
    assert done.returncode == 0, done.stderr
    assert f"schema version {NEWEST}" in done.stdout
    assert "e-mail addresses" in done.stdout
    backup = place.folder / "backup.db"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert contents(backup) == before
    assert sql(backup, "PRAGMA integrity_check") == [("ok",)]
    assert sql(backup, f'SELECT * FROM "{BINDING}"') == []
    assert not [name for name in os.listdir(place.folder) if name.endswith(".part")]

    place.write('DELETE FROM "SessionLog"')
    place.write("""UPDATE "User" SET displayName = 'Eve'""")
    refused = run(place.folder, "db", "restore", "backup.db", *place.arguments)
    assert refused.returncode == 2
    assert "the database has rows" in refused.stderr
    restored = run(place.folder, "db", "restore", "backup.db", "--force", *place.arguments)
    assert restored.returncode == 0, restored.stderr + restored.stdout
    assert "every row refers to rows that exist" in restored.stdout
    again = run(place.folder, "db", "backup", "again.db", *place.arguments)
    assert again.returncode == 0, again.stderr
    assert contents(place.folder / "again.db") == before


def test_what_was_erased_and_revoked_since_the_backup_stays_so(place: Place) -> None:
    assert run(place.folder, "db", "backup", "backup.db", *place.arguments).returncode == 0
    [(user,)] = sql(place.folder / "backup.db", """SELECT userId FROM "User" WHERE displayName LIKE 'Ana%' LIMIT 1""")
    place.write(
        f"""UPDATE "User" SET worldId = NULL, displayName = '', erasedAt = '2026-01-01' WHERE userId = '{user}'"""
    )
    place.write("""INSERT INTO "RevokedSignIn" VALUES ('later', '9')""")
    restored = run(place.folder, "db", "restore", "backup.db", "--force", *place.arguments)
    assert restored.returncode == 0, restored.stderr
    assert "1 accounts were erased again" in restored.stdout
    assert "accounts that were erased after the backup" in restored.stdout
    assert run(place.folder, "db", "backup", "again.db", *place.arguments).returncode == 0
    again = place.folder / "again.db"
    assert sql(again, f"""SELECT displayName, erasedAt FROM "User" WHERE userId = '{user}'""") == [("", "2026-01-01")]
    for table in ("Registration", "SpentProof", "SessionLog", "RoomAdmission", "RoomBan"):
        assert sql(again, f"""SELECT count(*) FROM "{table}" WHERE userId = '{user}'""") == [(0,)]
    assert sql(again, """SELECT count(*) FROM "RevokedSignIn" WHERE signInId = 'later'""") == [(1,)]


def test_a_restore_is_refused_while_a_server_uses_the_database(place: Place) -> None:
    assert run(place.folder, "db", "backup", "backup.db", *place.arguments).returncode == 0
    place.write(f"""INSERT INTO "{BINDING}" VALUES (1, 'r', 1, CAST(strftime('%s', 'now') AS INTEGER))""")
    refused = run(place.folder, "db", "restore", "backup.db", "--force", *place.arguments)
    assert refused.returncode == 2
    assert "evanesce: db restore: a server used the database" in refused.stderr
    assert "servers run" in checks(place.folder, *place.arguments)["Redis"]["detail"]
    place.write(f'UPDATE "{BINDING}" SET seenAt = NULL')
    assert run(place.folder, "db", "restore", "backup.db", "--force", *place.arguments).returncode == 0
    # The Redis of the database is none of the backup's business.
    assert "its last server ended in order" in checks(place.folder, *place.arguments)["Redis"]["detail"]


def test_a_backup_of_any_database_is_restored_into_a_new_one_of_another_kind(place: Place) -> None:
    assert run(place.folder, "db", "backup", "backup.db", *place.arguments).returncode == 0
    fresh = place.folder / "fresh"
    fresh.mkdir()
    done = run(fresh, "db", "restore", "../backup.db")
    assert done.returncode == 0, done.stderr
    assert contents(fresh / "evanesce.db") == contents(place.folder / "evanesce.db")


@pytest.mark.parametrize("version", range(1, NEWEST + 1))
def test_a_database_of_each_version_is_backed_up_as_it_is_and_restored_as_the_newest(
    tmp_path: Path, version: int
) -> None:
    user = ("u", "guest:u", "Ana", None, "1", "2", None)
    path = make(tmp_path / "evanesce.db", *of_version(version))
    with closing(sqlite3.connect(path)) as database:
        columns = "userId, worldId, displayName, email, createdAt, lastActive, erasedAt"
        database.execute(f'INSERT INTO "User" ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)', user)
        database.commit()
    done = run(tmp_path, "db", "backup", "backup.db")
    assert done.returncode == 0, done.stderr
    assert f"schema version {version}, 1 rows (User 1" in done.stdout
    assert ("can restore the backup" in done.stdout) == (version < NEWEST)
    assert sql(path, 'SELECT max(version) FROM "Schema"') == [(version,)]
    assert sql(tmp_path / "backup.db", 'SELECT max(version) FROM "Schema"') == [(version,)]
    found = checks(tmp_path)
    assert found["schema"]["status"] == ("ok" if version == NEWEST else "warn")
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    restored = run(fresh, "db", "restore", "../backup.db")
    assert restored.returncode == 0, restored.stderr
    assert sql(fresh / "evanesce.db", 'SELECT max(version) FROM "Schema"') == [(NEWEST,)]
    assert sql(fresh / "evanesce.db", 'SELECT displayName, guest FROM "User"') == [("Ana", int(version < 3))]


SOMEBODY = 65_533
"""A user that owns files where the tests run as root."""


@pytest.mark.parametrize("kept", ["the file", "its folder"])
@pytest.mark.parametrize("plugin", ["sqlite", "turso"])
def test_a_restored_database_belongs_to_its_owner_or_that_of_its_folder(tmp_path: Path, plugin: str, kept: str) -> None:
    """Also where root restores it: the server's user could not open a file of root's."""
    filled(tmp_path, 10)
    assert run(tmp_path, "db", "backup", "backup.db").returncode == 0
    there = tmp_path / "data"
    there.mkdir()
    if plugin == "sqlite":
        arguments: Sequence[str] = ("--set", "plugins.sqlite.path=data/e.db")
    else:
        arguments = (*TURSO, "--set", "plugins.turso.url=file:data/e.db")
    if kept == "the file":
        assert run(tmp_path, "db", *arguments).returncode == 0
    if os.geteuid() == 0:
        os.chown(there / "e.db" if kept == "the file" else there, SOMEBODY, SOMEBODY)
    restored = run(tmp_path, "db", "restore", "backup.db", "--force", *arguments)
    assert restored.returncode == 0, restored.stderr + restored.stdout
    owner = SOMEBODY if os.geteuid() == 0 else os.geteuid()
    found = {file.name: (file.stat().st_uid, stat.S_IMODE(file.stat().st_mode)) for file in there.iterdir()}
    assert found.pop("e.db") == (owner, 0o600)
    assert set(found.values()) <= {(owner, 0o600)}, "what is beside it is opened with it"
    assert contents(there / "e.db") == contents(tmp_path / "backup.db")


def test_no_file_is_replaced_without_force_and_the_database_never(tmp_path: Path) -> None:
    path = filled(tmp_path, 3)
    before = path.read_bytes()
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "folder").mkdir()
    for arguments, told in (
        (("kept",), "exists. Name another file, or replace it with --force"),
        (("dangling",), "exists. Name another file, or replace it with --force"),
        (("dangling", "--force"), "is not a regular file"),
        (("folder", "--force"), "is not a regular file"),
        (("evanesce.db", "--force"), "belongs to the database itself"),
        (("link", "--force"), "belongs to the database itself"),
        (("evanesce.db-wal", "--force"), "belongs to the database itself"),
        (("nowhere/backup.db",), "is in a folder that does not exist"),
    ):
        done = run(tmp_path, "db", "backup", *arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert told in done.stderr
    assert path.read_bytes() == before
    assert (tmp_path / "kept").read_text() == "kept"
    assert not (tmp_path / "nowhere").exists()
    assert run(tmp_path, "db", "backup", "kept", "--force").returncode == 0
    assert contents(tmp_path / "kept") == contents(path)


def test_a_disk_with_too_little_space_gets_no_backup(tmp_path: Path) -> None:
    """The free space is made up: a byte less than the command needs, and then as much."""
    needed = filled(tmp_path, PEOPLE).stat().st_size + LEAST_FREE
    code = """
import shutil, sys
from types import SimpleNamespace
from evanesce.cli.main import main
shutil.disk_usage = lambda path: SimpleNamespace(free=int(sys.argv[1]))
sys.exit(main(["db", "backup", "backup.db"]))
"""
    for free in (needed - 1, needed):
        command = [sys.executable, "-c", code, str(free)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if free < needed:
            assert done.returncode == 2
            assert f"has {free} bytes free, and the backup may need {needed}" in done.stderr
            assert not [name for name in os.listdir(tmp_path) if "backup" in name]
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "backup.db") == contents(tmp_path / "evanesce.db")


def test_there_is_no_backup_of_nothing(tmp_path: Path) -> None:
    for action in (("backup", "backup.db"), ("check",)):
        done = run(tmp_path, "db", *action)
        assert done.returncode == 2
        assert "there is no database" in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_check_finds_rows_that_refer_to_nothing_and_no_backup_has_them(tmp_path: Path) -> None:
    path = filled(tmp_path, 3)
    sql(path, 'DELETE FROM "User" WHERE rowid = 1')
    done = run(tmp_path, "db", "check")
    assert done.returncode == 1
    assert "FAIL" in done.stdout
    assert "refers to no row of User" in checks(tmp_path)["references"]["detail"]
    refused = run(tmp_path, "db", "backup", "backup.db")
    assert refused.returncode == 2
    assert "rows that refer to nothing" in refused.stderr
    assert not [name for name in os.listdir(tmp_path) if "backup" in name]


def test_a_check_finds_a_damaged_index(tmp_path: Path) -> None:
    path = filled(tmp_path, 50)
    sql(
        path,
        "PRAGMA writable_schema = ON",
        """UPDATE sqlite_master SET sql = replace(sql, '(userId)', '(attempt)') WHERE name = 'SpentProofByUser'""",
    )
    done = run(tmp_path, "db", "check")
    assert done.returncode == 1
    assert "SpentProofByUser" in checks(tmp_path)["integrity"]["detail"]
    assert set(tables()) <= set(checks(tmp_path)["rows"]["detail"].replace("(", "").split())
