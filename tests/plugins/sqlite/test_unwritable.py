"""A database in which nothing can be written is down, though it can be read, until something can be written again."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from evanesce.errors import PersistenceUnavailable
from evanesce.metrics import Metrics
from evanesce.model import SessionEnded, Timestamp, UserSeen
from evanesce.sessions.readiness import DatabaseCheck
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.writebehind import WriteBehind
from evanesce_plugins.sql.repository import SqlRepository
from evanesce_plugins.sql.table_copy import tables
from tests.plugins.conftest import sqlite_repository

AT = Timestamp("2026-01-01T00:00:00.000Z")


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[SqlRepository]:
    repository = cast(SqlRepository, sqlite_repository(tmp_path))
    async with repository:
        yield repository


def connection(repository: SqlRepository) -> sqlite3.Connection:
    """Reach for the connection: nothing else makes it refuse what a file system that became read-only refuses."""
    driver: Any = repository._driver
    found: sqlite3.Connection = driver._connection
    return found


async def test_one_that_became_read_only_is_down_until_it_takes_writes(
    opened: SqlRepository, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    check = DatabaseCheck(opened, WriteBehind(opened, Metrics()))
    await check.check()
    connection(opened).execute("PRAGMA query_only = ON")
    assert await opened.check(), "it can be read"
    for _ in range(3):
        with pytest.raises(PersistenceUnavailable):
            await check.check()
    assert [record.message for record in caplog.records] == ["the database reported an error: SQLITE_READONLY"]
    connection(opened).execute("PRAGMA query_only = OFF")
    await check.check()


@pytest.mark.parametrize("table", tables())
async def test_one_that_lost_a_table_is_down(opened: SqlRepository, tmp_path: Path, table: str) -> None:
    check = DatabaseCheck(opened, WriteBehind(opened, Metrics()))
    with closing(sqlite3.connect(tmp_path / "evanesce.db", isolation_level=None)) as other:
        other.execute(f'DROP TABLE "{table}"')
    with pytest.raises((PersistenceUnavailable, sqlite3.OperationalError), match=table):
        await check.check()
    with pytest.raises(PersistenceUnavailable, match=table):
        await opened.check()


async def test_trying_leaves_nothing_behind(opened: SqlRepository) -> None:
    changed = connection(opened).total_changes
    for _ in range(3):
        await opened.try_write()
    assert connection(opened).total_changes == changed + 6, "it writes"
    assert connection(opened).execute('SELECT count(*) FROM "RevokedSignIn"').fetchall() == [(0,)]


class Faulty(MemoryRepository):
    """Refuses records alone, with `fault`."""

    fault: Exception | None = None

    async def record(self, records: Any) -> None:
        await trio.lowlevel.checkpoint()
        if self.fault is not None:
            raise self.fault


@pytest.mark.parametrize("fault", [PersistenceUnavailable(), RuntimeError("no such column")])
async def test_it_goes_by_what_was_written_last(fault: Exception, autojump_clock: MockClock) -> None:
    repository = Faulty()
    records = WriteBehind(repository, Metrics())
    check = DatabaseCheck(repository, records)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(records.run)
        records.record(SessionEnded(session_id="s", leave_time=AT))
        await check.check()  # it waits, and nobody knows yet
        repository.fault = fault
        await trio.sleep(1.5)
        with pytest.raises(PersistenceUnavailable, match="did not accept the last records"):
            await check.check()
        records.record(UserSeen(user_id="u", last_active=AT))
        assert records.waiting == 2, "what waits is kept"
        repository.fault = None
        await trio.sleep(10)
        await check.check()
        assert records.waiting == 0
        nursery.cancel_scope.cancel()
