"""A simulator for each test, which ends within its time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from tests.worldid.simulation import Simulation, simulation


@pytest.fixture
async def simulated() -> AsyncIterator[Simulation]:
    with trio.fail_after(60):
        async with simulation() as running:
            yield running
