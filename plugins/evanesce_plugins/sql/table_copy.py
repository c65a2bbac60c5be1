"""Copying of whole tables: all rows, in the order of their keys, as `evanesce db copy` reads and writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import msgspec

from evanesce.interfaces import Rows, Value
from evanesce_plugins.sql.driver import SqlTables, Statement
from evanesce_plugins.sql.schema import BINDING, MIGRATIONS, VERSIONS, empty_database


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a schema version: all its columns, and how many of the first ones are its key."""

    name: str
    columns: tuple[str, ...]
    key: int


@cache
def tables(version: int = len(MIGRATIONS)) -> dict[str, Table]:
    """Return the tables of a schema version by name, in the order of the migrations: each after those it refers to.

    Tables about the database itself are left out: its schema version, and its Redis. The schema is read from a
    database in memory, because not every server lets a client read it.
    """
    found: dict[str, Table] = {}
    with empty_database(MIGRATIONS[:version]) as database:
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid").fetchall()
        for (name,) in names:
            columns = database.execute("SELECT name, pk FROM pragma_table_info(?) ORDER BY pk = 0, pk, cid", (name,))
            described = columns.fetchall()
            found[name] = Table(name, tuple(column for column, _ in described), sum(pk > 0 for _, pk in described))
    return {name: table for name, table in found.items() if name not in (VERSIONS, BINDING)}


def reading(table: Table, after: Sequence[Value], count: int) -> Statement:
    """Return the statement that reads up to `count` rows in the order of their keys: those after the row `after`."""
    key = ", ".join(table.columns[: table.key])
    condition = f"WHERE ({key}) > ({', '.join('?' * table.key)})" if after else ""
    sql = f'SELECT {", ".join(table.columns)} FROM "{table.name}" {condition} ORDER BY {key} LIMIT ?'
    return Statement(sql, (*after[: table.key], count))


def writing(table: Table, rows: Sequence[Sequence[Value]]) -> Statement:
    """Return the statement that inserts rows. A row whose key exists already is left unchanged."""
    values = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(table.columns)))
    sql = (
        f'INSERT INTO "{table.name}" ({", ".join(table.columns)}) SELECT {values} FROM json_each(?) '
        f"WHERE true ON CONFLICT ({', '.join(table.columns[: table.key])}) DO NOTHING"
    )
    return Statement(sql, (msgspec.json.encode([list(row) for row in rows]).decode(),))


class SqlTableCopy(SqlTables):
    """The methods of `evanesce.interfaces.TableCopy`, but for `versions`."""

    @property
    def tables(self) -> Sequence[str]:
        """See `TableCopy.tables`."""
        return list(tables())

    async def read(self, table: str, after: Sequence[Value], count: int) -> Rows:
        """See `TableCopy.read`."""
        found = tables()[table]
        [rows] = await self._driver.execute([reading(found, after, count)], patient=True)
        return Rows(table, found.key, [tuple(row) for row in rows])

    async def write(self, rows: Rows) -> None:
        """See `TableCopy.write`."""
        await self._driver.execute([writing(tables()[rows.table], rows.rows)], patient=True)
