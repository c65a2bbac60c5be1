"""Upgrades with data: from the database of version 0.1.0, and of two servers one after the other with a migration."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from evanesce_plugins.sql.schema import MIGRATIONS
from tests.core.cli.test_commands import run
from tests.core.cli.test_database_command import sql
from tests.core.cli.test_migrations import make, of_version
from tests.e2e.running import Server

pytestmark = pytest.mark.slow

Serve = Callable[..., Server]
NEWEST = len(MIGRATIONS)
OF_0_1_0 = 4
"""The schema version of Evanesce 0.1.0."""

# Python runs it before the server: the module of the schema with one more migration, as the next version would have it.
NEXT_VERSION = """
import importlib.util, pathlib, sys
spec = importlib.util.find_spec("evanesce_plugins.sql.schema")
added = '''
MIGRATIONS = (*MIGRATIONS, ('ALTER TABLE "User" ADD COLUMN colour TEXT', 'CREATE TABLE "Next" (id TEXT PRIMARY KEY)'))
STEPS = (*STEPS, "colours")
_TABLES ='''
source = pathlib.Path(spec.origin).read_text().replace("\\n_TABLES =", added, 1)
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
exec(compile(source, spec.origin, "exec"), module.__dict__)
"""


def version(database: Path) -> int:
    [(found,)] = sql(database, 'SELECT max(version) FROM "Schema"')
    assert isinstance(found, int)
    return found


def sees_room(server: Server, room_id: str) -> bool:
    token = server.sign_in("Eve")["token"]
    status, _ = server.ask("GET", f"/api/v1/rooms/{room_id}", token=token)
    assert status in (200, 404)
    return status == 200


def test_the_database_of_version_0_1_0_is_upgraded_with_its_data(serve: Serve, tmp_path: Path) -> None:
    user, room, session = (str(uuid.uuid4()) for _ in range(3))
    now = "2026-11-25T10:00:00.000Z"
    database = make(
        tmp_path / "old.db",
        *of_version(OF_0_1_0),
        f"""INSERT INTO "User" VALUES ('{user}', 'key:ana', 'Ana', 'ana@example.org', '{now}', '{now}', NULL, 0)""",
        f"""INSERT INTO "ChatRoom" VALUES ('{room}', '{user}', '{now}', 'http://old.example/r/{room}', 1, NULL)""",
        f"""INSERT INTO "SessionLog" VALUES ('{session}', '{user}', '{room}', '{now}', NULL, 'old')""",
        f"""INSERT INTO "Registration" VALUES ('key', '{user}', 'ana')""",
    )
    saved = run(tmp_path, "db", "backup", "before.db", "--set", f"plugins.sqlite.path={database}")
    assert saved.returncode == 0, saved.stderr
    assert version(database) == OF_0_1_0

    server = serve(f"plugins.sqlite.path={database}", "retention.session_log_days=0", "retention.closed_room_days=0")
    assert f"migrating the database from schema version {OF_0_1_0} to {NEWEST}" in server.errors
    assert sees_room(server, room)
    server.stop()
    assert version(database) == NEWEST
    people = f"""SELECT displayName, email, worldId, guest FROM "User" WHERE userId = '{user}'"""
    assert sql(database, people) == [("Ana", "ana@example.org", "key:ana", 0)]
    assert sql(database, f"""SELECT joinTime FROM "SessionLog" WHERE sessionId = '{session}'""") == [(now,)]
    [(code,)] = sql(database, f"""SELECT accountCode FROM "Registration" WHERE userId = '{user}'""")
    assert len(str(code)) == 26

    # The way back: the backup is a database of the old version, as it was.
    shutil.copyfile(tmp_path / "before.db", tmp_path / "again.db")
    assert version(tmp_path / "again.db") == OF_0_1_0
    assert sql(tmp_path / "again.db", """SELECT worldId FROM "User" """) == [("key:ana",)]


def test_two_servers_are_upgraded_one_after_the_other(serve_shared: Serve, database: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(NEXT_VERSION)
    upgraded = {"PYTHONPATH": str(site)}

    old = serve_shared()
    before = old.open_room()["roomId"]
    new = serve_shared(environment=upgraded)
    assert f"migrating the database from schema version {NEWEST} to {NEWEST + 1}: colours" in new.errors
    assert version(database) == NEWEST + 1

    # The old server goes on with the migrated database, and both see what the other one writes.
    of_old, of_new = old.open_room()["roomId"], new.open_room()["roomId"]
    for server in (old, new):
        server.ready()
        assert [sees_room(server, room) for room in (before, of_old, of_new)] == [True, True, True]
    old.stop()

    # Started again with the old version, it refuses, and changes nothing; with the new one it comes back.
    command = [sys.executable, "-m", "evanesce", "serve"]
    for setting in old.settings:
        command += ["--set", setting]
    refused = subprocess.run(command, cwd=old.folder, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert (
        f"the database has schema version {NEWEST + 1}, and this Evanesce knows none above {NEWEST}" in refused.stderr
    )
    again = serve_shared(environment=upgraded)
    assert "migrating" not in again.errors
    assert sees_room(again, of_old)
    backup = run(tmp_path, "db", "backup", "backup.db", "--set", f"plugins.sqlite.path={database}", environ=upgraded)
    assert backup.returncode == 0, backup.stderr
    assert f"schema version {NEWEST + 1}" in backup.stdout
