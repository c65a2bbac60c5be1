"""An interface for operators on a server in memory, and requests to it as raw bytes over real sockets."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from evanesce.admin.access import Access
from evanesce.admin.listener import AdminListener, open_admin_sockets
from evanesce.testing.server import TestServer
from tests.patience import PATIENCE

TOKEN = "a-token-of-operators-0123456789abcdef"


class Interface:
    """The interface of one server: `address` is that of its socket."""

    def __init__(self, address: Any, family: int) -> None:
        self.address = address
        self._family = family

    async def raw(self, data: bytes) -> bytes:
        """Send bytes, and return all that comes back until the end of the connection."""
        with trio.fail_after(PATIENCE), trio.socket.socket(self._family, socket.SOCK_STREAM) as client:
            await client.connect(self.address)
            stream = trio.SocketStream(client)
            answer = b""
            try:
                await stream.send_all(data)
                async for part in stream:
                    answer += part
            except trio.BrokenResourceError:  # it was refused before it had been read
                pass
        return answer

    async def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Send a request with the token, and return the status and the answer."""
        sent = {"Host": "127.0.0.1", "Authorization": f"Bearer {TOKEN}", **(headers or {})}
        payload = b""
        if body is not None:
            payload = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent = {"Content-Length": str(len(payload)), "Content-Type": "application/json", **sent}
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items() if value)
        answer = await self.raw(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + payload)
        head, _, content = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(content)


@asynccontextmanager
async def interface(
    server: TestServer, bind: str = "127.0.0.1:0", tokens: Sequence[str] = (TOKEN,)
) -> AsyncGenerator[Interface]:
    """Serve operators of a server in memory."""
    access = Access(server.admin, tokens, server.gateway.admits_host, trio.current_time)
    async with open_admin_sockets(bind) as sockets, trio.open_nursery() as nursery:
        nursery.start_soon(AdminListener(access).run, sockets)
        is_file = bind.startswith("unix:")
        yield Interface(bind.removeprefix("unix:") if is_file else sockets[0].getsockname(), sockets[0].family)
        nursery.cancel_scope.cancel()
