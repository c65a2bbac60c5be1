"""The repositories of this installation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evanesce.interfaces import Repository, Setup
from evanesce_plugins import sqlite, turso
from evanesce_plugins.sqlite import SqliteSettings
from evanesce_plugins.turso import TursoSettings


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
