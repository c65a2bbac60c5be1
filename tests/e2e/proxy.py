"""A TCP proxy in front of a Unix socket, whose connections can be interrupted and restored."""

from __future__ import annotations

from pathlib import Path

import trio

from tests.ports import free_port

BYTES = 65_536


class Proxy:
    """A proxy, which `serve` runs. `cut` closes all connections and refuses new ones until `restore`."""

    def __init__(self, socket: Path) -> None:
        self.port = free_port()
        self._socket = socket
        self._connections = trio.CancelScope()
        self._restored = trio.Event()
        self._listening = trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        while True:
            with self._connections:
                listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.serve_listeners, self._handle, listeners)
                    self._listening.set()
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
            await self._restored.wait()

    def cut(self) -> None:
        self._restored = trio.Event()
        self._listening = trio.Event()
        self._connections.cancel()

    async def restore(self) -> None:
        self._connections = trio.CancelScope()
        self._restored.set()
        await self._listening.wait()

    async def _handle(self, client: trio.SocketStream) -> None:
        async with client, await trio.open_unix_socket(self._socket) as server, trio.open_nursery() as nursery:
            nursery.start_soon(self._copy, client, server, nursery)
            nursery.start_soon(self._copy, server, client, nursery)

    async def _copy(self, source: trio.SocketStream, target: trio.SocketStream, nursery: trio.Nursery) -> None:
        try:
            async for data in source:
                await target.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # either end may close at any time
        nursery.cancel_scope.cancel()
