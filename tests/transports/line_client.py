"""A client of transports that carry one JSON document a line."""

from __future__ import annotations

import json
from typing import Any

import trio


class LineClient:
    """A client with one JSON document a line."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._received = bytearray()
        self._heard: list[dict[str, Any]] = []

    async def hear(self) -> dict[str, Any] | None:
        """Return the next event or reply; None at the end of the stream. A line may hold several of them."""
        while not self._heard:
            while b"\n" not in self._received:
                data = await self.stream.receive_some()
                if not data:
                    return None
                self._received += data
            line, _, rest = self._received.partition(b"\n")
            self._received = rest
            self._heard += json.loads(line)
        return self._heard.pop(0)

    async def ask(self, type: str, **fields: Any) -> dict[str, Any]:
        """Send a command, and return its reply."""
        await self.stream.send_all(json.dumps({"type": type, "ref": type, **fields}).encode() + b"\n")
        while True:
            heard = await self.hear()
            assert heard is not None, f"the end in place of an answer to {type}"
            if heard.get("ref") == type:
                return heard

    async def until(self, type: str) -> dict[str, Any]:
        """Return the next event of a type."""
        while True:
            heard = await self.hear()
            assert heard is not None, f"the end in place of {type}"
            if heard["type"] == type:
                return heard
