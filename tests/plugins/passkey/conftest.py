"""Fixtures of the tests of passkeys."""

from __future__ import annotations

import pytest
from trio.testing import MockClock


@pytest.fixture
def clock() -> MockClock:
    """Return a clock that tests move ahead. One that jumps by itself would do so while a thread verifies a key."""
    return MockClock(rate=1.0)
