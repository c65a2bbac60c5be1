"""Makes a run of Trio depend on a seed alone: the order of tasks, the ids, and all that is random."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TypeVar
from unittest import mock

import trio
from trio._core import _run
from trio.testing import MockClock

T = TypeVar("T")

HASH_SEED = "0"
"""The value of PYTHONHASHSEED with which sets of texts have the same order in every run."""


@contextmanager
def _seeded(seed: int) -> Generator[None]:
    """Take everything that is random from a seed. Trio offers no way to seed its scheduler: this uses its internals."""
    state, source = random.getstate(), random.Random(seed)
    scheduler = random.Random(seed)
    random.seed(seed)
    try:
        with (
            mock.patch.object(os, "urandom", source.randbytes),
            mock.patch.object(_run, "_r", scheduler),
            mock.patch.object(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
        ):
            yield
    finally:
        random.setstate(state)


def run(seed: int, main: Callable[[], Awaitable[T]]) -> T:
    """Run `main` in virtual time, which passes as soon as nothing else is to be done."""
    assert os.environ.get("PYTHONHASHSEED") == HASH_SEED, "started otherwise, sets have another order in each run"
    with _seeded(seed):
        return trio.run(main, clock=MockClock(autojump_threshold=0))
