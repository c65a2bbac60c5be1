"""A service that receives webhooks on a real socket, and answers as a test wants."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import h11
import msgspec
import trio

from tests.patience import PATIENCE


class Request:
    """A request that the service has received: its headers, its body, and what the body says."""

    def __init__(self, target: str, headers: dict[str, str], payload: bytes) -> None:
        self.target = target
        self.headers = headers
        self.payload = payload
        self.event: dict[str, Any] = msgspec.json.decode(payload)

    @property
    def summary(self) -> tuple[str, ...]:
        """The type of the event, and its data without the room."""
        return self.event["type"], *(value for name, value in self.event["data"].items() if name != "roomId")


Answer = Callable[[Request], Awaitable[int | h11.Response]]


async def accept(request: Request) -> int:
    await trio.lowlevel.checkpoint()
    return 204


class Receiver:
    """`attempts` are all requests, `taken` those that were answered with 2xx. `answer` may be replaced."""

    def __init__(self, port: int, answer: Answer) -> None:
        self.url = f"http://127.0.0.1:{port}/hooks/S3CR3T-PATH"
        self.port = port
        self.answer = answer
        self.attempts: list[Request] = []
        self.taken: list[Request] = []
        self._news = trio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds, which is looked at after each request."""
        with trio.fail_after(PATIENCE):
            while not condition():
                news = self._news
                await news.wait()

    async def take(self, count: int) -> list[Request]:
        """Wait until so many requests were taken, and return all of them."""
        await self.until(lambda: len(self.taken) >= count)
        return self.taken

    def _told(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer the requests of one connection."""
        connection = h11.Connection(h11.SERVER)
        async with stream:
            try:
                while (request := await _read(connection, stream)) is not None:
                    self.attempts.append(request)
                    self._told()
                    answer = await self.answer(request)
                    response = h11.Response(status_code=answer, headers=[]) if isinstance(answer, int) else answer
                    if 200 <= response.status_code < 300:
                        self.taken.append(request)
                    sent = [connection.send(response), connection.send(h11.EndOfMessage())]
                    await stream.send_all(b"".join(part for part in sent if part is not None))
                    self._told()
                    connection.start_next_cycle()
            except (trio.BrokenResourceError, h11.ProtocolError):
                return


async def _read(connection: h11.Connection, stream: trio.SocketStream) -> Request | None:
    head: h11.Request | None = None
    payload = b""
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            case h11.Request() as head:
                pass
            case h11.Data() as data:
                payload += data.data
            case h11.EndOfMessage():
                assert head is not None
                headers = {name.decode(): value.decode() for name, value in head.headers}
                return Request(head.target.decode(), headers, payload)
            case _:
                return None


@asynccontextmanager
async def receiver(answer: Answer = accept, *, port: int = 0) -> AsyncGenerator[Receiver]:
    """Run a service on this machine."""
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(port, host="127.0.0.1")
        service = Receiver(listener.socket.getsockname()[1], answer)
        nursery.start_soon(partial(trio.serve_listeners, service.serve, [listener]))
        yield service
        nursery.cancel_scope.cancel()
