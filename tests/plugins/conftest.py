"""The repositories of this installation, each opened on nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from evanesce.interfaces import Repository, Setup
from evanesce.testing.memory_repository import MemoryRepository
from evanesce_plugins import sqlite, turso
from evanesce_plugins.sqlite import SqliteSettings
from evanesce_plugins.turso import TursoSettings
from tests.sqld import Sqld


def a_setup(name: str, settings: Any, folder: Path) -> Setup:
    """Return what a plugin is built from."""
    return Setup(
        name=name,
        settings=settings,
        folder=folder,
        public_url="http://127.0.0.1:8000",
        origins=(),
        frame_bytes=65_536,
        outbox_bytes=1_048_576,
    )


def sqlite_repository(folder: Path) -> Repository:
    """Return the repository of the plugin for `evanesce.db` in `folder`."""
    return sqlite.evanesce_repository(a_setup("sqlite", SqliteSettings(), folder))


def turso_repository(url: str, token: str | None = None, folder: Path = Path(), *, timeout: float = 5.0) -> Repository:
    """Return the repository of the plugin for the database at `url`."""
    return turso.evanesce_repository(
        a_setup("turso", TursoSettings(url=url, auth_token=token, timeout=timeout), folder)
    )


def files(folder: Path) -> list[str]:
    """Return the names of all that is in `folder`."""
    return [file.name for file in folder.iterdir()]


def repository_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> Repository:
    if kind == "memory":
        return MemoryRepository()
    if kind == "sqlite":
        return sqlite_repository(folder)
    if kind == "turso file":
        return turso_repository("file:evanesce.db", folder=folder)
    server: Sqld = request.getfixturevalue("sqld")
    return turso_repository(server.url(kind.removeprefix("turso ")), server.token())


KINDS = ["memory", "sqlite", "turso file", "turso http", "turso ws"]


@pytest.fixture(params=KINDS)
async def repository(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Repository]:
    opened = repository_of(request.param, request, tmp_path)
    async with opened:
        yield opened


@pytest.fixture(params=KINDS)
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Repository, Repository]]:
    """Two servers' repositories on one database."""
    one = repository_of(request.param, request, tmp_path)
    two = one if request.param == "memory" else repository_of(request.param, request, tmp_path)
    async with one, two:
        yield one, two
