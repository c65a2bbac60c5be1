"""One scrape of several workers: each of them is in it, and one that does not answer never hides the rest."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from evanesce.metrics import Metrics
from evanesce.monitoring import worker_metrics
from evanesce.monitoring.worker_metrics import WorkerMetrics
from evanesce.workers.handover import HandoverSockets, RoomHandover
from tests.core.workers.handovers import handovers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers pass connections on Linux alone")

WORKERS = 3


@pytest.fixture
def sockets() -> Iterator[HandoverSockets]:
    made = HandoverSockets(WORKERS)
    yield made
    made.close()


@pytest.fixture
def workers(sockets: HandoverSockets) -> Iterator[dict[int, RoomHandover]]:
    with handovers(sockets, WORKERS) as made:
        yield made


class Worker:
    def __init__(self, number: int, handover: RoomHandover | None) -> None:
        self.metrics = Metrics()
        self.metrics.accepted.inc(number)
        self.handover = handover
        self.merging = WorkerMetrics(self.metrics, number, WORKERS, handover)

    async def start(self, nursery: trio.Nursery) -> None:
        assert self.handover is not None
        nursery.start_soon(self.handover.run)
        nursery.start_soon(self.merging.run)
        await trio.testing.wait_all_tasks_blocked()


def accepted(text: str) -> dict[int, float]:
    found = re.findall(r'^evanesce_messages_accepted_total\{worker="(\d)"\} (\S+)$', text, re.MULTILINE)
    return {int(worker): float(value) for worker, value in found}


def up(text: str) -> dict[int, float]:
    found = re.findall(r'^evanesce_worker_up\{worker="(\d)"\} (\S+)$', text, re.MULTILINE)
    return {int(worker): float(value) for worker, value in found}


async def test_any_worker_answers_for_all(workers: dict[int, RoomHandover], nursery: trio.Nursery) -> None:
    made = [Worker(number, handover) for number, handover in workers.items()]
    for worker in made:
        await worker.start(nursery)
    for worker in made:
        text = await worker.metrics.scrape()
        assert accepted(text) == {1: 1.0, 2: 2.0, 3: 3.0}
        assert up(text) == {1: 1.0, 2: 1.0, 3: 1.0}
    nursery.cancel_scope.cancel()


async def test_a_worker_that_hangs_is_left_out_after_the_deadline(
    workers: dict[int, RoomHandover], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    first, second = Worker(1, workers[1]), Worker(2, workers[2])
    await first.start(nursery)
    await second.start(nursery)
    autojump_clock.autojump_threshold = 0.1  # the second one answers over a real socket
    began = trio.current_time()
    text = await first.metrics.scrape()
    assert trio.current_time() - began == pytest.approx(worker_metrics.ANSWER_SECONDS)
    assert accepted(text) == {1: 1.0, 2: 2.0}
    assert up(text) == {1: 1.0, 2: 1.0, 3: 0.0}
    nursery.cancel_scope.cancel()


async def test_a_question_to_a_worker_that_has_ended_is_closed_and_costs_no_time(
    sockets: HandoverSockets, workers: dict[int, RoomHandover], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    first, second = Worker(1, workers[1]), Worker(2, workers[2])
    await first.start(nursery)
    await second.start(nursery)
    autojump_clock.autojump_threshold = 3600  # no deadline passes
    texts: list[str] = []

    async def scrape() -> None:
        texts.append(await first.metrics.scrape())

    async with trio.open_nursery() as scraping:
        scraping.start_soon(scrape)
        await trio.testing.wait_all_tasks_blocked()
        sockets.clear(3)  # as the supervisor does where a worker has ended
    assert up(texts[0]) == {1: 1.0, 2: 1.0, 3: 0.0}
    nursery.cancel_scope.cancel()


async def test_an_answer_that_ends_early_is_not_shown(
    workers: dict[int, RoomHandover], nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Worker(1, workers[1]), Worker(2, workers[2])
    monkeypatch.setattr(second.metrics, "text", lambda worker: "evanesce_messages_accepted_tot")
    await first.start(nursery)
    await second.start(nursery)
    text = await first.metrics.scrape()
    assert up(text) == {1: 1.0, 2: 0.0, 3: 0.0}
    nursery.cancel_scope.cancel()


async def test_a_worker_answers_a_bounded_number_of_questions(
    workers: dict[int, RoomHandover], nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_metrics, "MOST_QUESTIONS", 0)
    first, second = Worker(1, workers[1]), Worker(2, workers[2])
    await first.start(nursery)
    await second.start(nursery)
    assert up(await first.metrics.scrape()) == {1: 1.0, 2: 0.0, 3: 0.0}
    nursery.cancel_scope.cancel()


async def test_where_workers_cannot_ask_each_other_each_answers_for_itself() -> None:
    text = await Worker(2, None).metrics.scrape()
    assert accepted(text) == {2: 2.0}
    assert up(text) == {2: 1.0}
