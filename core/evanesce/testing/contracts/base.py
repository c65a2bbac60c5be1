"""What all contracts have in common: a class of tests to derive from, whose methods give the part under test."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest
import trio

PATIENCE = 60.0
"""After how many seconds a call that has not ended is taken to hang."""


class Contract:
    """The base of all contracts. pytest collects the classes that are derived from one, if their names begin with Test.

    `documented` is the page below `docs/` that describes the contract. A test that fails shows it, with what the
    contract wants: that is the name of the test, read as a sentence. Each test has an instance of the class of its own.
    """

    pytestmark = pytest.mark.trio

    documented: ClassVar[str]

    @pytest.fixture
    def contract(self) -> Contract:
        """Return the instance of this class on which the test runs, for fixtures that run in Trio."""
        return self


async def at_once(*calls: Callable[[], Awaitable[object]]) -> list[object]:
    """Make calls at the same time, and return their results in the order of the calls."""
    results: dict[int, object] = {}

    async def call(number: int, function: Callable[[], Awaitable[object]]) -> None:
        results[number] = await function()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for number, function in enumerate(calls):
                nursery.start_soon(call, number, function)
    return [results[number] for number in range(len(calls))]
