"""`evanesce db` and `evanesce db copy`, run as deployers run them; with a real libSQL server on the other side."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from evanesce_plugins.sql.schema import MIGRATIONS
from evanesce_plugins.sql.table_copy import tables
from tests.core.cli.test_commands import run
from tests.sqld import Sqld

pytestmark = pytest.mark.slow

NEWEST = len(MIGRATIONS)


def sql(path: Path, *statements: str) -> list[tuple[object, ...]]:
    """Do statements on a file, past Evanesce; give the rows of the last."""
    rows: list[tuple[object, ...]] = []
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            rows = database.execute(statement).fetchall()
        database.commit()
    return rows


def filled(folder: Path, people: int = 1_200) -> Path:
    """Make a database with rows in every table, more than go on one page."""
    assert run(folder, "db").returncode == 0
    path = folder / "evanesce.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA foreign_keys = ON")
        for number in range(people):
            user, room, name = (str(uuid.uuid4()) for _ in range(3))
            erased = number % 7 == 0
            columns = (
                user,
                None if erased else f"key:{number}",
                "" if erased else f"Ana 👩‍💻 {number}",
                None,
                "1",
                "2",
            )
            user_row = (*columns, "3" if erased else None, number % 2)
            database.execute(f'INSERT INTO "User" VALUES ({", ".join("?" * 8)})', user_row)
            closed = "4" if number % 3 else None
            rules = (None if number % 4 else 0.1 * number + 1, "invite" if number % 2 else "link", 1, 0, number)
            room_row = (room, user, "1", f"/{room}", 0, closed, *rules)
            database.execute(f'INSERT INTO "ChatRoom" VALUES ({", ".join("?" * 11)})', room_row)
            session = (name, user, room, "1", "5" if number % 5 else None, "one")
            database.execute('INSERT INTO "SessionLog" VALUES (?, ?, ?, ?, ?, ?, ?)', (*session, number % 2))
            database.execute('INSERT INTO "RevokedSignIn" VALUES (?, ?)', (name, "9"))
            registration = ("keys", user, f'"{number}" \\ é', f"CODE {number}")
            database.execute('INSERT INTO "Registration" VALUES (?, ?, ?, ?)', registration)
            database.execute('INSERT INTO "SpentProof" VALUES (?, ?, ?, ?)', ("keys", name, user, "attempt"))
            used = (1, "3") if number % 3 else (0, None)
            invite = (name, room, f"hash {number}", 1, used[0], "1", "9", used[1])
            database.execute(f'INSERT INTO "RoomInvite" VALUES ({", ".join("?" * 8)})', invite)
            database.execute('INSERT INTO "RoomAdmission" VALUES (?, ?, ?)', (room, user, "2"))
            banned = None if erased else user
            ban = (room, f"subject {number}", banned, "vote" if number % 2 else "creator", "1", "2")
            database.execute('INSERT INTO "RoomBan" VALUES (?, ?, ?, ?, ?, ?)', ban)
            server_ban = (f"subject {number}", banned, "a reason", "1", "2")
            database.execute('INSERT INTO "UserBan" VALUES (?, ?, ?, ?, ?)', server_ban)
        database.commit()
    return path


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return all rows of all tables, in the order of their keys."""
    return {name: sql(path, f'SELECT * FROM "{name}" ORDER BY 1, 2') for name in tables()}


def on(sqld: Sqld, scheme: str = "http") -> Sequence[str]:
    url, token = f"plugins.turso.url={sqld.url(scheme)}", f"plugins.turso.auth_token={sqld.token()}"
    return ["--set", url, "--set", token]


def test_the_tables_are_those_of_a_database_and_come_behind_what_they_refer_to(tmp_path: Path) -> None:
    path = filled(tmp_path, 1)
    found = {row[0] for row in sql(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert found == {*tables(), "Schema", "RedisBinding"}
    names = list(tables())
    for name in names:
        for row in sql(path, f'PRAGMA foreign_key_list("{name}")'):
            assert names.index(str(row[2])) < names.index(name)


def test_db_shows_the_version_and_migrates(tmp_path: Path) -> None:
    made = run(tmp_path, "db")
    assert (made.returncode, made.stderr) == (0, "")
    first, second = made.stdout.splitlines()
    assert first.startswith("database: SQLite ")
    assert first.endswith(f"schema version {NEWEST}")
    assert second == f"schema: migrated from version 0 to {NEWEST}"
    again = run(tmp_path, "db")
    assert again.stdout.splitlines()[1] == "schema: up to date"


def test_db_brings_an_older_database_to_this_version_and_leaves_a_newer_one(tmp_path: Path) -> None:
    path = tmp_path / "evanesce.db"
    sql(path, 'CREATE TABLE "Schema" (version INTEGER NOT NULL PRIMARY KEY)', 'INSERT INTO "Schema" VALUES (1)')
    sql(path, *MIGRATIONS[0])
    done = run(tmp_path, "db")
    assert done.stdout.splitlines()[1] == f"schema: migrated from version 1 to {NEWEST}"
    sql(path, f'INSERT INTO "Schema" VALUES ({NEWEST + 1})')
    refused = run(tmp_path, "db")
    assert refused.returncode == 2
    assert f"plugins.sqlite.path: the database has schema version {NEWEST + 1}" in refused.stderr


def test_db_shows_a_database_on_a_server(tmp_path: Path, sqld: Sqld) -> None:
    enabled = json.dumps(["guest", "turso", "quart"])
    done = run(tmp_path, "db", "--set", f"plugins.enabled={enabled}", *on(sqld))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == f"schema: migrated from version 0 to {NEWEST}"
    assert sqld.rows('SELECT max(version) FROM "Schema"') == [(NEWEST,)]


@pytest.mark.parametrize("scheme", ["http", "ws"])
def test_everything_moves_to_a_server_and_back(tmp_path: Path, sqld: Sqld, scheme: str) -> None:
    path = filled(tmp_path)
    there = run(tmp_path, "db", "copy", "sqlite", "turso", *on(sqld, scheme))
    assert (there.returncode, there.stderr) == (0, "")
    *counts, last = there.stdout.splitlines()
    assert counts == [f"{name}: 1200 rows copied" for name in tables()]
    assert last == "turso has the same rows as sqlite"
    for name in tables():
        assert sqld.rows(f'SELECT count(*) FROM "{name}"') == [(1200,)]

    back = tmp_path / "back"
    back.mkdir()
    done = run(back, "db", "copy", *on(sqld, scheme), "turso", "sqlite")
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(back / "evanesce.db") == contents(path)
    assert sql(back / "evanesce.db", "PRAGMA foreign_key_check") == []


def test_a_copy_that_was_interrupted_goes_on_where_it_was(tmp_path: Path) -> None:
    path = filled(tmp_path)
    copy = ("db", "copy", "sqlite", "turso", "--set", "plugins.turso.url=file:copy.db")
    assert run(tmp_path, *copy).returncode == 0
    sql(tmp_path / "copy.db", 'DELETE FROM "SpentProof"', 'DELETE FROM "SessionLog" WHERE rowid % 2')
    again = run(tmp_path, *copy)
    assert again.returncode == 0
    assert again.stdout.splitlines()[:3] == [
        "User: 0 rows copied",
        "ChatRoom: 0 rows copied",
        "SessionLog: 600 rows copied",
    ]
    assert contents(tmp_path / "copy.db") == contents(path)


@pytest.mark.parametrize(
    ("table", "spoil"),
    [
        ("User", """INSERT INTO "User" VALUES ('zzz', 'key:zzz', 'Eve', NULL, '1', '2', NULL, 0)"""),
        ("User", """INSERT INTO "User" VALUES ('000', 'key:000', 'Eve', NULL, '1', '2', NULL, 0)"""),
        ("User", """UPDATE "User" SET displayName = 'Eve' WHERE rowid = 700"""),
        ("SessionLog", """UPDATE "SessionLog" SET leaveTime = '8' WHERE rowid = 1200"""),
        ("ChatRoom", """UPDATE "ChatRoom" SET rulesVersion = rulesVersion + 1 WHERE rowid = 700"""),
        ("RoomInvite", """UPDATE "RoomInvite" SET expiresAt = '8' WHERE rowid = 1200"""),
        ("RoomAdmission", """UPDATE "RoomAdmission" SET admittedAt = '8' WHERE rowid = 1"""),
        ("RoomBan", """UPDATE "RoomBan" SET userId = NULL WHERE rowid = 700"""),
        ("UserBan", """UPDATE "UserBan" SET reason = 'another' WHERE rowid = 700"""),
    ],
)
def test_a_database_that_holds_something_else_is_left_as_it_is(tmp_path: Path, table: str, spoil: str) -> None:
    filled(tmp_path)
    copy = ("db", "copy", "sqlite", "turso", "--set", "plugins.turso.url=file:copy.db")
    assert run(tmp_path, *copy).returncode == 0
    sql(tmp_path / "copy.db", spoil, 'DELETE FROM "RevokedSignIn"')
    before = contents(tmp_path / "copy.db")
    refused = run(tmp_path, *copy)
    assert refused.returncode == 1
    [line] = refused.stdout.splitlines()
    assert line.startswith(f"FAIL {table}: turso has rows that sqlite does not have.")
    assert contents(tmp_path / "copy.db") == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("copy",), "the following arguments are required: FROM, TO"),
        (("copy", "sqlite", "sqlite"), "a database cannot be copied into itself"),
        (("copy", "sqlite", "nobody"), "no plugin 'nobody' is installed"),
        (("copy", "sqlite", "guest"), "plugin 'guest': it has no repository"),
        (("copy", "sqlite", "turso"), "plugins.turso.url: is missing"),
        (("move",), "argument ACTION: invalid choice: 'move'"),
    ],
)
def test_wrong_arguments_are_told_on_one_line(tmp_path: Path, arguments: Sequence[str], told: str) -> None:
    done = run(tmp_path, "db", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert told in line


def test_a_third_partys_repository_is_shown_and_not_copied(tmp_path: Path) -> None:
    site = tmp_path / "site"
    metadata = site / "elsewhere-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[evanesce.plugins]\nelsewhere = elsewhere\n")
    (site / "elsewhere.py").write_text(
        "from evanesce.hookspecs import hookimpl\n"
        "from evanesce.testing.memory_repository import MemoryRepository\n"
        "@hookimpl\n"
        "def evanesce_repository(setup):\n"
        "    return MemoryRepository()\n"
    )
    environ = {"PYTHONPATH": str(site)}
    shown = run(tmp_path, "db", "--set", 'plugins.enabled=["elsewhere"]', environ=environ)
    assert (shown.returncode, shown.stdout) == (0, "database: in memory\n")
    assert run(tmp_path, "db").returncode == 0
    refused = run(tmp_path, "db", "copy", "sqlite", "elsewhere", environ=environ)
    assert refused.returncode == 2
    assert "plugin 'elsewhere': its database cannot be copied" in refused.stderr
