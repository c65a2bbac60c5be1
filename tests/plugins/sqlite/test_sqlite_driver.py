"""The door to SQLite: whole batches, errors told apart, bounded waits, and callers that are cancelled."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from evanesce.errors import PersistenceUnavailable
from evanesce_plugins.sql.driver import Refused, Row, Statement
from evanesce_plugins.sqlite import driver as driver_module
from evanesce_plugins.sqlite.driver import SqliteDriver, connect
from tests.patience import PATIENCE, Stopwatch, within

ADD = "INSERT INTO notes (text) VALUES (?)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "evanesce.db"


@pytest.fixture
async def driver(path: Path) -> AsyncIterator[SqliteDriver]:
    async with connect(path, "plugins.sqlite.path") as driver:
        await driver.execute([Statement("CREATE TABLE notes (text TEXT NOT NULL UNIQUE)")])
        yield driver


async def texts(driver: SqliteDriver) -> list[object]:
    [rows] = await driver.execute([Statement("SELECT text FROM notes ORDER BY rowid")])
    return [row[0] for row in rows]


async def test_the_connection_is_set_up_as_it_must_be(driver: SqliteDriver) -> None:
    for pragma, value in (("journal_mode", "wal"), ("synchronous", 1), ("foreign_keys", 1), ("secure_delete", 1)):
        [[row]] = await driver.execute([Statement(f"PRAGMA {pragma}")])
        assert row[0] == value


async def test_a_batch_gives_the_rows_of_each_statement(driver: SqliteDriver) -> None:
    answers = await driver.execute(
        [Statement(ADD + " RETURNING text", ("a",)), Statement(ADD, ("b",)), Statement("SELECT count(*) FROM notes")]
    )
    assert [list(map(tuple, rows)) for rows in answers] == [[("a",)], [], [(2,)]]


async def test_a_batch_is_done_whole_or_not_at_all(driver: SqliteDriver) -> None:
    await driver.execute([Statement(ADD, ("a",))])
    with pytest.raises(Refused, match=r"UNIQUE constraint failed: notes\.text"):
        await driver.execute([Statement(ADD, ("b",)), Statement(ADD, ("a",))])
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await driver.execute([Statement(ADD, ("c",)), Statement("SELECT 1 FROM elsewhere")])
    assert await texts(driver) == ["a"]


async def test_mistakes_of_ours_are_not_hidden(driver: SqliteDriver) -> None:
    with pytest.raises(sqlite3.OperationalError, match="syntax error"):
        await driver.execute([Statement("SELEKT")])
    with pytest.raises(sqlite3.ProgrammingError):
        await driver.execute([Statement(ADD)])
    assert await texts(driver) == []


async def test_a_full_disk_is_told_as_such_and_nothing_is_half_written(
    driver: SqliteDriver, caplog: pytest.LogCaptureFixture
) -> None:
    await driver.execute([Statement("PRAGMA max_page_count = 10")])
    with caplog.at_level(logging.WARNING), pytest.raises(PersistenceUnavailable):
        await driver.execute([Statement(ADD, ("small",)), Statement(ADD, ("secret" * 100_000,))])
    assert [record.getMessage() for record in caplog.records] == ["the database reported an error: SQLITE_FULL"]
    await driver.execute([Statement(ADD, ("after",))])
    assert await texts(driver) == ["after"]


async def test_a_lock_of_another_process_is_waited_for(driver: SqliteDriver, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(driver.execute, [Statement(ADD, ("a",)), Statement(ADD, ("b",))])
                await trio.testing.wait_all_tasks_blocked()
                other.execute("ROLLBACK")
    assert await texts(driver) == ["a", "b"]


async def test_a_batch_that_reads_before_it_writes_sees_what_it_waited_for(driver: SqliteDriver, path: Path) -> None:
    answers: list[list[object]] = []

    async def count_and_write() -> None:
        statements = [Statement("SELECT count(*) FROM notes"), Statement(ADD, ("ours",))]
        answers.append([tuple(row) for row in (await driver.execute(statements))[0]])

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute(ADD, ("theirs",))
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(count_and_write)
                await trio.testing.wait_all_tasks_blocked()
                other.execute("COMMIT")
    assert answers == [[(1,)]]


async def test_a_lock_that_stays_is_told_in_time_to_all_who_wait(
    driver: SqliteDriver, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "SECONDS", 0.4)
    refused: list[float] = []

    async def write(text: str) -> None:
        stopwatch = Stopwatch()
        with pytest.raises(PersistenceUnavailable):
            await driver.execute([Statement(ADD, (text,)), Statement(ADD, (text * 2,))])
        refused.append(stopwatch.seconds())

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for text in "abcdef":
                    nursery.start_soon(write, text)
        other.execute("ROLLBACK")
    assert len(refused) == 6
    assert max(refused) < 2.0
    assert await texts(driver) == []
    await driver.execute([Statement(ADD, ("after",))])


async def test_readers_go_on_while_another_process_writes(driver: SqliteDriver, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute(ADD, ("theirs",))
        with within(1):
            assert await texts(driver) == []
        other.execute("COMMIT")
    assert await texts(driver) == ["theirs"]


async def test_what_has_begun_is_done_though_its_caller_is_cancelled_and_what_waits_is_not(
    driver: SqliteDriver, path: Path
) -> None:
    ended: list[str] = []

    async def write(text: str) -> None:
        try:
            await driver.execute([Statement(ADD, (text,)), Statement(ADD, (text * 2,))])
        finally:
            ended.append(text)

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write, "a")
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(write, "b")
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await trio.testing.wait_all_tasks_blocked()
                    assert ended == ["b"]
                    other.execute("ROLLBACK")
    assert ended == ["b", "a"]
    assert await texts(driver) == ["a", "aa"]


async def test_cancelled_at_any_moment_a_batch_is_whole_or_absent(driver: SqliteDriver) -> None:
    expected: list[object] = []
    for steps in range(60):
        done = False
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:

                async def write(text: str) -> None:
                    nonlocal done
                    await driver.execute([Statement(ADD, (text,)), Statement(ADD, (text * 2,))])
                    done = True

                text = f"<{steps}>"
                nursery.start_soon(write, text)
                for _ in range(steps):
                    await trio.lowlevel.cancel_shielded_checkpoint()
                nursery.cancel_scope.cancel()
        if done:
            expected += [text, text * 2]
    assert await texts(driver) == expected


async def test_reads_that_wait_are_made_together(driver: SqliteDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    await driver.execute([Statement(ADD, ("a",))])
    hops = 0
    run_sync = trio.to_thread.run_sync

    async def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal hops
        hops += 1
        return await run_sync(*arguments, **options)

    monkeypatch.setattr(trio.to_thread, "run_sync", counted)
    found: dict[int, object] = {}
    mistakes: list[Exception] = []

    async def read(number: int) -> None:
        [[[found[number]]]] = await driver.execute([Statement("SELECT ?", (number,))])

    async def read_badly() -> None:
        with pytest.raises(sqlite3.OperationalError) as raised:
            await driver.execute([Statement("SELECT nothing FROM nowhere")])
        mistakes.append(raised.value)

    async with trio.open_nursery() as nursery:
        leaving = trio.CancelScope()
        nursery.start_soon(read, 0)
        nursery.start_soon(read_in, leaving, driver)
        for number in range(1, 2 * driver_module.MOST_READS):
            nursery.start_soon(read, number)
        nursery.start_soon(read_badly)
        await trio.testing.wait_all_tasks_blocked(0)
        leaving.cancel()
    assert found == {number: number for number in range(2 * driver_module.MOST_READS)}
    assert len(mistakes) == 1
    assert hops <= 5  # by 64 of them, and the one that came first
    assert await texts(driver) == ["a"]


async def test_a_read_is_not_refused_because_the_time_of_the_one_before_it_is_over(
    driver: SqliteDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = driver._execute
    free_at = time.monotonic() + PATIENCE / 2

    def locked(statements: Sequence[Statement], deadline: float) -> list[list[Row]]:
        if deadline < free_at:
            raise PersistenceUnavailable
        return execute(statements, deadline)

    async def read() -> None:
        [[[answer]]] = await driver.execute([Statement("SELECT 'an answer'")])
        answers.append(answer)

    async def read_too_early() -> None:
        with pytest.raises(PersistenceUnavailable):
            await driver.execute([Statement("SELECT 1")])

    answers: list[object] = []
    monkeypatch.setattr(driver, "_execute", locked)
    async with trio.open_nursery() as nursery, driver._turn:
        for seconds, call in ((PATIENCE / 4, read_too_early), (PATIENCE, read), (PATIENCE, read)):
            monkeypatch.setattr(driver_module, "SECONDS", seconds)
            nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
    assert answers == ["an answer"] * 2


async def read_in(scope: trio.CancelScope, driver: SqliteDriver) -> None:
    with scope:
        await driver.execute([Statement("SELECT 1")])


async def test_a_read_sees_what_was_written_before_it(driver: SqliteDriver) -> None:
    seen: list[list[object]] = []

    async def write_and_read(text: str) -> None:
        await driver.execute([Statement(ADD, (text,))])
        seen.append([text in await texts(driver)])

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(write_and_read, str(number))
    assert seen == [[True]] * 50


async def test_a_call_that_hangs_in_the_kernel_is_left_behind_and_the_next_ones_wait_no_longer_than_they_may(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "SECONDS", 0.3)
    released = threading.Event()
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.create_function("hang", 0, lambda: released.wait(10))
    driver = SqliteDriver(path, connection, "path")
    try:
        with trio.fail_after(PATIENCE):
            with pytest.raises(PersistenceUnavailable):
                await driver.execute([Statement("SELECT hang()")])
            with pytest.raises(PersistenceUnavailable):
                await driver.execute([Statement("SELECT 1")])
            released.set()
            monkeypatch.setattr(driver_module, "SECONDS", 2.5)
            [[[answer]]] = await driver.execute([Statement("SELECT 1")])
            assert answer == 1
    finally:
        released.set()
        await driver.aclose()


async def test_the_file_is_closed_though_its_user_is_cancelled(path: Path) -> None:
    with trio.CancelScope() as scope:
        async with connect(path, "plugins.sqlite.path") as driver:
            scope.cancel()
            await trio.lowlevel.checkpoint()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        await driver.execute([Statement("SELECT 1")])


async def test_many_that_open_a_new_file_at_once_all_get_it(tmp_path: Path) -> None:
    async def look(path: Path) -> None:
        async with connect(path, "plugins.sqlite.path") as driver:
            assert await driver.execute([Statement("PRAGMA journal_mode")]) == [[("wal",)]]

    with trio.fail_after(PATIENCE):
        for index in range(40):
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(look, tmp_path / f"{index}.db")


async def test_it_says_which_database_it_is(driver: SqliteDriver, path: Path) -> None:
    text = await driver.describe()
    assert sqlite3.sqlite_version in text
    assert str(path) in text
    assert text.endswith(" bytes")
