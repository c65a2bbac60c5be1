"""A portal that answers what a test tells it to, byte for byte, and keeps what it was asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import h11
import trio


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class ScriptedPortal:
    """Answers with `answer`, whole, and ends the connection; with None it never answers."""

    def __init__(self) -> None:
        self.answer: bytes | None = None
        self.asked: list[Asked] = []
        self.url = ""

    def say(self, body: bytes | dict[str, Any], status: int = 200, *headers: str) -> None:
        """Answer with a body from now on."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = "".join(f"{line}\r\n" for line in (f"Content-Length: {len(content)}", *headers))
        self.answer = f"HTTP/1.1 {status} Whatever\r\nConnection: close\r\n{head}\r\n".encode() + content

    async def serve(self, stream: trio.SocketStream) -> None:
        connection, body = h11.Connection(h11.SERVER), b""
        head: h11.Request | None = None
        async with stream:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                else:
                    break
            if head is None:
                return
            headers = {name.decode(): value.decode() for name, value in head.headers}
            self.asked.append(Asked(head.method.decode(), head.target.decode(), headers, body))
            if self.answer is None:
                await trio.sleep_forever()
            else:
                await stream.send_all(self.answer)


@asynccontextmanager
async def scripted_portal() -> AsyncIterator[ScriptedPortal]:
    portal = ScriptedPortal()
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        portal.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.start_soon(trio.serve_listeners, portal.serve, [listener])
        yield portal
        nursery.cancel_scope.cancel()
