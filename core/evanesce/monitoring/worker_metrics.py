"""One scrape of several workers: the worker that is asked collects the metrics of the others.

Each value keeps the number of its worker as a label. Sums would hide what matters, such as the delay of one event loop,
and would fall when a worker restarts, which Prometheus would take for a restart of all counters.

The question goes the way of connections that workers pass to each other: a worker gets one end of a socket pair, and
writes its metrics to it. So the supervisor takes no part, and a worker that hangs or restarts only leaves the question
unanswered: it is left out after `ANSWER_SECONDS`, and `evanesce_worker_up` is 0 for it.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import partial

import trio

from evanesce.metrics import Metrics, merged
from evanesce.workers.handover import RoomHandover

ANSWER_SECONDS = 1.0
"""How long the other workers have for their answer, all at the same time."""

MOST_BYTES = 4 * 1024 * 1024
"""The longest answer. One is about 50 KB."""

MOST_QUESTIONS = 8
"""How many questions a worker answers at the same time; it leaves more unanswered."""

_QUESTION = "/metrics"  # in place of the name of a transport, in which there is no slash
_READ_BYTES = 65_536


class WorkerMetrics:
    """The metrics of all workers, and the answers of this one, which has the number `worker`. `run` must run beside it.

    Without a `handover`, where the system has none, each worker answers for itself alone.
    """

    def __init__(self, metrics: Metrics, worker: int, workers: int, handover: RoomHandover | None) -> None:
        self._metrics = metrics
        self._worker = worker
        self._workers = workers
        self._handover = handover
        self._answering = 0
        metrics.scrape = self.scrape

    async def scrape(self) -> str:
        """Return the metrics of all workers that answer in time, and which these are."""
        texts = {self._worker: self._metrics.text(self._worker)}
        handover = self._handover
        if handover is not None:
            async with trio.open_nursery() as nursery:
                for worker in range(1, self._workers + 1):
                    if worker != self._worker:
                        nursery.start_soon(self._ask, handover, worker, texts)
        asked = range(1, self._workers + 1) if handover is not None else [self._worker]
        up = [f'evanesce_worker_up{{worker="{worker}"}} {int(worker in texts)}.0' for worker in asked]
        head = ["# HELP evanesce_worker_up Whether the worker answered this scrape", "# TYPE evanesce_worker_up gauge"]
        return merged([text for _, text in sorted(texts.items())]) + "\n".join([*head, *up, ""])

    async def _ask(self, handover: RoomHandover, worker: int, texts: dict[int, str]) -> None:
        """Ask a worker, and put its metrics into `texts` if it answers in time."""
        ours, theirs = socket.socketpair()
        with theirs:
            sent = handover.pass_to(worker, _QUESTION, theirs.fileno())
        async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as stream:
            if not sent:
                return
            answer = bytearray()
            with trio.move_on_after(ANSWER_SECONDS), suppress(trio.BrokenResourceError):
                while (part := await stream.receive_some(_READ_BYTES)) and len(answer) < MOST_BYTES:
                    answer += part
                if answer.endswith(b"\n"):  # it is whole: the last line is written as all others
                    texts[worker] = answer.decode()

    async def run(self) -> None:
        """Answer other workers, until cancelled."""
        if self._handover is None:
            return
        async with trio.open_nursery() as nursery:
            with self._handover.receiving(_QUESTION, partial(self._take, nursery)):
                await trio.sleep_forever()

    def _take(self, nursery: trio.Nursery, connection: int, _age: float) -> None:
        if self._answering >= MOST_QUESTIONS:
            os.close(connection)
            return
        self._answering += 1
        nursery.start_soon(self._answer, socket.socket(fileno=connection))

    async def _answer(self, connection: socket.socket) -> None:
        try:
            async with trio.SocketStream(trio.socket.from_stdlib_socket(connection)) as stream:
                with trio.move_on_after(ANSWER_SECONDS), suppress(trio.BrokenResourceError):
                    await stream.send_all(self._metrics.text(self._worker).encode())
        finally:
            self._answering -= 1
