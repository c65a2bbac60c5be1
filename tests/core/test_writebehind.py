"""The write-behind queue: in order, in batches, through an outage, and bounded."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce import writebehind
from evanesce.errors import PersistenceUnavailable
from evanesce.metrics import Metrics
from evanesce.model import Record, RoomActivity, SessionEnded, SessionStarted, Timestamp, UserSeen
from evanesce.testing.memory_repository import MemoryRepository
from evanesce.writebehind import WriteBehind

AT = Timestamp("2026-01-01T00:00:00.000Z")


class Recorder(MemoryRepository):
    """Notes each batch; refuses while `down`."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[Record]] = []
        self.down = False

    async def record(self, records: Sequence[Record]) -> None:
        await trio.lowlevel.checkpoint()
        if self.down:
            raise PersistenceUnavailable
        self.batches.append(list(records))


def ended(number: int) -> SessionEnded:
    return SessionEnded(session_id=str(number), leave_time=AT)


async def test_records_go_together_after_a_moment(autojump_clock: MockClock) -> None:
    repository = Recorder()
    queue = WriteBehind(repository, Metrics())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        for number in range(3):
            queue.record(ended(number))
        await wait_all_tasks_blocked()
        assert repository.batches == []
        await trio.sleep(writebehind.AGE)
        await wait_all_tasks_blocked()
        assert repository.batches == [[ended(0), ended(1), ended(2)]]
        nursery.cancel_scope.cancel()


async def test_many_records_go_at_once(autojump_clock: MockClock) -> None:
    repository = Recorder()
    metrics = Metrics()
    queue = WriteBehind(repository, metrics)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        for number in range(writebehind.BATCH - 1):
            queue.record(ended(number))
        await wait_all_tasks_blocked()
        assert repository.batches == []
        assert f"evanesce_records_waiting {writebehind.BATCH - 1}.0" in metrics.text()
        queue.record(ended(-1))
        await wait_all_tasks_blocked()
        assert [len(batch) for batch in repository.batches] == [writebehind.BATCH]
        assert trio.current_time() < writebehind.AGE
        assert "evanesce_records_waiting 0.0" in metrics.text()
        queue.record(ended(-2))
        await wait_all_tasks_blocked()
        assert len(repository.batches) == 1, "the next one waits again"
        nursery.cancel_scope.cancel()


async def test_what_comes_while_it_is_written_waits_for_the_next_batch(autojump_clock: MockClock) -> None:
    repository = Recorder()
    queue = WriteBehind(repository, Metrics())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        for number in range(3 * writebehind.BATCH + 7):
            queue.record(ended(number))
        await trio.sleep(writebehind.AGE)
        await wait_all_tasks_blocked()
        assert [len(batch) for batch in repository.batches] == [*[writebehind.BATCH] * 3, 7]
        nursery.cancel_scope.cancel()


async def test_of_a_state_only_the_last_is_written(autojump_clock: MockClock) -> None:
    repository = Recorder()
    queue = WriteBehind(repository, Metrics())
    started = SessionStarted(session_id="s", user_id="u", room_id="r", join_time=AT, server="one")
    later = Timestamp("2026-01-01T00:00:09.000Z")
    for record in (
        UserSeen(user_id="u", last_active=AT),
        RoomActivity(room_id="r", active=True),
        started,
        UserSeen(user_id="u", last_active=later),
        RoomActivity(room_id="r", active=False),
    ):
        queue.record(record)
    await queue.flush()
    assert repository.batches == [
        [started, UserSeen(user_id="u", last_active=later), RoomActivity(room_id="r", active=False)]
    ]


async def test_an_outage_loses_nothing(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    repository = Recorder()
    queue = WriteBehind(repository, Metrics())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        repository.down = True
        for number in range(1200):
            queue.record(ended(number))
        await trio.sleep(30)
        assert queue.waiting == 1200
        assert "wait for the database" in caplog.text
        repository.down = False
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert [record for batch in repository.batches for record in batch] == [ended(number) for number in range(1200)]
    assert max(len(batch) for batch in repository.batches) == writebehind.BATCH


async def test_a_repository_that_is_broken_ends_nothing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(records: Sequence[Record]) -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError("secret text")

    repository = Recorder()
    metrics = Metrics()
    queue = WriteBehind(repository, metrics)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        with monkeypatch.context() as patch:
            patch.setattr(repository, "record", broken)
            queue.record(ended(1))
            await trio.sleep(1.5)
        assert "the repository failed" in caplog.text
        assert "secret" not in caplog.text
        await trio.sleep(10)
        assert repository.batches == [[ended(1)]]
        assert 'evanesce_faults_total{where="repository"} 1.0' in metrics.text()
        nursery.cancel_scope.cancel()


async def test_past_its_bound_the_oldest_are_dropped_and_counted(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writebehind, "LIMIT", 10)
    repository = Recorder()
    metrics = Metrics()
    queue = WriteBehind(repository, metrics)
    for number in range(15):
        queue.record(ended(number))
    assert "evanesce_records_dropped_total 5.0" in metrics.text()
    assert caplog.text.count("the oldest are dropped") == 1
    await queue.flush()
    assert repository.batches == [[ended(number) for number in range(5, 15)]]
