"""Workers and their supervisor, with scripts in place of servers: ones that crash, hang, or ignore signals."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from evanesce.config.model import RedisTable
from evanesce.lifecycle.restart_check import RestartCheck, RestartCheckRequest
from evanesce.unixsockets import unix_socket
from evanesce.workers import worker as worker_module
from evanesce.workers.channel import Assignment
from evanesce.workers.supervisor import Supervisor
from evanesce.workers.worker import Worker

TIMEOUT = 30.0

PREAMBLE = """
import os, signal, socket, sys, time
channel, number = socket.socket(fileno=0), int(sys.argv[1])
assert b"S3CR3T" in channel.recv(65536) and "S3CR3T" not in "".join(sys.argv)

def log(*words):
    with open("script.log", "a") as file:
        print(*words, file=file)

def serve():
    channel.sendall(b'["http://here"]\\n')

def wait_forever():
    while True:
        signal.pause()

log("started", number, os.getpid())
"""

IGNORES_SIGNALS = """
for each in (signal.SIGTERM, signal.SIGINT):
    signal.signal(each, lambda got, frame: log(signal.Signals(got).name))
serve()
wait_forever()
"""

SERVES = "serve()\nwait_forever()"
NEVER_READY = "wait_forever()"
CRASHES = "serve()\nsys.exit(7)"
SECOND_IS_REFUSED = "if number == 2: sys.exit(2)\n" + SERVES

Make = Callable[..., Worker]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worker_module, "MARGIN_SECONDS", 0.0)


def make(script: str, *, drain_seconds: float = TIMEOUT, number: int = 1) -> Worker:
    assignment = Assignment(
        number=number,
        file=None,
        settings=["a.b=S3CR3T"],
        workers=2,
        node="n",
        lame_duck_seconds=0.0,
        drain_seconds=drain_seconds,
        redis=RedisTable(url="unix://"),
    )
    return Worker([sys.executable, "-c", PREAMBLE + script], assignment)


async def logged(prefix: str, count: int = 1) -> list[str]:
    """Wait until the scripts have logged `count` lines with `prefix`, and return the rest of these lines."""
    with trio.fail_after(TIMEOUT):
        while len(found := logged_so_far(prefix)) < count:  # noqa: ASYNC110 - another process writes the file
            await trio.sleep(0.01)
    return found


def logged_so_far(prefix: str) -> list[str]:
    file = Path("script.log")
    lines = file.read_text().splitlines() if file.exists() else []
    return [line.removeprefix(prefix).strip() for line in lines if line.startswith(prefix)]


def alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    return True


async def test_signals_are_passed_on_and_the_second_one_too() -> None:
    worker = make(IGNORES_SIGNALS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        [process] = await logged("started 1")
        await worker.current.ready_or_ended.wait()
        worker.stop(signal.SIGTERM)
        await logged("SIGTERM")
        worker.stop(signal.SIGINT)
        await logged("SIGINT")
        os.kill(int(process), signal.SIGKILL)
    assert not alive(process)


async def test_a_signal_that_comes_before_the_process_is_there_reaches_it() -> None:
    worker = make(SERVES)
    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            current = worker.current
            worker.stop(signal.SIGTERM)
    assert current.code == -signal.SIGTERM


async def test_one_that_does_not_end_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    worker = make(IGNORES_SIGNALS, drain_seconds=0.1)
    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            current = worker.current
            await current.ready_or_ended.wait()
            worker.stop(signal.SIGTERM)
    assert current.code == -signal.SIGKILL
    assert "worker 1 did not stop within 0.1 s: killing it" in caplog.text


async def test_one_that_does_not_serve_in_time_is_killed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "START_SECONDS", 0.1)
    worker = make(NEVER_READY)
    current = worker.current
    with trio.fail_after(TIMEOUT):
        await worker.run()
    assert (current.code, current.urls) == (-signal.SIGKILL, None)
    assert "worker 1 was not ready within 0.1 s: killing it" in caplog.text


async def test_one_that_ends_again_and_again_is_started_with_a_growing_delay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = make(CRASHES)
    began = time.monotonic()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await logged("started 1", 4)
        assert time.monotonic() - began > 0.1 + 0.2
        worker.stop(signal.SIGTERM)
    assert "worker 1 ended with exit code 7" in caplog.text


async def test_one_that_names_no_address_serves_all_the_same() -> None:
    worker = make("channel.sendall(b'[]\\n')\nwait_forever()")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        with trio.fail_after(TIMEOUT):
            await worker.wait_serving()
        worker.stop(signal.SIGTERM)


async def test_the_end_of_the_supervisor_is_that_of_its_workers() -> None:
    worker = make(SERVES)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        [process] = await logged("started 1")
        nursery.cancel_scope.cancel()
    assert not alive(process)


# The supervisor


async def supervise(script: str, signals: AsyncIterator[int]) -> int:
    with trio.fail_after(TIMEOUT):
        restart_check = RestartCheck([sys.executable, "-c", ""], RestartCheckRequest(file=None, settings=[]))
        return await Supervisor([make(script, number=number) for number in (1, 2)], restart_check).run(signals)


async def test_the_first_one_begins_alone_and_where_they_serve_is_told_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    send, signals = trio.open_memory_channel[int](1)
    codes: list[int] = []

    async def run() -> None:
        codes.append(await supervise(SERVES, signals))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        processes = [*await logged("started 1"), *await logged("started 2")]
        with trio.fail_after(TIMEOUT):
            while not (printed := capsys.readouterr().out):  # noqa: ASYNC110 - there is no event for printed text
                await trio.sleep(0.01)
        send.send_nowait(signal.SIGTERM)
    assert printed == "listening on http://here\n"
    assert codes == [0]
    assert not any(map(alive, processes))


async def test_a_unix_socket_of_workers_that_stop_refuses_clients_at_once() -> None:
    send, signals = trio.open_memory_channel[int](1)
    with unix_socket(Path("chat.sock"), mode=0o600, backlog=9) as opened:
        workers = [make(IGNORES_SIGNALS, number=number) for number in (1, 2)]
        check = RestartCheck([sys.executable, "-c", ""], RestartCheckRequest(file=None, settings=[]))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Supervisor(workers, check, sockets=[opened]).run, signals)
            processes = [*await logged("started 1"), *await logged("started 2")]
            await (await trio.open_unix_socket("chat.sock")).aclose()
            send.send_nowait(signal.SIGTERM)
            await logged("SIGTERM", 2)  # they have not ended
            with pytest.raises(ConnectionRefusedError):
                await trio.open_unix_socket("chat.sock")
            for process in processes:
                os.kill(int(process), signal.SIGKILL)
    assert "chat.sock" not in os.listdir()


@pytest.mark.parametrize(("code", "expected"), [(2, 2), (1, 1), (0, 1)])
async def test_where_the_first_one_cannot_start_the_others_do_not(code: int, expected: int) -> None:
    _, signals = trio.open_memory_channel[int](0)
    assert await supervise(f"sys.exit({code})", signals) == expected
    assert len(await logged("started")) == 1


async def test_where_another_one_cannot_start_all_end(capsys: pytest.CaptureFixture[str]) -> None:
    _, signals = trio.open_memory_channel[int](0)
    assert await supervise(SECOND_IS_REFUSED, signals) == 2
    assert not any(map(alive, [*await logged("started 1"), *await logged("started 2")]))
    assert capsys.readouterr().out == ""


async def test_a_signal_during_the_start_ends_it() -> None:
    send, signals = trio.open_memory_channel[int](1)
    codes: list[int] = []

    async def run() -> None:
        codes.append(await supervise(NEVER_READY, signals))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await logged("started 1")
        send.send_nowait(signal.SIGTERM)
    assert codes == [0]
    assert len(await logged("started")) == 1
