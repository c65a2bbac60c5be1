"""The command `evanesce db`: show the database and migrate it, copy it, or bind it to the configured Redis."""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from secrets import token_hex
from typing import Any

import trio

from evanesce import logs
from evanesce.config.load import Source
from evanesce.config.model import Config
from evanesce.errors import ConfigurationError, PluginError, StoreUnavailable
from evanesce.interfaces import RedisBinding, Repository, Rows, TableCopy, Value
from evanesce.maintenance.binding import SILENT_SECONDS
from evanesce.plugins import Plugins
from evanesce.store.redis import open_redis_store
from evanesce.store.redis.url import check_url

PAGE = 500
"""How many rows are read and written at once."""


class UnknownRows(Exception):
    """The target of a copy has rows of a table that the origin does not have."""


# evanesce db


def show(source: Source) -> int:
    """Open the configured database, which migrates it to the newest schema version, and describe it."""
    plugins = Plugins.load(source.enabled)
    trio.run(_show, plugins.repository(source.config(plugins.settings()), Path.cwd()))
    return 0


async def _show(repository: Repository) -> None:
    await repository.inspect()  # refuses the database of another application before anything is written to it
    async with repository:
        _print(f"database: {await repository.check()}")
        if isinstance(repository, TableCopy):
            found, present = repository.versions
            _print("schema: up to date" if found == present else f"schema: migrated from version {found} to {present}")


# evanesce db copy


def copy(source: Source, origin: str, target: str) -> int:
    """Copy all rows from the database of plugin `origin` to that of `target`, and compare them: 1 if they differ."""
    if origin == target:
        raise ConfigurationError("db copy", "a database cannot be copied into itself", "Name two plugins")
    names = [origin, target]
    plugins = Plugins.load(names)
    config = source.with_plugins(names).config(plugins.settings())
    return trio.run(_copy, {name: plugins.repository(config, Path.cwd(), name) for name in names})


async def _copy(repositories: dict[str, Repository]) -> int:
    (origin, source), (target, sink) = repositories.items()
    await _check_source(origin, source)
    await sink.inspect()  # refuses the database of another application before anything is written to it
    async with source, sink:
        here, there = _table_copy(origin, source), _table_copy(target, sink)
        if list(here.tables) != list(there.tables):
            raise PluginError(target, f"its tables are not those of {origin}")
        try:
            # The first round writes nothing: it makes sure that all rows of the target are from an earlier copy.
            for act in (_skip, there.write):
                for table in here.tables:
                    count = await _for_missing(here, there, table, act)
                    if act is not _skip:
                        _print(f"{table}: {count} rows copied")
            for table in here.tables:
                if await _for_missing(here, there, table, _skip):
                    raise UnknownRows(table)
        except UnknownRows as error:
            _print(
                f"FAIL {error}: {target} has rows that {origin} does not have."
                " Copy into an empty database while no server runs"
            )
            return 1
    _print(f"{target} has the same rows as {origin}")
    return 0


async def _check_source(origin: str, source: Repository) -> None:
    """Raise `ConfigurationError` where there is no database, or where opening it would migrate it."""
    inspection = await source.inspect()
    if inspection.found == 0:
        problem = f"there is no database of the plugin {origin}: {inspection.text}"
        raise ConfigurationError("db copy", problem, f"Correct the address in [plugins.{origin}]")
    if inspection.found != inspection.newest:
        problem = f"the database of the plugin {origin} has schema version {inspection.found}, not {inspection.newest}"
        raise ConfigurationError("db copy", problem, f"Enable {origin}, and run evanesce db to migrate it")


def _table_copy(name: str, repository: Repository) -> TableCopy:
    if not isinstance(repository, TableCopy):
        raise PluginError(
            name, "its database cannot be copied: its repository does not implement evanesce.interfaces.TableCopy"
        )
    return repository


async def _for_missing(here: TableCopy, there: TableCopy, table: str, act: Callable[[Rows], Awaitable[None]]) -> int:
    """Call `act`, page by page, with the rows of a table that are here and not there. Return their number.

    Raises `UnknownRows` for a row that is there and not here.
    """
    count = 0
    after: tuple[Value, ...] = ()
    while True:
        page = await here.read(table, after, PAGE)
        other = await there.read(table, after, PAGE + 1)  # if there are more rows than here, one of them is not here
        is_last = len(page.rows) < PAGE
        known = {row for row in other.rows if is_last or _key(row, page) <= _key(page.rows[-1], page)}
        if not known <= set(page.rows):
            raise UnknownRows(table)
        missing = [row for row in page.rows if row not in known]
        if missing:
            await act(Rows(table, page.key, missing))
            count += len(missing)
        if is_last:
            return count
        after = page.rows[-1]


def _key(row: tuple[Value, ...], rows: Rows) -> Any:
    """Return the key of a row: text in one or more columns, which the databases sort as Python does."""
    return row[: rows.key]


async def _skip(rows: Rows) -> None:
    await trio.lowlevel.checkpoint()


# evanesce db adopt


def adopt(source: Source) -> int:
    """Bind the database to the configured Redis, and print what it was bound to. Return the exit code.

    An embedded Valkey is a new one at each start: for it the binding is removed, and the next server makes a new one.
    The database is neither created nor migrated. Raises `ConfigurationError`, `PluginError` and
    `PersistenceUnavailable`.
    """
    plugins = Plugins.load(source.enabled)
    config = source.config(plugins.settings())
    check_url(config.redis)
    trio.run(_adopt, config, plugins.repository(config, Path.cwd()))
    return 0


async def _adopt(config: Config, repository: Repository) -> None:
    inspection = await repository.inspect()
    if inspection.found != inspection.newest:
        state = f"schema version {inspection.found}, not {inspection.newest}" if inspection.found else "no tables"
        raise ConfigurationError(
            "db adopt", f"the database has {state}", "Run evanesce db first, which creates and migrates it"
        )
    async with repository:
        bound = await repository.bound_redis()
        if config.redis.url == "embedded":
            if bound is not None:
                await repository.release_redis(bound.identity)
            _print("the database will be bound to the embedded Valkey of the next server that starts")
        else:
            _print(await _bind(config, repository, bound))
        if bound is not None and bound.silent < SILENT_SECONDS:
            _print(
                f"warn a server used the database within the last {SILENT_SECONDS:g} s:"
                " stop all servers that use another Redis"
            )


async def _bind(config: Config, repository: Repository, bound: RedisBinding | None) -> str:
    """Bind the database to an outside Redis, and return a sentence about the result."""
    before = None if bound is None else bound.identity
    name = f"adopt-{os.getpid()}"
    try:
        async with open_redis_store(config.redis, ttl=config.messages.ttl, server_id=name, passing=True) as store:
            identity = await store.servers.identity() or token_hex(16)
            if not await repository.bind_redis(identity, before):
                raise ConfigurationError(
                    "db adopt", "the database was bound to a Redis by another process just now", "Try again"
                )
            await store.servers.identity(identity)
    except StoreUnavailable as error:
        raise ConfigurationError("redis.url", f"this Redis cannot be used ({error})", "Run evanesce check") from None
    if bound is None:
        return "the database is bound to this Redis now"
    if before == identity:
        return "the database was bound to this Redis already"
    used = (
        "which no server uses any more" if bound.silent == math.inf else f"last used {max(0, bound.silent):.0f} s ago"
    )
    return f"the database is bound to this Redis now; it was bound to another one, {used}"


def _print(text: str) -> None:
    print(logs.escaped(text), flush=True)
