"""Which Redis the servers of the database use: one row, timed by the database's own clock."""

from __future__ import annotations

import math

from evanesce.interfaces import RedisBinding
from evanesce_plugins.sql.driver import Reader, SqlTables, Statement
from evanesce_plugins.sql.schema import BINDING

_NOW = "CAST(strftime('%s', 'now') AS INTEGER)"

_FIND = Statement(f'SELECT identity, heartbeats, {_NOW} - seenAt FROM "{BINDING}"')

_BIND_FIRST = f"""
    INSERT INTO "{BINDING}" (id, identity, heartbeats, seenAt) SELECT 1, ?, 0, {_NOW} WHERE ? IS NULL
    ON CONFLICT (id) DO NOTHING
"""

_BEAT = f"""
    UPDATE "{BINDING}" SET identity = ?, heartbeats = heartbeats + 1, seenAt = {_NOW} WHERE identity IN (?, ?)
"""

_RELEASE = f'UPDATE "{BINDING}" SET seenAt = NULL WHERE identity = ?'


class BindingTable(SqlTables):
    """The methods of `evanesce.interfaces.Repository` that are about the Redis of the database."""

    async def bound_redis(self) -> RedisBinding | None:
        """See `Repository.bound_redis`."""
        return await read_binding(self._driver)

    async def bind_redis(self, identity: str, replacing: str | None) -> bool:
        """See `Repository.bind_redis`."""
        *_, rows = await self._driver.execute(
            [
                Statement(_BIND_FIRST, (identity, replacing)),
                Statement(_BEAT, (identity, identity, replacing)),
                _FIND,
            ]
        )
        return bool(rows) and rows[0][0] == identity

    async def release_redis(self, identity: str) -> None:
        """See `Repository.release_redis`."""
        await self._rows(_RELEASE, identity)


async def read_binding(reader: Reader) -> RedisBinding | None:
    """Return the binding of a database; None where it is bound to no Redis yet."""
    [rows] = await reader.execute([_FIND])
    if not rows:
        return None
    identity, heartbeats, silent = rows[0]
    return RedisBinding(str(identity), int(heartbeats or 0), math.inf if silent is None else float(silent))
