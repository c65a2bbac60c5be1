"""The plugin `turso`: what lasts is in a libSQL database, Turso's or a server of one's own.

General layout: `settings`; `bridge`, the asyncio thread and the way to it from Trio; `clients`, libsql-client's clients
made fit; `faults`, what their errors mean; `driver`, all of it put together for the repository in SQL.
"""

from __future__ import annotations

from functools import partial

from evanesce.errors import PluginError
from evanesce.hookspecs import hookimpl
from evanesce.interfaces import Repository, Settings, Setup
from evanesce_plugins.sql.repository import SqlRepository
from evanesce_plugins.turso.settings import Address, TursoSettings


@hookimpl
def evanesce_settings() -> Settings:
    """Give the model of `[plugins.turso]`."""
    return TursoSettings


@hookimpl
def evanesce_repository(setup: Setup) -> Repository:
    """Give the repository; its database is opened by `async with`."""
    table = f"plugins.{setup.name}"
    address = Address.of(setup.settings.url, setup.folder, f"{table}.url")
    try:
        # Here, because this module is imported by every command, and where the extra is not installed.
        from evanesce_plugins.turso.driver import connect
    except ModuleNotFoundError as error:
        raise PluginError(setup.name, f"{error.name} is not installed: pip install 'evanesce[turso]'") from None
    return SqlRepository(
        partial(connect, address, setup.settings.auth_token, setup.settings.timeout, table), f"{table}.url"
    )
