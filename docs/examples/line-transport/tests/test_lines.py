"""The transport keeps the contract of transports, on real sockets."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from evanesce.interfaces import Setup, Transport
from evanesce.testing import plugin_server
from evanesce.testing.contracts import TransportClient, TransportContract

from evanesce_lines import LineSettings, LineTransport

PLUGINS = {"lines": "evanesce_lines"}
CONFIG = {"plugins": {"lines": {"bind": "127.0.0.1:0"}}}


class LineClient:
    """A client that speaks the protocol of the transport."""

    close_code: int | None = None  # the protocol has none

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._received = b""

    async def send(self, frame: str) -> None:
        await self.send_bytes(frame.encode() + b"\n")

    async def send_bytes(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def receive(self) -> str | None:
        """Return the next line; None where the connection has ended."""
        while b"\n" not in self._received:
            try:
                data = await self._stream.receive_some(65_536)
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[LineClient]:
    host, _, port = url.partition("://")[2].rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        yield LineClient(stream)


class TestLines(TransportContract):
    has_close_codes = False

    async def make_transport(self, folder: Path, outbox_bytes: int) -> Transport:
        return LineTransport(
            Setup(
                name="lines",
                settings=LineSettings(bind="127.0.0.1:0"),
                folder=folder,
                public_url="http://127.0.0.1:8000",
                origins=(),
                frame_bytes=65_536,
                outbox_bytes=outbox_bytes,
            )
        )

    def connect(self, url: str) -> AbstractAsyncContextManager[TransportClient]:
        return connected(url)


async def test_a_line_that_is_too_long_ends_its_connection_alone(tmp_path: Path) -> None:
    async with plugin_server(PLUGINS, config=CONFIG, folder=tmp_path) as server:
        with trio.fail_after(30):
            async with connected(server.urls[0]) as ada, connected(server.urls[0]) as bob:
                await ada.send("x" * 70_000)
                assert await ada.receive() is None
                await bob.send('{"type": "ping"}')
                [pong] = json.loads(await bob.receive() or "")
                assert pong["type"] == "pong"


async def test_bytes_that_are_no_text_are_answered(tmp_path: Path) -> None:
    async with plugin_server(PLUGINS, config=CONFIG, folder=tmp_path) as server:
        with trio.fail_after(30):
            async with connected(server.urls[0]) as ada:
                await ada.send_bytes(b'\xff\n{"type": "ping"}\n')
                events: list[dict[str, Any]] = []
                while len(events) < 2:
                    events += json.loads(await ada.receive() or "")
                assert [event.get("code") for event in events] == ["bad_frame", None]
