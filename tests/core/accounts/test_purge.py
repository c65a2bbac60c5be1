"""The database's files are purged after an erasure and a change of profile, as often as it takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from evanesce.accounts import purge
from evanesce.config.model import RetentionTable
from evanesce.errors import PersistenceUnavailable
from evanesce.model import User, timestamp
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.testing.server import TestServer, memory_server

SOON = purge.EVERY_SECONDS + purge.RETRY_SECONDS


async def erased(server: TestServer) -> None:
    ada = await server.sign_in("Ada")
    await ada.ask("forget_me")


async def renamed(server: TestServer) -> None:
    ada = await server.sign_in("Ada")
    await ada.ask("update_profile", displayName="Countess")


async def address_changed(server: TestServer) -> None:
    ada = await server.sign_in("Ada")
    await ada.ask("update_profile", email="ada@example.org")


async def erased_as_an_unused_guest(server: TestServer) -> None:
    long_ago = timestamp(server.store.clock.now() - 2 * 24 * 3600 * 1000)
    guest = User(user_id="g", world_id="g", display_name="G", created_at=long_ago, last_active=long_ago, guest=True)
    await server.repository.sign_in(guest)
    await server.cleanup.run_once()
    assert "g" in server.repository.erased or not server.repository.users


async def unchanged(server: TestServer) -> None:
    ada = await server.sign_in("Ada")
    await ada.ask("update_profile", displayName="Ada")
    await ada.ask("profile")


@pytest.mark.parametrize(
    ("act", "count"),
    [(erased, 1), (renamed, 1), (address_changed, 1), (erased_as_an_unused_guest, 1), (unchanged, 0)],
)
async def test_what_changes_rows_that_name_people_has_the_files_purged(
    autojump_clock: MockClock, act: Callable[[TestServer], Awaitable[None]], count: int
) -> None:
    async with memory_server(retention=RetentionTable(guest_days=1)) as server:
        await act(server)
        await trio.sleep(SOON)
        assert server.repository.purges == count


class Busy(MemoryRepository):
    """A database whose files others read for a while, that fails once, and hangs once."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: list[float] = []

    async def purge(self) -> None:
        self.attempts.append(trio.current_time())
        match len(self.attempts):
            case 1 | 2:
                raise PersistenceUnavailable
            case 3:
                await trio.sleep_forever()
            case _:
                await super().purge()


async def test_it_is_tried_until_it_succeeds_and_no_oftener_than_that(autojump_clock: MockClock) -> None:
    repository = Busy()
    async with memory_server(repository=repository) as server:
        await erased(server)
        await trio.sleep(60)
        assert len(repository.attempts) == 4
        assert repository.attempts[1] - repository.attempts[0] <= 1
        assert repository.purges == 1


async def test_while_somebody_reads_for_hours_it_is_tried_less_and_less_often(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[float] = []

    async def busy() -> None:
        await trio.lowlevel.checkpoint()
        attempts.append(trio.current_time())
        raise PersistenceUnavailable

    async with memory_server() as server:
        monkeypatch.setattr(server.repository, "purge", busy)
        await erased(server)
        await trio.sleep(3600)
        assert sum(at - attempts[0] <= 5 for at in attempts) >= 4
        assert 120 <= len(attempts) <= 140
        monkeypatch.undo()
        await trio.sleep(purge.LONGEST_RETRY_SECONDS)
        assert server.repository.purges == 1


async def test_many_erasures_are_purged_together(autojump_clock: MockClock) -> None:
    async with memory_server() as server:
        for number in range(20):
            ada = await server.sign_in(f"Ada {number}")
            await ada.ask("forget_me")
        await trio.sleep(2 * SOON)
        assert 1 <= server.repository.purges <= 3


async def test_a_repository_that_is_broken_ends_nothing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> Any:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError("secret text")

    async with memory_server() as server:
        monkeypatch.setattr(server.repository, "purge", broken)
        await erased(server)
        await trio.sleep(SOON)
        assert "the repository failed at purging its files" in caplog.text
        assert "secret" not in caplog.text
        await erased(server)
