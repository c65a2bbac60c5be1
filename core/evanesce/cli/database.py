"""`evanesce db`: shows the database and migrates it; `evanesce db copy`: everything into another plugin's database."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from evanesce import logs
from evanesce.config.load import Source
from evanesce.errors import ConfigurationError, PluginError
from evanesce.interfaces import Movable, Repository, Rows, Value
from evanesce.plugins import Plugins

PAGE = 500
"""How many rows are read and written at once."""


class Different(Exception):
    """A table holds rows in the one database that the other does not have."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `copy`."""
    parser.add_argument("origin", metavar="FROM", help="the plugin whose database is read")
    parser.add_argument("target", metavar="TO", help="the plugin whose database is written")


def show(source: Source) -> int:
    """Open the configured database, which brings it to the newest version, and say what it is."""
    plugins = Plugins.load(source.enabled)
    trio.run(_show, plugins.repository(source.config(plugins.settings()), Path.cwd()))
    return 0


async def _show(repository: Repository) -> None:
    async with repository:
        _say(f"database: {await repository.check()}")
        if isinstance(repository, Movable):
            found, present = repository.versions
            _say("schema: up to date" if found == present else f"schema: brought from version {found} to {present}")


def copy(source: Source, origin: str, target: str) -> int:
    """Copy all rows of the database of plugin `origin` into that of `target`, and compare them: 1 where they differ."""
    if origin == target:
        raise ConfigurationError("db copy", "a database cannot be copied into itself", "Name two plugins")
    names = [origin, target]
    plugins = Plugins.load(names)
    config = source.with_plugins(names).config(plugins.settings())
    return trio.run(_copy, {name: plugins.repository(config, Path.cwd(), name) for name in names})


async def _copy(repositories: dict[str, Repository]) -> int:
    (origin, source), (target, sink) = repositories.items()
    async with source, sink:
        here, there = _movable(origin, source), _movable(target, sink)
        if list(here.tables) != list(there.tables):
            raise PluginError(target, f"its tables are not those of {origin}")
        try:
            # First without writing: what is there already has to be of an earlier copy.
            for act in (_nothing, there.write):
                for table in here.tables:
                    count = await _compare(here, there, table, act)
                    if act is not _nothing:
                        _say(f"{table}: {count} rows copied")
            for table in here.tables:
                if await _compare(here, there, table, _nothing):
                    raise Different(table)
        except Different as error:
            _say(f"FAIL {error}: {target} has rows that {origin} has not. Copy into an empty one, while no server runs")
            return 1
    _say(f"{target} has every row that {origin} has, and no other")
    return 0


def _movable(name: str, repository: Repository) -> Movable:
    if not isinstance(repository, Movable):
        raise PluginError(name, "its database cannot be copied: its repository is no evanesce.interfaces.Movable")
    return repository


async def _compare(here: Movable, there: Movable, table: str, act: Callable[[Rows], Awaitable[None]]) -> int:
    """Give `act`, page by page, the rows of a table that are here and not there; says how many they are.

    Raises `Different` for a row that is there and not here.
    """
    count = 0
    after: tuple[Value, ...] = ()
    while True:
        page = await here.read(table, after, PAGE)
        other = await there.read(table, after, PAGE + 1)  # more than are here: then one of them is not
        whole = len(page.rows) < PAGE
        known = {row for row in other.rows if whole or _key(row, page) <= _key(page.rows[-1], page)}
        if not known <= set(page.rows):
            raise Different(table)
        missing = [row for row in page.rows if row not in known]
        if missing:
            await act(Rows(table, page.key, missing))
            count += len(missing)
        if whole:
            return count
        after = page.rows[-1]


def _key(row: tuple[Value, ...], rows: Rows) -> Any:
    """Give a row's key: text of one column or more, which the databases sort as Python does."""
    return row[: rows.key]


async def _nothing(rows: Rows) -> None:
    await trio.lowlevel.checkpoint()


def _say(text: str) -> None:
    print(logs.escaped(text), flush=True)
