"""Fixtures: a gateway that echoes, a transport that listens in front of it, and a log without faults."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.transports.serving import QUART, FakeGateway, Listening, listening


@pytest.fixture(autouse=True)
def faults(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Yield the faults that a test expects in the log, to be filled by it: there must be no others."""
    expected: list[str] = []
    yield expected
    logged = [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert logged == expected


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
def transport() -> str:
    """Return the transport's name; the modules about any of them are parametrised with all."""
    return QUART


@pytest.fixture
async def server(gateway: FakeGateway, transport: str) -> AsyncIterator[Listening]:
    async with listening(gateway, transport) as listening_:
        yield listening_
