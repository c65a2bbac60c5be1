"""A server's warnings of what keeps content on disk: one line at its start and one each hour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from evanesce.errors import StoreUnavailable
from evanesce.store.disk_warning import MOST_NAMED, RETRY_SECONDS, WARN_SECONDS, warn_of_disk
from evanesce.store.health import CheckResult, Severity
from evanesce.store.memory import MemoryServer
from evanesce.store.memory.store import MemoryHealth
from tests.core.store.backends import eventually
from tests.e2e.running import Server
from tests.e2e.valkey import Valkey


class Odd(MemoryHealth):
    """A health check that finds what it is told to find, and notes when it was asked."""

    def __init__(self, found: Sequence[CheckResult]) -> None:
        super().__init__(MemoryServer())
        self.found = found
        self.down = False
        self.asked: list[float] = []

    async def content_on_disk(self) -> Sequence[CheckResult]:
        await trio.lowlevel.checkpoint()
        self.asked.append(trio.current_time())
        if self.down:
            raise StoreUnavailable()
        return self.found


def problems(count: int) -> list[CheckResult]:
    return [CheckResult("redis persistence", Severity.FAIL, f"node {number}: save", "") for number in range(count)]


async def test_one_line_an_hour(autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture) -> None:
    store = Odd(problems(MOST_NAMED + 2))
    with trio.move_on_after(WARN_SECONDS * 3 - 1):
        await warn_of_disk(store)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    named = "; ".join(f"node {number}: save" for number in range(MOST_NAMED))
    assert lines[0] == f"messages may be kept on a disk beyond their TTL: {named}; 2 more. Run evanesce check"


async def test_nothing_is_said_where_all_is_well(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    store = Odd([])
    with trio.move_on_after(WARN_SECONDS * 3 - 1):
        await warn_of_disk(store)
    assert len(store.asked) == 3
    assert caplog.records == []


async def test_it_waits_for_a_store_that_is_down(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    store = Odd(problems(1))
    store.down = True
    with trio.move_on_after(RETRY_SECONDS * 3 - 1):
        await warn_of_disk(store)
    assert (len(store.asked), caplog.records) == (3, [])
    store.down = False
    with trio.move_on_after(1):
        await warn_of_disk(store)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_server_warns_at_its_start(tmp_path: Path, workers: int) -> None:
    with Valkey() as valkey:
        valkey.client.config_set("save", "60 1")
        settings = (f"redis.url={valkey.url}", f"server.secret={'s' * 32}", f"server.workers={workers}")
        server = Server(tmp_path, *settings)
        with server:
            await eventually(lambda: "may be kept on a disk beyond their TTL: save: " in server.errors, 60)
        assert server.errors.count("may be kept on a disk beyond their TTL") == 1
