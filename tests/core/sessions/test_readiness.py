"""The checks of outside parts: one at a time, kept for a while, and nobody's who asks. Time is virtual."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce.errors import PersistenceUnavailable
from evanesce.sessions.readiness import ANSWER_SECONDS, KEEP_SECONDS, PartChecks
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import memory_server


class Part:
    """Counts its checks, which take `seconds` each, and raises `error`."""

    def __init__(self, seconds: float = 0.0, error: BaseException | None = None) -> None:
        self.begun = 0
        self.done = 0
        self.seconds = seconds
        self.error = error

    async def check(self) -> str:
        self.begun += 1
        await trio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        self.done += 1
        return "well"


@asynccontextmanager
async def running(**checks: Callable[[], Awaitable[object]]) -> AsyncGenerator[PartChecks, None]:
    made = PartChecks(checks)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        yield made
        nursery.cancel_scope.cancel()


async def test_a_result_is_kept_whoever_asks(autojump_clock: MockClock) -> None:
    database = Part()
    async with running(database=database.check) as checks:
        for _ in range(50):
            assert await checks.states() == {"database": "up"}
        assert database.begun == 1
        database.error = PersistenceUnavailable()
        await trio.sleep(KEEP_SECONDS - 0.01)
        assert await checks.states() == {"database": "up"}
        await trio.sleep(0.01)
        assert await checks.states() == {"database": "down"}
        assert await checks.states() == {"database": "down"}
        assert database.begun == 2, "a bad result is kept, too"


async def test_nobody_is_checked_whom_nobody_asks_for(autojump_clock: MockClock) -> None:
    database = Part()
    async with running(database=database.check):
        await trio.sleep(100)
        assert database.begun == 0


async def test_all_who_ask_at_once_share_one_check(autojump_clock: MockClock) -> None:
    database, provider = Part(0.5), Part(0.9)
    answers: list[dict[str, str]] = []

    async def ask() -> None:
        answers.append(await checks.states())

    async with running(database=database.check, provider=provider.check) as checks, trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(ask)
        await trio.sleep(0.7)  # one of the two is under way still
        for _ in range(100):
            nursery.start_soon(ask)
    assert answers == [{"database": "up", "provider": "up"}] * 200
    assert (database.begun, provider.begun) == (1, 1)


async def test_one_who_goes_away_takes_no_check_along(autojump_clock: MockClock) -> None:
    database = Part(0.8)
    async with running(database=database.check) as checks, trio.open_nursery() as nursery:
        answers: list[dict[str, str]] = []

        async def ask() -> None:
            answers.append(await checks.states())

        with trio.CancelScope() as first:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            with trio.move_on_after(0.1):
                await checks.states()
            first.cancel()
        for _ in range(20):  # and many who come and go cause no more checks
            with trio.move_on_after(0.01):
                await checks.states()
        assert await checks.states() == {"database": "up"}
    assert answers == [{"database": "up"}]
    assert (database.begun, database.done) == (1, 1)


@pytest.mark.parametrize("error", [PersistenceUnavailable(), ZeroDivisionError("secret"), SystemExit(), None])
async def test_a_part_that_fails_or_hangs_is_down(
    autojump_clock: MockClock, error: BaseException | None, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Part(0 if error is not None else 100, error)
    well = Part()
    async with running(broken=broken.check, well=well.check) as checks:
        assert await checks.states() == {"broken": "down", "well": "up"}
        broken.error, broken.seconds = None, 0
        await trio.sleep(KEEP_SECONDS)
        assert await checks.states() == {"broken": "up", "well": "up"}
    assert "secret" not in caplog.text


async def test_a_check_that_cannot_be_cancelled_keeps_nobody_waiting(autojump_clock: MockClock) -> None:
    stuck, well = trio.Event(), Part()

    async def shielded() -> None:
        with trio.CancelScope(shield=True):
            await stuck.wait()

    async with running(stuck=shielded, well=well.check) as checks:
        for number in range(1, 4):
            started = trio.current_time()
            assert await checks.states() == {"stuck": "down", "well": "up"}
            assert trio.current_time() - started <= ANSWER_SECONDS
            await trio.sleep(KEEP_SECONDS)
            assert well.begun == number, "the other part is checked as before"
        stuck.set()


async def test_a_server_checks_its_parts_once_for_all_who_ask(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, database = MemoryRepository(), Part(0.2)
    monkeypatch.setattr(repository, "check", database.check)
    async with memory_server(repository=repository) as server:
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(server.gateway.readiness)
        assert database.begun == 1
        assert (await server.gateway.readiness()).parts == {"redis": "up", "database": "up", "name": "up"}
        assert database.begun == 1
