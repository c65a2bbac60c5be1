"""The plugin `turso`: the repository in a libSQL database, hosted by Turso or on a server of your own.

General layout: `settings`; `asyncio_thread`, which runs asyncio code for Trio; `clients`, those of libsql-client,
adapted; `faults`, the meaning of their errors; `driver`, which combines these for the repository in SQL.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from evanesce.errors import PluginError
from evanesce.hookspecs import API, hookimpl
from evanesce.interfaces import Repository, Settings, Setup
from evanesce_plugins.sql.repository import SqlRepository
from evanesce_plugins.turso.settings import Address, TursoSettings

evanesce_api = API


@hookimpl
def evanesce_settings() -> Settings:
    """Return the model of `[plugins.turso]`."""
    return TursoSettings


@hookimpl
def evanesce_repository(setup: Setup) -> Repository:
    """Return the repository. `async with` opens its database."""
    table = f"plugins.{setup.name}"
    address = Address.of(setup.settings.url, setup.folder, f"{table}.url")
    try:
        # Here, because every command imports this module, with and without the extra.
        from evanesce_plugins.turso.driver import connect
    except ModuleNotFoundError as error:
        raise PluginError(setup.name, f"{error.name} is not installed: pip install 'evanesce[turso]'") from None
    opening = partial(connect, address, setup.settings.auth_token, setup.settings.timeout, table)
    file = Path(address.url) if address.way == "file" else None
    return SqlRepository(opening, f"{table}.url", address.database, file)
