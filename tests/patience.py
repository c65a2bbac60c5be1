"""How long tests wait for what is to happen, and limits of time that leave out what the machine took.

On a machine that is busy with other things everything takes longer, and nobody knows by how much. What has to happen at
some time is waited for under `PATIENCE`. Where a time is what is tried, it is measured with a `Stopwatch`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import trio

PATIENCE = 60.0
"""After how many seconds what a test waits for is taken to hang: on a machine of its own it takes 5 at most."""

ATTEMPTS = 5
"""How often something is tried at most that fails where the machine is busy."""

NOTICEABLE = 0.5
"""How many seconds the machine has to take before a failure may be its fault."""

_TICKS = os.sysconf("SC_CLK_TCK")


class Taken:
    """How much time the machine has taken from this process and from those that it has started, as Linux counts it.

    That is how long their threads were ready to run and waited for a CPU, for how long a hypervisor ran others on these
    CPUs, and for how long somebody waited for a disk. What ran at the same time is added up, so that it is the most by
    which anything was delayed. Elsewhere it is taken to be none.
    """

    def __init__(self) -> None:
        self._counters = _counters()
        self._total = 0.0

    def seconds(self) -> float:
        """Return how many seconds that is since this was made."""
        counters = _counters()
        self._total += sum(max(0.0, value - self._counters.get(name, 0.0)) for name, value in counters.items())
        self._counters = counters
        return self._total


class Stopwatch:
    """Measures time on which a test sets a limit."""

    def __init__(self) -> None:
        self._taken = Taken()
        self._began = time.monotonic()

    def seconds(self) -> float:
        """Return how many seconds it took since this was made, less what the machine has taken."""
        elapsed = time.monotonic() - self._began
        return elapsed - self._taken.seconds()


@contextmanager
def within(seconds: float) -> Generator[None]:
    """Fail where what is done takes longer than that, less what the machine has taken; end it where it hangs."""
    stopwatch = Stopwatch()
    with trio.fail_after(seconds + PATIENCE):
        yield
    took = stopwatch.seconds()
    assert took < seconds, f"it took {took:.2f} s"


async def undisturbed(act: Callable[[], Awaitable[object]]) -> None:
    """Do what depends on times that Evanesce itself allows.

    Do it again where one of its assertions failed and the machine took time from it. Other exceptions are mistakes.
    """
    for attempt in range(1, ATTEMPTS + 1):
        taken = Taken()
        try:
            await act()
        except AssertionError as error:
            seconds = taken.seconds()
            if attempt == ATTEMPTS or seconds < NOTICEABLE:
                raise
            print(f"attempt {attempt} failed while the machine took {seconds:.2f} s: {error}")
        else:
            return


def _counters() -> dict[str, float]:
    """Return what Linux counts, by the names of its counters, in seconds."""
    try:
        steal = Path("/proc/stat").read_text().split(maxsplit=9)[8]
        counters = {"hypervisor": int(steal) / _TICKS}
    except FileNotFoundError:
        return {}
    try:
        some = Path("/proc/pressure/io").read_text().splitlines()[0]
        counters["disk"] = int(some.rpartition("total=")[2]) / 1e6
    except OSError:  # a kernel without it, or where it is switched off
        pass
    for process in _descendants(os.getpid()):
        for thread in _threads(process):
            waited = _read(f"{thread}/schedstat").split()
            if len(waited) == 3:
                counters[thread] = int(waited[1]) / 1e9
    return counters


def _descendants(process: int) -> list[int]:
    """Return a process, its children, and so on."""
    children = [int(child) for thread in _threads(process) for child in _read(f"{thread}/children").split()]
    return [process, *(found for child in children for found in _descendants(child))]


def _threads(process: int) -> list[str]:
    """Return the folders of a process's threads: none if it has ended."""
    try:
        return [f"/proc/{process}/task/{thread}" for thread in os.listdir(f"/proc/{process}/task")]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _read(file: str) -> str:
    """Return what a file says of a thread: nothing if that has ended, as it may between opening and reading."""
    try:
        return Path(file).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
