"""Which commands make or migrate a database, and which only look: run as deployers run them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from evanesce_plugins.sql.schema import MIGRATIONS, STEPS
from tests.checks import Row, rows
from tests.core.cli.test_commands import bind_of_nobody, run
from tests.core.cli.test_database_command import on
from tests.sqld import Sqld

pytestmark = pytest.mark.slow

NEWEST = len(MIGRATIONS)
SECRET = f"server.secret={'s' * 32}"


def make(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()
    return path


def of_version(version: int) -> list[str]:
    statements = ['CREATE TABLE "Schema" (version INTEGER NOT NULL PRIMARY KEY)']
    for number, migration in enumerate(MIGRATIONS[:version], 1):
        statements += [*migration, f'INSERT INTO "Schema" VALUES ({number})']
    return statements


def settings(*given: str) -> Sequence[str]:
    return [
        word for setting in (SECRET, f"plugins.quart.bind={bind_of_nobody()}", *given) for word in ("--set", setting)
    ]


def database(output: str) -> Row:
    """Return what `check` found of the database."""
    [found] = [row for row in rows(output) if row.part == "database"]
    return found


def served(folder: Path, *arguments: str) -> str:
    """Start a server, end it when it listens, and give what it logged."""
    process = subprocess.Popen(
        [sys.executable, "-m", "evanesce", "serve", *arguments, *settings()],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, logged = process.communicate(timeout=60)
    assert first.startswith("listening on "), logged
    assert process.returncode == 0
    return logged


def test_check_makes_nothing_in_an_empty_folder(tmp_path: Path) -> None:
    done = run(tmp_path, "check", *settings())
    assert done.returncode == 0, done.stdout
    found = database(done.stdout)
    assert found.status == "ok"
    assert found.detail.startswith(f"{tmp_path}/evanesce.db, which does not exist yet, with ")
    assert found.detail.endswith(f"it will be created at the first start, with schema version {NEWEST}")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("version", [1, NEWEST - 1])
def test_check_says_what_the_next_start_will_migrate_and_leaves_it(tmp_path: Path, version: int) -> None:
    path = make(tmp_path / "evanesce.db", *of_version(version))
    before = path.read_bytes()
    done = run(tmp_path, "check", *settings())
    assert done.returncode == 0, done.stdout
    found = database(done.stdout)
    assert found.status == "warn"
    assert "--no-migrate" in found.advice
    assert found.detail.endswith(f"the next start migrates it to {NEWEST}: {'; '.join(STEPS[version:])}")
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["evanesce.db"]


def test_a_start_says_before_what_it_will_migrate(tmp_path: Path) -> None:
    make(tmp_path / "evanesce.db", *of_version(2))
    logged = served(tmp_path)
    assert f"migrating the database from schema version 2 to {NEWEST}: {'; '.join(STEPS[2:])}" in logged
    again = served(tmp_path, "--no-migrate")
    assert "migrating" not in again
    assert "making" not in again


def test_a_first_start_says_that_it_makes_a_database(tmp_path: Path) -> None:
    assert f"creating a new database with schema version {NEWEST}" in served(tmp_path)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("version", [0, 1, NEWEST - 1])
def test_without_migrations_a_database_that_needs_them_is_refused(tmp_path: Path, version: int, workers: str) -> None:
    path = tmp_path / "evanesce.db"
    if version:
        make(path, *of_version(version))
    before = path.read_bytes() if version else None
    done = run(tmp_path, "serve", "--no-migrate", "--workers", workers, *settings())
    assert (done.returncode, done.stdout) == (2, "")
    [line] = [line for line in done.stderr.splitlines() if line.startswith("evanesce: ")]
    state = f"the database has schema version {version}" if version else "there is no database yet"
    assert line.startswith(f"evanesce: serve --no-migrate: {state}, and this version of Evanesce needs")
    assert "Run evanesce db to migrate it" in line
    assert (path.read_bytes() if path.exists() else None) == before


def test_a_server_on_the_network_is_not_migrated_either(tmp_path: Path, sqld: Sqld) -> None:
    given = [*on(sqld), *settings(f"plugins.enabled={json.dumps(['guest', 'turso', 'quart'])}")]
    names = "SELECT name FROM sqlite_master ORDER BY name"
    before = sqld.rows(names)
    refused = run(tmp_path, "serve", "--no-migrate", *given)
    assert refused.returncode == 2
    assert "there is no database yet" in refused.stderr
    assert run(tmp_path, "check", *given).returncode == 0
    assert sqld.rows(names) == before
    for statement in of_version(3):
        sqld.rows(statement)
    before = sqld.rows(names)
    refused = run(tmp_path, "serve", "--no-migrate", *given)
    assert refused.returncode == 2
    assert "the database has schema version 3" in refused.stderr
    assert database(run(tmp_path, "check", *given).stdout).detail.endswith("; ".join(STEPS[3:]))
    assert sqld.rows(names) == before


@pytest.mark.parametrize("command", ["check", "serve", "db"])
@pytest.mark.parametrize(
    ("statements", "told"),
    [
        (('CREATE TABLE "User" (id INTEGER)',), "has a table user that Evanesce did not create"),
        (("PRAGMA application_id = 7", "CREATE TABLE notes (id INTEGER)"), "is a database of another application"),
        ((*of_version(NEWEST), f'INSERT INTO "Schema" VALUES ({NEWEST + 1})'), "this Evanesce knows none above"),
    ],
)
def test_anothers_database_is_refused_by_every_command(
    tmp_path: Path, command: str, statements: Sequence[str], told: str
) -> None:
    path = make(tmp_path / "evanesce.db", *statements)
    before = path.read_bytes()
    done = run(tmp_path, command, *settings())
    assert done.returncode == 2
    if command == "check":
        line = database(done.stdout).detail
    else:
        [line] = [line for line in done.stderr.splitlines() if line.startswith("evanesce: ")]
    assert "plugins.sqlite.path: " in line
    assert told in line
    assert path.read_bytes() == before
    assert [name for name in os.listdir(tmp_path) if name.startswith("evanesce.db")] == ["evanesce.db"]


@pytest.mark.parametrize("origin", ["sqlite", "turso"])
def test_a_copy_from_nothing_makes_nothing(tmp_path: Path, origin: str) -> None:
    target = {"sqlite": "turso", "turso": "sqlite"}[origin]
    done = run(tmp_path, "db", "copy", origin, target, "--set", "plugins.turso.url=file:copy.db")
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"evanesce: db copy: there is no database of the plugin {origin}: ")
    assert os.listdir(tmp_path) == []


def test_a_copy_does_not_migrate_what_it_reads(tmp_path: Path) -> None:
    path = make(tmp_path / "evanesce.db", *of_version(2))
    before = path.read_bytes()
    done = run(tmp_path, "db", "copy", "sqlite", "turso", "--set", "plugins.turso.url=file:copy.db")
    assert done.returncode == 2
    assert f"the database of the plugin sqlite has schema version 2, not {NEWEST}" in done.stderr
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["evanesce.db"]


def test_adopt_makes_and_migrates_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, "db", "adopt")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("evanesce: db adopt: the database has no tables. Run evanesce db first, which")
    assert os.listdir(tmp_path) == []
    assert run(tmp_path, "db").returncode == 0
    done = run(tmp_path, "db", "adopt")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "the database will be bound to the embedded Valkey of the next server that starts\n"


def test_adopt_needs_a_redis_that_answers(tmp_path: Path) -> None:
    assert run(tmp_path, "db").returncode == 0
    done = run(tmp_path, "db", "adopt", *settings(f"redis.url=redis://{bind_of_nobody()}"))
    assert done.returncode == 2
    assert "evanesce: redis.url: this Redis cannot be used" in done.stderr
