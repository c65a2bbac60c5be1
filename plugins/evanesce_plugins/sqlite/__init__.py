"""The plugin `sqlite`: the repository in an SQLite file on this machine."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import msgspec
from msgspec import Meta

from evanesce.hookspecs import API, hookimpl
from evanesce.interfaces import Repository, Settings, Setup
from evanesce_plugins.sql.files import name_of
from evanesce_plugins.sql.repository import SqlRepository
from evanesce_plugins.sqlite.driver import connect

evanesce_api = API


class SqliteSettings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """`[plugins.sqlite]`: the database file."""

    path: Annotated[
        str, Meta(pattern=r"^(?!:memory:\Z)[^\x00]+\Z", description="the path of a file; there is none in memory")
    ] = "evanesce.db"
    """The database file, relative to the working folder.

    It is created if it does not exist. A server with an embedded Valkey locks the file of this name with `.lock`
    appended.
    """


@hookimpl
def evanesce_settings() -> Settings:
    """Return the model of `[plugins.sqlite]`."""
    return SqliteSettings


@hookimpl
def evanesce_repository(setup: Setup) -> Repository:
    """Return the repository. `async with` opens its file."""
    setting = f"plugins.{setup.name}.path"
    path = setup.folder / setup.settings.path
    return SqlRepository(partial(connect, path, setting), setting, name_of(path), path)
