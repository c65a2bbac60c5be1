"""Parts of a server that a test holds back."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from evanesce.errors import StoreUnavailable
from evanesce.testing.server import TestServer


class SlowHistory:
    """The next histories of a server wait until `answer` is set, and then fail if `fails`."""

    def __init__(self, server: TestServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.answer, self.fails = trio.Event(), trio.Event(), False
        self._history = server.store.messages.history
        monkeypatch.setattr(server.store.messages, "history", self)

    async def __call__(self, *arguments: Any) -> Any:
        self.asked.set()
        await self.answer.wait()
        if self.fails:
            raise StoreUnavailable
        return await self._history(*arguments)


class Held:
    """A method of an object that waits until it is released."""

    def __init__(self, owner: Any, name: str) -> None:
        self._method = getattr(owner, name)
        self._released = trio.Event()
        object.__setattr__(owner, name, self)  # stores are frozen

    async def __call__(self, *given: Any, **named: Any) -> Any:
        await self._released.wait()
        return await self._method(*given, **named)

    def release(self) -> None:
        self._released.set()
