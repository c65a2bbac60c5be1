"""What limits need to know over all servers: the tokens of a rate, and the connections of a user."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol


class RateLimits(Protocol):
    """Token buckets and counts of connections that all servers share."""

    async def take_tokens(self, bucket: str, wanted: int, rate: float, burst: int) -> tuple[int, float]:
        """Take up to `wanted` tokens out of a bucket. Return how many were taken, and how long to wait if none were.

        A bucket holds up to `burst` tokens and gains `rate` a second; a bucket that is used for the first time is full.
        The wait is in seconds until there is one token, or 0 if any were taken.
        """
        ...

    async def connect(self, user_id: str, here: int, most: int) -> bool:
        """Record how many connections a user has on this server. Return False if the user would have more than `most`.

        Nothing is recorded then. The limit is for all servers together; servers that are gone do not count. After the
        store has lost its data, only those connections count that were recorded since.
        """
        ...

    def disconnect(self, user_id: str, here: int) -> None:
        """Record that a user has fewer connections on this server, without waiting.

        The count is sent as soon as the store answers. The same is true after a `connect` whose outcome is not known:
        the last count that was given holds.
        """
        ...

    async def connected(self, user_ids: Sequence[str]) -> Collection[str]:
        """Return those users who have a connection to any server that is not known to be gone."""
        ...
