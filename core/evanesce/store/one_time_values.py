"""Small values that are kept for a short time and can be read once."""

from __future__ import annotations

from typing import Protocol


class OneTimeValues(Protocol):
    """Values that any server can store, and any server can take."""

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        """Keep a small value for some time."""
        ...

    async def take(self, key: str) -> bytes | None:
        """Remove a value and return it; None if there is none. Of several callers, on any servers, only one gets it."""
        ...
