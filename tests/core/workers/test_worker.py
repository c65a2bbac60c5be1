"""What becomes of processes that do not behave: scripts in place of servers, each told by its worker's number."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from evanesce.workers import worker as worker_module
from evanesce.workers.line import Assignment
from evanesce.workers.supervisor import Supervisor
from evanesce.workers.worker import Worker

PATIENCE = 30.0

PREAMBLE = """
import os, signal, socket, sys, time
line, number = socket.socket(fileno=0), int(sys.argv[1])
assert b"S3CR3T" in line.recv(65536) and "S3CR3T" not in "".join(sys.argv)

def tell(*words):
    with open("told", "a") as told:
        print(*words, file=told)

def serve():
    line.sendall(b'["http://here"]\\n')

def last():
    while True:
        signal.pause()

tell("began", number, os.getpid())
"""

STUBBORN = """
for each in (signal.SIGTERM, signal.SIGINT):
    signal.signal(each, lambda got, frame: tell(signal.Signals(got).name))
serve()
last()
"""

POLITE = "serve()\nlast()"
SILENT = "last()"
BRIEF = "serve()\nsys.exit(7)"
SECOND_REFUSES = "if number == 2: sys.exit(2)\n" + POLITE

Make = Callable[..., Worker]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worker_module, "MARGIN_SECONDS", 0.0)


def make(script: str, *, drain_seconds: float = PATIENCE, number: int = 1) -> Worker:
    assignment = Assignment(
        number=number,
        file=None,
        settings=["a.b=S3CR3T"],
        workers=2,
        node="n",
        drain_seconds=drain_seconds,
        redis_url="unix://",
    )
    return Worker([sys.executable, "-c", PREAMBLE + script], assignment)


async def told(begin: str, count: int = 1) -> list[str]:
    """Wait until the scripts have told so many lines that begin so; give what follows there."""
    with trio.fail_after(PATIENCE):
        while len(found := told_so_far(begin)) < count:  # noqa: ASYNC110 - another process's file tells nobody
            await trio.sleep(0.01)
    return found


def told_so_far(begin: str) -> list[str]:
    file = Path("told")
    lines = file.read_text().splitlines() if file.exists() else []
    return [line.removeprefix(begin).strip() for line in lines if line.startswith(begin)]


def alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    return True


async def test_signals_are_passed_on_and_the_second_one_too() -> None:
    worker = make(STUBBORN)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.keep)
        [process] = await told("began 1")
        await worker.life.settled.wait()
        worker.leave(signal.SIGTERM)
        await told("SIGTERM")
        worker.leave(signal.SIGINT)
        await told("SIGINT")
        os.kill(int(process), signal.SIGKILL)
    assert not alive(process)


async def test_a_signal_that_comes_before_the_process_is_there_reaches_it() -> None:
    worker = make(POLITE)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.keep)
            life = worker.life
            worker.leave(signal.SIGTERM)
    assert life.code == -signal.SIGTERM


async def test_one_that_does_not_end_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    worker = make(STUBBORN, drain_seconds=0.1)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.keep)
            life = worker.life
            await life.settled.wait()
            worker.leave(signal.SIGTERM)
    assert life.code == -signal.SIGKILL
    assert "worker 1 did not end within 0.1 s: it is killed" in caplog.text


async def test_one_that_does_not_serve_in_time_is_killed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "START_SECONDS", 0.1)
    worker = make(SILENT)
    life = worker.life
    with trio.fail_after(PATIENCE):
        await worker.keep()
    assert (life.code, life.urls) == (-signal.SIGKILL, None)
    assert "worker 1 did not serve within 0.1 s: it is killed" in caplog.text


async def test_one_that_ends_again_and_again_is_started_with_a_growing_delay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = make(BRIEF)
    began = time.monotonic()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.keep)
        await told("began 1", 4)
        assert time.monotonic() - began > 0.1 + 0.2
        worker.leave(signal.SIGTERM)
    assert "worker 1 ended with 7" in caplog.text


async def test_one_that_names_no_address_serves_all_the_same() -> None:
    worker = make("line.sendall(b'[]\\n')\nlast()")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.keep)
        with trio.fail_after(PATIENCE):
            await worker.serves()
        worker.leave(signal.SIGTERM)


async def test_the_end_of_the_supervisor_is_that_of_its_workers() -> None:
    worker = make(POLITE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.keep)
        [process] = await told("began 1")
        nursery.cancel_scope.cancel()
    assert not alive(process)


# All of them


async def supervise(script: str, signals: AsyncIterator[int]) -> int:
    with trio.fail_after(PATIENCE):
        return await Supervisor([make(script, number=number) for number in (1, 2)]).run(signals)


async def test_the_first_one_begins_alone_and_where_they_serve_is_told_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    send, signals = trio.open_memory_channel[int](1)
    codes: list[int] = []

    async def run() -> None:
        codes.append(await supervise(POLITE, signals))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        processes = [*await told("began 1"), *await told("began 2")]
        with trio.fail_after(PATIENCE):
            while not (printed := capsys.readouterr().out):  # noqa: ASYNC110 - what is printed tells nobody
                await trio.sleep(0.01)
        send.send_nowait(signal.SIGTERM)
    assert printed == "listening on http://here\n"
    assert codes == [0]
    assert not any(map(alive, processes))


@pytest.mark.parametrize(("ends", "expected"), [(2, 2), (1, 1), (0, 1)])
async def test_where_the_first_one_cannot_start_the_others_do_not(ends: int, expected: int) -> None:
    _, signals = trio.open_memory_channel[int](0)
    assert await supervise(f"sys.exit({ends})", signals) == expected
    assert len(await told("began")) == 1


async def test_where_another_one_cannot_start_all_end(capsys: pytest.CaptureFixture[str]) -> None:
    _, signals = trio.open_memory_channel[int](0)
    assert await supervise(SECOND_REFUSES, signals) == 2
    assert not any(map(alive, [*await told("began 1"), *await told("began 2")]))
    assert capsys.readouterr().out == ""


async def test_a_signal_during_the_start_ends_it() -> None:
    send, signals = trio.open_memory_channel[int](1)
    codes: list[int] = []

    async def run() -> None:
        codes.append(await supervise(SILENT, signals))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await told("began 1")
        send.send_nowait(signal.SIGTERM)
    assert codes == [0]
    assert len(await told("began")) == 1
