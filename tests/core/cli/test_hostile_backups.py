"""Files that `evanesce db restore` must refuse, and processes that are killed: nothing is half done."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from evanesce_plugins.sql.schema import MIGRATIONS
from tests.core.cli.test_commands import run
from tests.core.cli.test_database_command import contents, filled, on, sql
from tests.core.cli.test_migrations import of_version
from tests.patience import PATIENCE
from tests.sqld import Sqld

pytestmark = pytest.mark.slow

NEWEST = len(MIGRATIONS)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(64 * 1024))


def replaced_by(*statements: str) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        path.unlink()
        sql(path, *statements)

    return act


def changed_by(*statements: str) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        sql(path, *statements)

    return act


def text(path: Path) -> None:
    path.write_text("hello")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def to_the_database(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("evanesce.db"))


def with_a_journal(path: Path) -> None:
    path.with_name(path.name + "-wal").write_bytes(b"x")


TRIGGER = 'CREATE TRIGGER t AFTER INSERT ON "User" BEGIN DELETE FROM "ChatRoom"; END'

HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "text": (text, "is not an SQLite database"),
    "empty": (empty, "is not an SQLite database"),
    "missing": (Path.unlink, "cannot be used (No such file or directory)"),
    "pipe": (pipe, "is not a regular file"),
    "folder": (folder, "cannot be used"),
    "loop": (loop, "cannot be used (Too many levels of symbolic links)"),
    "the database": (to_the_database, "is the database itself"),
    "truncated": (truncate, "backup.db"),
    "overwritten": (overwrite, "backup.db"),
    "in use": (with_a_journal, "has a journal beside it"),
    "newer": (changed_by(f'INSERT INTO "Schema" VALUES ({NEWEST + 1})'), "this Evanesce knows none above"),
    "other application": (changed_by("PRAGMA application_id = 7"), "is a database of another application"),
    "other tables": (replaced_by("CREATE TABLE notes (id INTEGER)"), "that Evanesce did not create"),
    "no tables": (replaced_by("CREATE TABLE a (b)", "DROP TABLE a"), "has no tables of Evanesce"),
    "fewer columns": (changed_by('ALTER TABLE "SpentProof" DROP COLUMN attempt'), "backup.db"),
    "trigger": (changed_by(TRIGGER), "does not have the tables of schema version"),
    "orphans": (changed_by('DELETE FROM "User" WHERE rowid = 1'), "rows that refer to nothing"),
    "a blob": (changed_by("""UPDATE "User" SET displayName = x'ff00'"""), "has data that Evanesce never writes"),
    "no text": (changed_by("""UPDATE "User" SET displayName = CAST(x'ff' AS TEXT)"""), "backup.db cannot be used"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_and_changes_nothing(tmp_path: Path, name: str) -> None:
    spoil, told = HOSTILE[name]
    path = filled(tmp_path, 60)
    assert run(tmp_path, "db", "backup", "backup.db").returncode == 0
    spoil(tmp_path / "backup.db")
    before = contents(path)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = run(tmp_path, "db", "restore", "backup.db", "--force", environ={"TMPDIR": str(temporary)})
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("evanesce: db restore: ")
    assert told in line
    assert contents(path) == before
    assert os.listdir(temporary) == []


def test_a_row_that_the_newest_schema_refuses_changes_nothing(tmp_path: Path) -> None:
    path = filled(tmp_path, 3)
    before = contents(path)
    old = "INSERT INTO \"User\" VALUES ('u', 'w', 'Ana', NULL, '1', '2', NULL)"
    sql(
        tmp_path / "backup.db",
        *of_version(1),
        old,
        "PRAGMA ignore_check_constraints = ON",
        'UPDATE "User" SET erasedAt = 1',
    )
    done = run(tmp_path, "db", "restore", "backup.db", "--force")
    assert done.returncode == 2, done.stdout
    assert contents(path) == before


# Each stops the process at one place, as if it had been killed there, and says so.
KILLED = """
import os, sys
from evanesce_plugins.sql import backup_file, backups
from evanesce.cli.main import main
where = sys.argv.pop(1)
def here(*_, **__):
    print("here", flush=True)
    os.kill(os.getpid(), 9)
if where == "write":
    whole = backup_file.BackupFile.write
    def write(self, table, rows):
        whole(self, table, rows)
        if table.name == "SessionLog":
            here()
    backup_file.BackupFile.write = write
elif where == "publish":
    backup_file._sync = here
elif where == "replace":
    whole_rows = backup_file.PrivateCopy.rows
    def rows(self, sql, values):
        if 'FROM "RoomBan"' in sql:
            here()
        return whole_rows(self, sql, values)
    backup_file.PrivateCopy.rows = rows
elif where == "verify":
    backup_file.PrivateCopy.verify = here
sys.exit(main())
"""


@pytest.mark.parametrize("where", ["write", "publish", "verify", "replace"])
def test_a_killed_process_leaves_nothing_half_done(tmp_path: Path, where: str) -> None:
    path = filled(tmp_path)
    before = contents(path)
    action = ["backup", "new.db"] if where in ("write", "publish") else ["restore", "backup.db", "--force"]
    assert run(tmp_path, "db", "backup", "backup.db").returncode == 0
    sql(path, """UPDATE "User" SET displayName = 'later' WHERE erasedAt IS NULL""")
    later = contents(path)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, where, "db", *action],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "here\n"), killed.stderr
    assert not (tmp_path / "new.db").exists()
    assert contents(path) == later
    assert contents(tmp_path / "backup.db") == before
    assert run(tmp_path, "db", *action).returncode == 0
    assert contents(path) == (later if action[0] == "backup" else before)


def test_a_backup_during_writes_is_one_state_of_the_database(tmp_path: Path) -> None:
    """Two tables change together all the time: in a backup they agree."""
    path = filled(tmp_path, 3)
    stop = threading.Event()
    written = [0]

    def write() -> None:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as database:
            [[user]] = database.execute('SELECT userId FROM "User" LIMIT 1').fetchall()
            while not stop.is_set():
                number = written[0]
                database.execute("BEGIN IMMEDIATE")
                # The first and the last table that a backup reads.
                people = (f"z{number}", f"z{number}", "Z", None, "1", "2", None, 0)
                database.execute(f'INSERT INTO "User" VALUES ({", ".join("?" * 8)})', people)
                database.execute('INSERT INTO "UserBan" VALUES (?, ?, ?, ?, ?)', (f"z{number}", user, "r", "1", "2"))
                database.execute("COMMIT")
                written[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            done = run(tmp_path, "db", "backup", f"{number}.db")
            assert done.returncode == 0, done.stderr
    finally:
        stop.set()
        writer.join()
    counts = []
    for number in range(3):
        backup = tmp_path / f"{number}.db"
        [(people,)] = sql(backup, """SELECT count(*) FROM "User" WHERE userId LIKE 'z%'""")
        assert sql(backup, """SELECT count(*) FROM "UserBan" WHERE subject LIKE 'z%'""") == [(people,)]
        counts.append(people)
    assert counts == sorted(counts)
    assert written[0] > 0


def test_a_backup_of_libsql_during_writes_is_one_state_of_the_database(tmp_path: Path, sqld: Sqld) -> None:
    """Each person is followed by a ban: no backup has a ban without its person, or two people without bans."""
    filled(tmp_path, 3)
    copied = run(tmp_path, "db", "copy", "sqlite", "turso", *on(sqld, "http"))
    assert copied.returncode == 0, copied.stderr
    stop, begun = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            user = f"z{number}"
            # The first and the last table that a backup reads.
            sqld.rows(f"""INSERT INTO "User" VALUES ('{user}', '{user}', 'Z', NULL, '1', '2', NULL, 0)""")
            sqld.rows(f"""INSERT INTO "UserBan" VALUES ('{user}', '{user}', 'r', '1', '2')""")
            begun.set()
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(PATIENCE)
        for number in range(3):
            enabled = ("--set", f"plugins.enabled={json.dumps(['guest', 'turso', 'quart'])}")
            done = run(tmp_path, "db", "backup", f"{number}.db", *enabled, *on(sqld, "http"))
            assert done.returncode == 0, done.stderr
    finally:
        stop.set()
        writer.join()
    counts = []
    for number in range(3):
        backup = tmp_path / f"{number}.db"
        [(people,)] = sql(backup, """SELECT count(*) FROM "User" WHERE userId LIKE 'z%'""")
        [(bans,)] = sql(backup, """SELECT count(*) FROM "UserBan" WHERE subject LIKE 'z%'""")
        assert people - bans in (0, 1)
        counts.append(people)
    assert counts == sorted(set(counts)), "people were added between any two backups"
