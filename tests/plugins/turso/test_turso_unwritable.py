"""A libSQL server that only reads for this token any more: the database is down, and that is logged once."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from evanesce.errors import PersistenceUnavailable
from evanesce.metrics import Metrics
from evanesce.sessions.readiness import DatabaseCheck
from evanesce.writebehind import WriteBehind
from evanesce_plugins.sql.driver import Driver, Row, Statement
from evanesce_plugins.sql.repository import SqlRepository
from evanesce_plugins.turso.driver import connect
from evanesce_plugins.turso.settings import Address
from tests.sqld import Sqld


class Switched:
    """A driver that does what one of others does: as if the token had lost a right, and got it back."""

    def __init__(self, now: Driver) -> None:
        self.now = now

    async def execute(self, statements: Sequence[Statement], *, patient: bool = False) -> list[list[Row]]:
        return await self.now.execute(statements, patient=patient)

    async def purge(self) -> None:
        await self.now.purge()

    async def describe(self) -> str:
        return await self.now.describe()


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_a_token_that_may_only_read_makes_it_down(
    sqld: Sqld, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    address = Address.of(sqld.url(scheme), Path(), "plugins.turso.url")
    async with (
        connect(address, sqld.token("rw"), 5.0, "plugins.turso") as writing,
        connect(address, sqld.token("ro"), 5.0, "plugins.turso") as reading,
    ):
        driver = Switched(writing)

        @asynccontextmanager
        async def switched() -> AsyncGenerator[Driver, None]:
            yield driver

        async with SqlRepository(switched, "plugins.turso.url") as repository:
            check = DatabaseCheck(repository, WriteBehind(repository, Metrics()))
            await check.check()
            caplog.set_level(logging.INFO)
            driver.now = reading
            for _ in range(3):
                assert await repository.check(), "it can be read"
                with pytest.raises(PersistenceUnavailable):
                    await check.check()
            told = [record.message for record in caplog.records if record.name.startswith("evanesce")]
            assert len(told) == 1
            assert "takes no writes with this token" in told[0]
            driver.now = writing
            await check.check()
