"""What tests of several parts share: a real libSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sqld import Sqld, binary


@pytest.fixture(scope="session")
def sqld_program(pytestconfig: pytest.Config) -> Path:
    assert pytestconfig.cache is not None
    return binary(pytestconfig.cache.mkdir("sqld"))


@pytest.fixture
def sqld(sqld_program: Path, tmp_path: Path) -> Iterator[Sqld]:
    """A server of the test's own, which holds nothing yet."""
    with Sqld(sqld_program, tmp_path / "sqld") as server:
        yield server
