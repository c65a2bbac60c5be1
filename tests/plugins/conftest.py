"""The repositories of this installation, each opened on nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from evanesce.interfaces import Repository, Setup
from evanesce.testing.memory_repository import MemoryRepository
from evanesce_plugins import sqlite
from evanesce_plugins.sqlite import SqliteSettings


def sqlite_repository(folder: Path) -> Repository:
    """Give what the plugin gives for `evanesce.db` in `folder`."""
    setup = Setup(
        name="sqlite",
        settings=SqliteSettings(),
        folder=folder,
        public_url="http://127.0.0.1:8000",
        origins=(),
        frame_bytes=65_536,
        outbox_bytes=1_048_576,
    )
    return sqlite.evanesce_repository(setup)


def files(folder: Path) -> list[str]:
    """Give the names of all that is in `folder`."""
    return [file.name for file in folder.iterdir()]


@pytest.fixture(params=["memory", "sqlite"])
async def repository(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Repository]:
    made = MemoryRepository() if request.param == "memory" else sqlite_repository(tmp_path)
    async with made:
        yield made
