"""The message store on Redis or Valkey.

`store.py` assembles it. Each part of the `Store` is in a module with the name of its interface. Commands are sent by a
`NodeClient`, and published messages are received by a `Subscriber`: each has a connection, and a task that owns it.
For a cluster, `ClusterClient` and `ClusterSubscriber` have one of each for every primary. Changes that must be atomic
are Lua scripts, in `lua/`.
"""

from __future__ import annotations

from evanesce.store.redis.store import open_redis_store

__all__ = ["open_redis_store"]
