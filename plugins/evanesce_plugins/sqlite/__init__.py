"""The plugin `sqlite`: what lasts is in one SQLite file on this machine."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import msgspec
from msgspec import Meta

from evanesce.hookspecs import hookimpl
from evanesce.interfaces import Repository, Settings, Setup
from evanesce_plugins.sql.repository import SqlRepository
from evanesce_plugins.sqlite.driver import connect


class SqliteSettings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """`[plugins.sqlite]`: `path` is the database file, relative to the working folder; made where there is none."""

    path: Annotated[
        str, Meta(pattern=r"^(?!:memory:\Z)[^\x00]+\Z", description="the path of a file; there is none in memory")
    ] = "evanesce.db"


@hookimpl
def evanesce_settings() -> Settings:
    """Give the model of `[plugins.sqlite]`."""
    return SqliteSettings


@hookimpl
def evanesce_repository(setup: Setup) -> Repository:
    """Give the repository; its file is opened by `async with`."""
    setting = f"plugins.{setup.name}.path"
    return SqlRepository(partial(connect, setup.folder / setup.settings.path, setting), setting)
