"""The channel between a supervisor and a worker, also when one of them does not exist."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import trio

from evanesce.config.model import RedisTable
from evanesce.workers.channel import Assignment, SupervisorChannel
from tests.patience import PATIENCE

ASSIGNMENT = Assignment(
    number=1,
    file=None,
    settings=["server.secret=S3CR3T"],
    workers=2,
    node="n",
    lame_duck_seconds=0.0,
    drain_seconds=1.0,
    redis=RedisTable(url="redis://:S3CR3T@host"),
)


def test_an_assignment_shows_no_secrets() -> None:
    assert "S3CR3T" not in repr(ASSIGNMENT)


async def test_the_end_of_the_supervisor_is_a_signal_to_end() -> None:
    ours, theirs = socket.socketpair()
    channel = SupervisorChannel(theirs, ASSIGNMENT)
    with theirs, trio.fail_after(PATIENCE), trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.watch)
            await trio.testing.wait_all_tasks_blocked()
            ours.close()
            assert await anext(signals) == signal.SIGTERM


async def test_a_report_to_a_supervisor_that_is_gone_is_no_fault() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        await SupervisorChannel(theirs, ASSIGNMENT).report(["http://here"])


def test_a_worker_that_nobody_supervises_does_not_start(tmp_path: Path) -> None:
    for given in (None, b"", b"nonsense\n"):
        done = subprocess.run(
            [sys.executable, "-m", "evanesce.cli.worker", "1"],
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
            check=False,
            **({"stdin": subprocess.DEVNULL} if given is None else {"input": given}),
        )
        assert (done.returncode, done.stdout) == (2, b"")
        assert done.stderr == (
            b"evanesce: evanesce.cli.worker: only a supervisor may start this program. Use evanesce serve --workers\n"
        )
