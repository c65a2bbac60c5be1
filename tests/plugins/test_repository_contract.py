"""Every repository of this installation holds the contract of repositories."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from evanesce.interfaces import Repository
from evanesce.testing.contracts import RepositoryContract, RoomRulesContract
from evanesce_plugins.sql.driver import Driver, Row, Statement
from evanesce_plugins.sql.repository import SqlRepository
from evanesce_plugins.sqlite.driver import connect
from tests.plugins.conftest import sqlite_repository, turso_repository
from tests.sqld import Sqld

pytestmark = pytest.mark.slow


class TestSqlite(RepositoryContract):
    async def make_repository(self, folder: Path) -> Repository:
        return sqlite_repository(folder)


class TestTursoFile(RepositoryContract):
    async def make_repository(self, folder: Path) -> Repository:
        return turso_repository("file:evanesce.db", folder=folder)


class TestTursoHttp(RepositoryContract):
    scheme = "http"

    @pytest.fixture(autouse=True)
    def database(self, sqld: Sqld) -> None:
        self.sqld = sqld

    async def make_repository(self, folder: Path) -> Repository:
        return turso_repository(self.sqld.url(self.scheme), self.sqld.token())


class TestTursoWebSocket(TestTursoHttp):
    scheme = "ws"


class Twice:
    """A driver that executes each batch twice, but for those of maintenance jobs, which count what they change."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def execute(self, statements: Sequence[Statement], *, patient: bool = False) -> list[list[Row]]:
        if not patient:
            await self._driver.execute(statements)
        return await self._driver.execute(statements, patient=patient)

    async def purge(self) -> None:
        await self._driver.purge()

    async def describe(self) -> str:
        return await self._driver.describe()


@asynccontextmanager
async def connect_twice(path: Path) -> AsyncGenerator[Driver]:
    async with connect(path, "plugins.sqlite.path") as driver:
        async with SqlRepository(lambda: connect(path, "plugins.sqlite.path"), "plugins.sqlite.path"):
            pass  # the migrations are not repeated
        yield Twice(driver)


class TestSqliteEachBatchTwice(RoomRulesContract):
    """As after a lost answer: nothing may differ."""

    async def make_repository(self, folder: Path) -> Repository:
        return SqlRepository(lambda: connect_twice(folder / "evanesce.db"), "plugins.sqlite.path")

    @asynccontextmanager
    async def open_pair(self, folder: Path) -> AsyncGenerator[tuple[Repository, Repository]]:
        """Open two that repeat nothing: what a repeated batch returns may be of a change that came between the two."""
        contract = TestSqlite()
        async with contract.open_pair(folder) as pair:
            yield pair
