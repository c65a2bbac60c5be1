"""The tables' names and columns, and the way of a database from one version to another."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from evanesce.errors import ConfigurationError
from evanesce.model import ChatRoom, Timestamp
from evanesce_plugins.sql.driver import Refused, Statement
from evanesce_plugins.sql.repository import SqlRepository
from evanesce_plugins.sql.schema import MIGRATIONS, migrate, schema_version
from evanesce_plugins.sqlite.driver import connect
from evanesce_plugins.worldid import account_code
from tests.patience import PATIENCE

SETTING = "plugins.sqlite.path"
RULES = ["messageTtl", "access", "locked", "encrypted", "rulesVersion"]
NEXT = ('ALTER TABLE "ChatRoom" ADD COLUMN colour TEXT', """UPDATE "ChatRoom" SET colour = 'blue'""")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "evanesce.db"


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("User", ["userId", "worldId", "displayName", "email", "createdAt", "lastActive", "erasedAt", "guest"]),
        ("ChatRoom", ["roomId", "createdBy", "createdAt", "deepLink", "active", "closedAt", *RULES]),
        ("SessionLog", ["sessionId", "userId", "roomId", "joinTime", "leaveTime", "server", "lost"]),
        (
            "RoomInvite",
            ["inviteId", "roomId", "secretHash", "people", "used", "createdAt", "expiresAt", "endedAt"],
        ),
    ],
)
async def test_tables_have_the_names_of_the_data_model(path: Path, table: str, columns: list[str]) -> None:
    async with connect(path, SETTING) as driver:
        await migrate(driver, SETTING)
    info = rows(path, f'PRAGMA table_info("{table}")')
    assert [column[1] for column in info] == columns
    assert [column[1] for column in info if column[5]] == columns[:1]
    assert rows(path, f"SELECT name FROM sqlite_master WHERE type = 'table' AND name = '{table}'") == [(table,)]


ROOM = """INSERT INTO "ChatRoom" (roomId, createdBy, createdAt, deepLink, active"""
NOBODYS_ROOM = f"{ROOM}) VALUES ('r', 'nobody', '', '', 0)"


async def test_foreign_keys_are_declared_and_a_world_id_is_unique(path: Path) -> None:
    async with connect(path, SETTING) as driver:
        await migrate(driver, SETTING)
        insert = """INSERT INTO "User" VALUES (?, 'one-human', 'Ada', NULL, '', '', NULL, 0)"""
        await driver.execute([Statement(insert, ("a",))])
        with pytest.raises(Refused, match=r"User\.worldId"):
            await driver.execute([Statement(insert, ("b",))])
        with pytest.raises(Refused, match="FOREIGN KEY"):
            await driver.execute([Statement(NOBODYS_ROOM)])
    keys = {(row[2], row[3], row[4]) for row in rows(path, 'PRAGMA foreign_key_list("SessionLog")')}
    assert keys == {("User", "userId", "userId"), ("ChatRoom", "roomId", "roomId")}
    assert [row[2:5] for row in rows(path, 'PRAGMA foreign_key_list("ChatRoom")')] == [("User", "createdBy", "userId")]


@pytest.mark.parametrize(
    "refused",
    [
        f"{ROOM}, messageTtl) VALUES ('s', 'u', '', '', 0, 0)",
        f"{ROOM}, access) VALUES ('s', 'u', '', '', 0, 'everybody')",
        f"{ROOM}, locked) VALUES ('s', 'u', '', '', 0, 2)",
        f"{ROOM}, encrypted) VALUES ('s', 'u', '', '', 0, -1)",
        f"{ROOM}, rulesVersion) VALUES ('s', 'u', '', '', 0, -1)",
        """INSERT INTO "RoomInvite" VALUES ('i', 'nowhere', '', 1, 0, '1', '2', NULL)""",
        """INSERT INTO "RoomInvite" VALUES ('i', 'r', '', 0, 0, '1', '2', NULL)""",
        """INSERT INTO "RoomInvite" VALUES ('i', 'r', '', 2, 3, '1', '2', '1')""",
        """INSERT INTO "RoomInvite" VALUES ('i', 'r', '', 2, 2, '1', '2', NULL)""",
        """INSERT INTO "RoomAdmission" VALUES ('r', 'nobody', '1')""",
        """INSERT INTO "RoomAdmission" VALUES ('nowhere', 'u', '1')""",
        """INSERT INTO "RoomBan" VALUES ('nowhere', 's', 'u', 'vote', '1', '2')""",
        """INSERT INTO "RoomBan" VALUES ('r', 's', 'nobody', 'vote', '1', '2')""",
        """INSERT INTO "RoomBan" VALUES ('r', 's', 'u', 'mood', '1', '2')""",
        """INSERT INTO "RoomBan" VALUES ('r', 's', 'u', 'vote', '2', '1')""",
    ],
)
async def test_rules_that_make_no_sense_are_refused(path: Path, refused: str) -> None:
    async with connect(path, SETTING) as driver:
        await migrate(driver, SETTING)
        await driver.execute(
            [
                Statement("""INSERT INTO "User" VALUES ('u', 'one-human', 'Ada', NULL, '', '', NULL, 0)"""),
                Statement(f"{ROOM}) VALUES ('r', 'u', '', '', 0)"),
            ]
        )
        with pytest.raises(Refused):
            await driver.execute([Statement(refused)])


# As the versions before had it: what later ones add, with a default, is left out.
OLD_ROWS = (
    """INSERT INTO "User" VALUES ('u', 'one-human', 'Ada', 'ada@example.org', '2026', '2026', NULL)""",
    """INSERT INTO "User" VALUES ('g', 'guest:7', 'Bob', NULL, '2026', '2026', NULL)""",
    """INSERT INTO "ChatRoom" VALUES ('r', 'u', '2026', '/r', 0, NULL)""",
    """INSERT INTO "SessionLog" VALUES ('s', 'u', 'r', '2026', NULL)""",
    """INSERT INTO "RevokedSignIn" VALUES ('stolen', '2027')""",
)


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
async def test_a_database_of_every_older_version_comes_to_the_newest_with_its_rows(path: Path, version: int) -> None:
    newest = [*MIGRATIONS, NEXT]
    async with connect(path, SETTING) as driver:
        await migrate(driver, SETTING, newest[: min(version, 2)])
        await driver.execute([Statement(sql) for sql in OLD_ROWS])
        await migrate(driver, SETTING, newest[:version])
        assert await schema_version(driver) == version
        await migrate(driver, SETTING, newest)
        assert await schema_version(driver) == len(newest)
    assert rows(path, 'SELECT roomId, createdBy, colour FROM "ChatRoom"') == [("r", "u", "blue")]
    assert rows(path, 'SELECT userId, email, guest FROM "User" ORDER BY userId DESC') == [
        ("u", "ada@example.org", 0),
        ("g", None, 1),
    ]
    assert rows(path, 'SELECT sessionId, leaveTime, server, lost FROM "SessionLog"') == [("s", None, "", 0)]
    assert rows(path, 'SELECT version FROM "Schema" ORDER BY version') == [(n + 1,) for n in range(len(newest))]
    assert rows(path, 'SELECT signInId FROM "RevokedSignIn"') == [("stolen",)]


async def test_accounts_that_registered_before_there_were_codes_are_given_one_each(path: Path) -> None:
    async with connect(path, SETTING) as driver:
        await migrate(driver, SETTING, MIGRATIONS[:4])
        for number in range(300):
            user = f"""INSERT INTO "User" VALUES ('{number}', '{number}', 'Ada', NULL, '', '', NULL, 0)"""
            kept = f"""INSERT INTO "Registration" VALUES ('worldid', '{number}', 'session {number}')"""
            await driver.execute([Statement(user), Statement(kept)])
        await migrate(driver, SETTING)
    found = [str(code) for (code,) in rows(path, 'SELECT accountCode FROM "Registration"')]
    assert len(set(found)) == 300
    assert all(account_code.parse(code) == code for code in found)
    assert {code[0] for code in found} == set("01234567")
    assert {digit for code in found for digit in code[1:]} == set(account_code.DIGITS)
    assert rows(path, "SELECT count(*) FROM \"Registration\" WHERE value = 'session ' || userId") == [(300,)]


async def test_rooms_of_before_there_were_rules_have_the_default_ones(path: Path) -> None:
    async with connect(path, SETTING) as driver:
        await migrate(driver, SETTING, MIGRATIONS[:6])
        for sql in (
            """INSERT INTO "User" VALUES ('u', 'one-human', 'Ada', NULL, '', '', NULL, 0)""",
            """INSERT INTO "User" VALUES ('v', 'another', 'Bob', NULL, '', '', NULL, 0)""",
            """INSERT INTO "ChatRoom" VALUES ('active', 'u', '1', '/active', 1, NULL)""",
            """INSERT INTO "ChatRoom" VALUES ('closed', 'u', '1', '/closed', 0, '2')""",
            """INSERT INTO "SessionLog" VALUES ('s', 'v', 'active', '1', NULL, 'one')""",
            """INSERT INTO "SessionLog" VALUES ('t', 'v', 'closed', '1', NULL, 'one')""",
        ):
            await driver.execute([Statement(sql)])
    room = ChatRoom(room_id="active", created_by="u", created_at=Timestamp("1"), deep_link="/active", active=True)
    async with SqlRepository(partial(connect, path, SETTING), SETTING) as repository:
        assert repository.versions == (6, len(MIGRATIONS))
        assert await repository.room("active") == room
        assert await repository.open_rooms(["active", "closed"]) == {"active": 0}
        locked = await repository.update_room(msgspec.structs.replace(room, locked=True))
        assert locked == msgspec.structs.replace(room, locked=True, rules_version=1)
        await repository.admit_members("active", ["v"], Timestamp("3"), 10)
        assert list(await repository.admitted([("active", "v")])) == [True]
        assert await repository.delete_rooms(Timestamp("3"), 10) == 2
        assert list(await repository.erase_user("u", Timestamp("4"))) == ["active"]
    assert rows(path, 'SELECT sessionId FROM "SessionLog"') == [("s",)]
    assert rows(path, "PRAGMA foreign_key_check") == []
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


async def test_opening_again_changes_nothing(path: Path) -> None:
    async with connect(path, SETTING) as driver:
        await migrate(driver, SETTING)
        before = rows(path, "SELECT sql FROM sqlite_master")
        await migrate(driver, SETTING)
        assert rows(path, "SELECT sql FROM sqlite_master") == before


async def test_a_step_that_fails_leaves_the_version_before_it_whole(path: Path) -> None:
    async with connect(path, SETTING) as driver:
        await migrate(driver, SETTING)
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await migrate(driver, SETTING, [*MIGRATIONS, (*NEXT, 'DROP TABLE "Nothing"')])
        assert await schema_version(driver) == len(MIGRATIONS)
        assert "colour" not in str(rows(path, "SELECT sql FROM sqlite_master"))
        with pytest.raises(Refused):
            await migrate(driver, SETTING, [*MIGRATIONS, ('INSERT INTO "Schema" VALUES (1)',)])
        await migrate(driver, SETTING, [*MIGRATIONS, NEXT])
        assert await schema_version(driver) == len(MIGRATIONS) + 1


async def test_two_that_migrate_at_once_do_each_step_once(path: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with connect(path, SETTING) as one, connect(path, SETTING) as two, trio.open_nursery() as nursery:
            for driver in (one, two, one, two):
                nursery.start_soon(migrate, driver, SETTING, [*MIGRATIONS, NEXT])
    versions = [(version,) for version in range(1, len(MIGRATIONS) + 2)]
    assert rows(path, 'SELECT version FROM "Schema" ORDER BY version') == versions


async def test_a_newer_database_is_left_alone_and_the_error_says_what_to_do(path: Path) -> None:
    async with connect(path, SETTING) as driver:
        await migrate(driver, SETTING, [*MIGRATIONS, NEXT])
    with pytest.raises(
        ConfigurationError, match="Run the version of Evanesce that wrote it, or a newer one"
    ) as refused:
        async with SqlRepository(partial(connect, path, SETTING), SETTING):
            pass
    assert refused.value.path == SETTING
    assert f"version {len(MIGRATIONS) + 1}" in refused.value.problem
    assert rows(path, 'SELECT max(version) FROM "Schema"') == [(len(MIGRATIONS) + 1,)]


async def test_anothers_database_is_left_alone(path: Path) -> None:
    rows(path, 'CREATE TABLE "User" (id INTEGER)')
    with pytest.raises(ConfigurationError, match="Name another database") as refused:
        async with SqlRepository(partial(connect, path, SETTING), SETTING):
            pass
    assert refused.value.path == SETTING
    assert rows(path, """SELECT name FROM sqlite_master WHERE name IN ('User', 'ChatRoom')""") == [("User",)]
