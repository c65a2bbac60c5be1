"""A way to a Valkey that a test can hold up, cut off, or never let through."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

HALF = 3
"""How many bytes of an answer go through a gate that lets half an answer through."""


class Gate:
    """Forwards connections to a Unix socket. `holding` keeps answers back; `cut` ends every connection."""

    def __init__(self, path: Path, target: str) -> None:
        self.url = f"unix://{path}"
        self.held = trio.Event()
        """Set when an answer was kept back."""
        self._path = path
        self._target = target
        self._open = trio.Event()
        self._open.set()
        self._half = False
        self._scopes: set[trio.CancelScope] = set()

    def hold(self, *, half: bool = False) -> None:
        """Keep answers back from now on, or, with `half`, all but the first bytes of the next one."""
        self._open, self._half = trio.Event(), half
        self.held = trio.Event()

    def release(self) -> None:
        """Forward the answers that were kept back, and all that follow."""
        self._open.set()

    def cut(self) -> None:
        """End every connection."""
        for scope in self._scopes:
            scope.cancel()

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.socket.socket(trio.socket.AF_UNIX) as socket:
            await socket.bind(str(self._path))
            socket.listen()
            task_status.started()
            async with trio.open_nursery() as nursery:
                while True:
                    client, _ = await socket.accept()
                    nursery.start_soon(self._forward, trio.SocketStream(client))

    async def _forward(self, client: trio.SocketStream) -> None:
        scope = trio.CancelScope()
        self._scopes.add(scope)
        try:
            with scope:
                async with client, await trio.open_unix_socket(self._target) as valkey, trio.open_nursery() as nursery:
                    nursery.start_soon(self._requests, client, valkey)
                    await self._answers(valkey, client)
                    nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, OSError):
            pass  # one of the two is gone
        finally:
            self._scopes.discard(scope)

    async def _requests(self, client: trio.SocketStream, valkey: trio.SocketStream) -> None:
        async for data in client:
            await valkey.send_all(data)
        await valkey.send_eof()

    async def _answers(self, valkey: trio.SocketStream, client: trio.SocketStream) -> None:
        async for data in valkey:
            if not self._open.is_set():
                if self._half:
                    self._half = False
                    await client.send_all(data[:HALF])
                    data = data[HALF:]
                self.held.set()
                await self._open.wait()
            await client.send_all(data)


@asynccontextmanager
async def gated(folder: Path, url: str) -> AsyncGenerator[Gate, None]:
    gate = Gate(folder / "gate", url.removeprefix("unix://"))
    async with trio.open_nursery() as nursery:
        await nursery.start(gate.serve)
        yield gate
        nursery.cancel_scope.cancel()
