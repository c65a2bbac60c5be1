"""Wake whoever waits for a change."""

from __future__ import annotations

import trio


class Signal:
    """Tasks wait for the next `set`. Each checks what it waits for, and waits again if that is not so."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        """Wake all tasks that wait now."""
        self._event.set()
        self._event = trio.Event()

    async def wait(self) -> None:
        """Wait for the next `set`."""
        await self._event.wait()
