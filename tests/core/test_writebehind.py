"""The write-behind queue: in order, in batches, through an outage, and bounded."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from evanesce import writebehind
from evanesce.errors import PersistenceUnavailable
from evanesce.metrics import Metrics
from evanesce.model import Record, RoomActivity, SessionEnded, SessionStarted, Timestamp, UserSeen
from evanesce.plugins.calls import CallNursery, PluginCalls
from evanesce.plugins.containment import contained_repository
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


class Refusing(Recorder):
    """Refuses, all or nothing, every call with one of the `poison` records, for a reason of its own."""

    def __init__(self, poison: set[int]) -> None:
        super().__init__()
        self.calls = 0
        self._poison = {str(number) for number in poison}

    async def record(self, records: Sequence[Record]) -> None:
        self.calls += 1
        if any(isinstance(record, SessionEnded) and record.session_id in self._poison for record in records):
            await trio.lowlevel.checkpoint()
            raise ValueError("secret text of a record")
        await super().record(records)

    @property
    def written(self) -> list[Record]:
        return [record for batch in self.batches for record in batch]


@settings(max_examples=60)
@given(count=st.integers(1, 40), data=st.data())
def test_whatever_is_refused_all_else_is_written_once_in_order(count: int, data: st.DataObject) -> None:
    poison = data.draw(st.sets(st.integers(0, count - 1)))

    async def write_all() -> None:
        repository = Refusing(poison)
        metrics = Metrics()
        queue = WriteBehind(repository, metrics)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(queue.run)
            for number in range(count):
                queue.record(ended(number))
            await trio.sleep(60)
            nursery.cancel_scope.cancel()
        assert repository.written == [ended(number) for number in range(count) if number not in poison]
        assert queue.waiting == 0
        assert f"evanesce_records_refused_total {float(len(poison))}" in metrics.text()
        assert "evanesce_records_dropped_total 0.0" in metrics.text()

    trio.run(write_all, clock=MockClock(autojump_threshold=0))


async def test_a_refused_record_is_counted_and_named_without_its_content(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    repository = Refusing({3, 700})
    metrics = Metrics()
    queue = WriteBehind(repository, metrics)
    for number in range(1200):
        queue.record(ended(number))
    await queue.flush()
    assert repository.written == [ended(number) for number in range(1200) if number not in (3, 700)]
    assert repository.calls < 50, "halves are tried, not one record after the other"
    assert "evanesce_records_refused_total 2.0" in metrics.text()
    dropped = [record.getMessage() for record in caplog.records if "were dropped" in record.getMessage()]
    assert len(dropped) == 2, "one line for each batch"
    assert all(line.startswith("1 records (SessionEnded) were dropped") for line in dropped)
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


async def test_a_fault_that_the_border_has_logged_is_not_told_as_one_of_the_border(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(MemoryRepository):
        async def record(self, records: Sequence[Record]) -> None:
            raise RuntimeError

    owner = CallNursery()
    queue = WriteBehind(contained_repository(Broken(), PluginCalls("odd", owner)), Metrics())
    queue.record(ended(0))
    async with trio.open_nursery() as nursery:
        await nursery.start(owner.run)
        await queue.flush()
        nursery.cancel_scope.cancel()
    first, last = caplog.messages
    assert first.startswith("plugin odd: Repository.record (tests.core.test_writebehind:")
    assert "RuntimeError" in first
    assert last == (
        "1 records (SessionEnded) were dropped: the repository refuses them: see the line about its plugin above"
    )


async def test_what_comes_behind_a_refused_record_waits_no_longer_than_its_attempts(autojump_clock: MockClock) -> None:
    repository = Refusing({0})
    queue = WriteBehind(repository, Metrics())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        queue.record(ended(0))
        await trio.sleep(writebehind.AGE / 2)
        queue.record(ended(1))
        await trio.sleep(10)
        assert repository.written == [ended(1)]
        queue.record(ended(2))
        await trio.sleep(writebehind.AGE)
        await wait_all_tasks_blocked()
        assert repository.written == [ended(1), ended(2)], "it starts from the beginning again"
        nursery.cancel_scope.cancel()


async def test_an_outage_while_a_batch_is_divided_drops_nothing(autojump_clock: MockClock) -> None:
    repository = Refusing({5})
    metrics = Metrics()
    queue = WriteBehind(repository, metrics)
    for number in range(10):
        queue.record(ended(number))
    write = repository.record

    async def away_at_the_third(records: Sequence[Record]) -> None:
        if repository.calls == 2:
            repository.calls += 1
            await trio.lowlevel.checkpoint()
            raise PersistenceUnavailable
        await write(records)

    repository.record = away_at_the_third  # type: ignore[method-assign]
    with pytest.raises(PersistenceUnavailable):
        await queue.flush()
    assert repository.written == [ended(number) for number in range(5)]
    assert queue.waiting == 5
    await queue.flush()
    assert repository.written == [ended(number) for number in range(10) if number != 5]
    assert "evanesce_records_refused_total 1.0" in metrics.text()


async def test_a_repository_that_never_answers_is_away(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang(records: Sequence[Record]) -> None:
        await trio.sleep_forever()

    repository = Recorder()
    queue = WriteBehind(repository, Metrics())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        with monkeypatch.context() as patch:
            patch.setattr(repository, "record", hang)
            queue.record(ended(1))
            await trio.sleep(writebehind.AGE + writebehind.RECORD_SECONDS)
            await wait_all_tasks_blocked()
        assert "1 records wait for the database" in caplog.text
        await trio.sleep(5)
        assert repository.batches == [[ended(1)]]
        nursery.cancel_scope.cancel()
