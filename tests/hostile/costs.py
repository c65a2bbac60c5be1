"""The cost of parsing: the CPU time of this thread for each size of a shape, the least of several measurements."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import trio

T = TypeVar("T")

SIZES = (8 * 1024, 16 * 1024, 32 * 1024, 64 * 1024)
"""The sizes of each shape, in bytes or characters: each is twice the one before."""

LARGEST = SIZES[-1]

FREEZE = 32.0
"""No shape of any size may block the event loop for longer than this many times `yardstick`.

On a quiet machine of 2024 that is about 15 ms. Seconds would say more about the machine that runs the test, and about
what else it does, than about the parser.
"""

RATIO = 3.0
"""By which factor the cost may grow with twice the size: linear is 2, quadratic 4, and measurements are noisy."""

NOTICEABLE_SECONDS = 0.001
"""A smaller cost says nothing about growth: a quadratic parser takes hundreds of times as long for 64 KiB."""

YARDSTICK = "evanesce" * 2048
"""What `yardstick` reads: 16 KiB."""

ROUNDS = 40
"""How often each size is measured at most, until the figures are good."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one parse in seconds: the total, and the longest time without a checkpoint."""

    total: float
    longest: float

    def better(self, other: Cost) -> Cost:
        """Return the least of both measurements."""
        return Cost(min(self.total, other.total), min(self.longest, other.longest))


Measure = Callable[[Any], Cost]


def yardstick() -> float:
    """Return the CPU seconds of a loop in Python over 16 KiB, measured beside each parser, as fast or slow as it."""
    with _without_collection():
        started = time.thread_time()
        count = 0
        for character in YARDSTICK:
            if character in "ev":
                count += 1
        return time.thread_time() - started


@dataclass(frozen=True, slots=True)
class Costs:
    """The least costs of a shape by its size, and the least of `yardstick` that was measured beside them."""

    by_size: Mapping[int, Cost]
    yardstick: float


def of_call(parse: Callable[[T], object], refusals: tuple[type[Exception], ...]) -> Callable[[T], Cost]:
    """Return a function that measures a synchronous parser, which returns or raises one of `refusals`."""

    def measure(data: T) -> Cost:
        with _without_collection():
            started = time.thread_time()
            with contextlib.suppress(*refusals):
                parse(data)
            seconds = time.thread_time() - started
        return Cost(seconds, seconds)

    return measure


class Steps(trio.abc.Instrument):
    """Measure the steps of all tasks of a Trio run: the time between two checkpoints."""

    def __init__(self) -> None:
        self._started = self.total = self.longest = 0.0

    async def restart(self) -> None:
        """Discard what was measured so far, including the present step of the caller."""
        await trio.lowlevel.checkpoint()
        self.total = self.longest = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._started = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        seconds = time.thread_time() - self._started
        self.total += seconds
        self.longest = max(self.longest, seconds)


def of_task(parse: Callable[[T, Steps], Awaitable[None]]) -> Callable[[T], Cost]:
    """Return a function that measures an asynchronous parser in a separate Trio run.

    The parser may call `Steps.restart` once all is ready.
    """

    def measure(data: T) -> Cost:
        steps = Steps()

        async def main() -> None:
            with trio.fail_after(60):
                await parse(data, steps)

        with _without_collection():
            trio.run(main, instruments=[steps])
        return Cost(steps.total, steps.longest)

    return measure


def by_size(measure: Callable[[T], Cost], shape: Callable[[int], T], most: int = LARGEST) -> Costs:
    """Return the costs of a shape, measured until they are good or `ROUNDS` are over.

    The sizes are `SIZES`, or, for a parser that refuses what is larger than `most`, parts of `most` and the largest.
    """
    sizes = SIZES if most >= LARGEST else (*(most // part for part in (8, 4, 2, 1)), LARGEST)
    data = {size: shape(size) for size in sizes}
    costs = Costs({LARGEST: measure(data[LARGEST])}, yardstick())
    if most >= LARGEST and costs.by_size[LARGEST].total < NOTICEABLE_SECONDS:
        return costs
    for count in range(ROUNDS):
        least = dict(costs.by_size)
        for size in sizes:
            if count == 0 and size in least:
                continue
            cost = measure(data[size])
            least[size] = cost.better(least[size]) if size in least else cost
        costs = Costs(least, min(costs.yardstick, yardstick()))
        if problem(costs) is None:
            break
    return costs


def problem(costs: Costs) -> str | None:
    """Return what is wrong with the costs of a shape, or None if they are linear and short."""
    for size, cost in costs.by_size.items():
        if cost.longest >= FREEZE * costs.yardstick:
            return f"{size} bytes freeze everything for {cost.longest / costs.yardstick:.1f} times the yardstick"
        half = costs.by_size.get(size // 2)
        if half is not None and cost.total > max(RATIO * half.total, NOTICEABLE_SECONDS):
            return f"{size} bytes cost {cost.total / half.total:.1f} times as much as half of them"
    return None


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Disable the garbage collector during a measurement: its cost depends on all objects of the test run."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
