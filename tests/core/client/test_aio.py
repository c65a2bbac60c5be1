"""The client library's face for asyncio, while the client closes its connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from evanesce.client import Disconnected, aio
from evanesce.client import client as on_trio
from tests.on_asyncio import on_asyncio
from tests.patience import PATIENCE


async def calls_during_the_close(monkeypatch: pytest.MonkeyPatch) -> None:
    closing, called = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def slow_to_close(url: str, **options: Any) -> AsyncGenerator[on_trio.Client]:
        try:
            yield on_trio.Client(url, token="a token")
        finally:
            # Trio goes on as long as the asyncio side has not called; both run in this thread.
            closing.set()
            with trio.CancelScope(shield=True):
                while not called.is_set():
                    await trio.lowlevel.checkpoint()

    monkeypatch.setattr(on_trio, "open_client", slow_to_close)
    async with aio.open_client("http://here", token="a token") as client:

        async def call_late() -> None:
            await closing.wait()
            late = asyncio.create_task(client.request({"type": "profile"}))
            await asyncio.sleep(0)  # one turn of the loop: it has called
            called.set()
            with pytest.raises(Disconnected, match="closed"):
                await late

        calling = asyncio.create_task(call_late())
    await calling


def test_a_call_while_the_connection_is_closed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    on_asyncio(asyncio.wait_for(calls_during_the_close(monkeypatch), PATIENCE))
