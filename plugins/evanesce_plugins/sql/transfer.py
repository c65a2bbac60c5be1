"""All rows of all tables, in the order of their keys: what `evanesce db copy` reads here and writes there."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache

import msgspec

from evanesce.interfaces import Rows, Value
from evanesce_plugins.sql.driver import Driver, Statement
from evanesce_plugins.sql.schema import MIGRATIONS, VERSIONS


@dataclass(frozen=True, slots=True)
class Table:
    """A table as the newest version has it: all columns, and how many of the first ones are its key."""

    name: str
    columns: tuple[str, ...]
    key: int


@cache
def tables() -> dict[str, Table]:
    """Give the tables by name, each behind those that it refers to: in the order in which the migrations make them.

    Asked of a database in memory, as not every server lets one ask for its schema.
    """
    found: dict[str, Table] = {}
    with closing(sqlite3.connect(":memory:")) as database:
        for migration in MIGRATIONS:
            for sql in migration:
                database.execute(sql)
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid").fetchall()
        for (name,) in names:
            columns = database.execute("SELECT name, pk FROM pragma_table_info(?) ORDER BY pk = 0, pk, cid", (name,))
            described = columns.fetchall()
            found[name] = Table(name, tuple(column for column, _ in described), sum(pk > 0 for _, pk in described))
    return {name: table for name, table in found.items() if name != VERSIONS}


async def read(driver: Driver, name: str, after: Sequence[Value], count: int) -> Rows:
    """See `Movable.read`."""
    table = tables()[name]
    key = ", ".join(table.columns[: table.key])
    behind = f"WHERE ({key}) > ({', '.join('?' * table.key)})" if after else ""
    sql = f'SELECT {", ".join(table.columns)} FROM "{name}" {behind} ORDER BY {key} LIMIT ?'
    [rows] = await driver.execute([Statement(sql, (*after[: table.key], count))], patient=True)
    return Rows(name, table.key, [tuple(row) for row in rows])


async def write(driver: Driver, rows: Rows) -> None:
    """See `Movable.write`."""
    table = tables()[rows.table]
    values = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(table.columns)))
    sql = (
        f'INSERT INTO "{table.name}" ({", ".join(table.columns)}) SELECT {values} FROM json_each(?) '
        f"WHERE true ON CONFLICT ({', '.join(table.columns[: table.key])}) DO NOTHING"
    )
    given = msgspec.json.encode(list(rows.rows)).decode()
    await driver.execute([Statement(sql, (given,))], patient=True)
