"""What the machine takes from a test does not count against it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import trio

from tests import patience
from tests.patience import Stopwatch, Taken, undisturbed, within

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone counts it")


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """Have this process and those that it starts share one CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def burn(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


@linux
@pytest.mark.usefixtures("one_cpu")
def test_the_time_in_which_others_have_the_cpu_is_left_out() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            stopwatch = Stopwatch()
            burn(1)
            seconds = stopwatch.seconds()
        finally:
            other.kill()
    assert seconds < 0.9


@linux
def test_what_was_taken_from_a_process_that_has_ended_is_remembered() -> None:
    taken = Taken()
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as child:
        assert child.pid in patience._descendants(os.getpid())
        before = taken.seconds()
    assert taken.seconds() >= before
    assert child.pid not in patience._descendants(os.getpid())


async def test_what_takes_too_long_fails_on_a_quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_counters", dict)
    with pytest.raises(AssertionError, match="it took"), within(0.1):
        await trio.sleep(0.15)
    monkeypatch.setattr(patience, "_counters", lambda: {"hypervisor": time.monotonic()})  # it takes all
    with within(0.1):
        await trio.sleep(0.15)


@pytest.mark.parametrize(("taken", "times"), [(0.0, 1), (1.0, 3)])
async def test_what_fails_is_tried_again_where_the_machine_may_be_the_cause(
    taken: float, times: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = 0

    async def fails_twice() -> None:
        nonlocal tried
        tried += 1
        assert tried == 3, "it fails"

    monkeypatch.setattr(patience, "_counters", lambda: {"disk": tried * taken})
    if times == 3:
        await undisturbed(fails_twice)
        assert capsys.readouterr().out.count("it fails") == 2, "each attempt that failed is printed"
    else:
        with pytest.raises(AssertionError, match="it fails"):
            await undisturbed(fails_twice)
    assert tried == times


async def test_a_mistake_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = 0

    async def is_mistaken() -> None:
        nonlocal tried
        tried += 1
        raise KeyError

    monkeypatch.setattr(patience, "_counters", lambda: {"disk": float(tried)})
    with pytest.raises(KeyError):
        await undisturbed(is_mistaken)
    assert tried == 1
