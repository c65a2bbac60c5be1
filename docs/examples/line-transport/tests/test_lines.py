"""People talk over the transport, on real sockets."""

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import trio
from evanesce.testing import ChatClient, ClientTalker, converse, plugin_server

PLUGINS = {"lines": "evanesce_lines"}
CONFIG = {"plugins": {"lines": {"bind": "127.0.0.1:0"}}}

SCRIPT = """
    ada opens a room
    bob joins
    ada: Hello, Bob
    bob: Grüße 👩‍👩‍👧
    cleo joins
    bob leaves
    cleo: Hello, both
"""


class LineClient(ChatClient):
    """A client that speaks the protocol of the transport."""

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__()
        self._stream = stream
        self._received = b""
        self._waiting: list[dict[str, Any]] = []
        self.ended = False

    async def send_frame(self, frame: str) -> None:
        await self.send_bytes(frame.encode() + b"\n")

    async def send_bytes(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def receive_line(self) -> str | None:
        """Return the next line; None where the connection has ended."""
        while b"\n" not in self._received:
            data = await self._stream.receive_some(65_536)
            if not data:
                self.ended = True
                return None
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()

    async def receive_event(self) -> dict[str, Any]:
        while not self._waiting:
            line = await self.receive_line()
            assert line is not None, "the connection has ended"
            self._waiting += json.loads(line)  # always an array
        return self._waiting.pop(0)

    def describe(self) -> str:
        return "the connection has ended" if self.ended else "the connection is open"


async def connect(stack: AsyncExitStack, url: str) -> LineClient:
    host, _, port = url.partition("://")[2].rpartition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    return LineClient(await stack.enter_async_context(stream))


async def test_people_talk_over_it(tmp_path: Path) -> None:
    async with (
        plugin_server(PLUGINS, config=CONFIG, folder=tmp_path) as server,
        AsyncExitStack() as stack,
    ):

        async def meet(name: str) -> ClientTalker:
            client = await connect(stack, server.urls[0])
            await client.command("hello", token=(await server.guest(name)).token)
            return ClientTalker(client)

        with trio.fail_after(30):
            await converse(SCRIPT, meet)
        assert not server.log.plugin_faults


async def test_a_line_that_is_too_long_ends_its_connection_alone(tmp_path: Path) -> None:
    async with (
        plugin_server(PLUGINS, config=CONFIG, folder=tmp_path) as server,
        AsyncExitStack() as stack,
    ):
        with trio.fail_after(30):
            ada, bob = [await connect(stack, server.urls[0]) for _ in range(2)]
            await ada.send_frame("x" * 70_000)
            while await ada.receive_line() is not None:
                pass
            assert (await bob.ask("ping"))["type"] == "pong"


async def test_bytes_that_are_no_text_are_answered(tmp_path: Path) -> None:
    async with plugin_server(PLUGINS, config=CONFIG, folder=tmp_path) as server, AsyncExitStack() as stack:
        with trio.fail_after(30):
            ada = await connect(stack, server.urls[0])
            await ada.send_bytes(b'\xff\n{"type": "ping"}\n')
            assert [(await ada.receive_event()).get("code") for _ in range(2)] == ["bad_frame", None]
