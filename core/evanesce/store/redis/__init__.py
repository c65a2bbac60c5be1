"""The message store on Redis or Valkey.

`store.py` puts it together. Commands go through `link.py`, what is published comes through `subscriber.py`: a thread
each, as the driver blocks. Of a cluster, `cluster.py` and `shards.py` have one of each for every primary. On these
stand `log.py` (messages), `presence.py`, `usage.py` (what limits need) and `feed.py` (what rooms hear). What must
happen at one moment happens inside Redis, in the scripts of `lua/`.
"""

from __future__ import annotations

from evanesce.store.redis.store import open_redis_store

__all__ = ["open_redis_store"]
