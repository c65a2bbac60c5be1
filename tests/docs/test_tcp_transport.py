"""The transport over TCP of the guide carries a chat, on the public API alone."""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio
import trustme

from evanesce.config.model import LimitsTable
from evanesce.plugins import Plugins
from evanesce.testing.server import TestServer, memory_server
from tests.core.plugins.fixtures import configured, full, loaded
from tests.patience import within
from tests.transports.line_client import LineClient

PAGE = (Path(__file__).parents[2] / "docs/how-to/write-a-plugin.md").read_text("utf-8")
FRAME_BYTES = 65_536


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the plugin of the guide."""
    [code] = re.findall(r"^<!-- lines -->\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    made = ModuleType("lines_of_the_guide")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    exec(compile(code, "write-a-plugin.md", "exec"), made.__dict__)
    return made


class Serving:
    """A server with this transport. `streams` are closed at its end."""

    def __init__(self, server: TestServer, url: str) -> None:
        self.server = server
        self.scheme, _, address = url.partition("://")
        self.port = int(address.rpartition(":")[2])
        self.streams: list[trio.abc.AsyncResource] = []

    async def connect(self) -> trio.SocketStream:
        """Open a connection."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        self.streams.append(stream)
        return stream

    async def sign_in(self, name: str, stream: trio.abc.Stream | None = None) -> LineClient:
        """Return a client that has signed in."""
        client = LineClient(stream or await self.connect())
        assert (await client.ask("hello", credential={"provider": "name", "name": name}))["type"] == "welcome"
        return client


@asynccontextmanager
async def serving(lines: ModuleType, folder: Path, **settings: Any) -> AsyncIterator[Serving]:
    """Serve by the transport on a port of the system's."""
    plugins: Plugins = loaded(main=full(), lines=lines)
    model = plugins.settings()["lines"]
    assert model is not None
    config = configured(plugins, lines=model(bind="127.0.0.1:0", **settings))
    transport = plugins.build(config, folder).transports["lines"]
    limits = LimitsTable(connections_per_address=3, exempt_addresses=())
    async with memory_server(limits=limits) as server, trio.open_nursery() as nursery:
        [url] = await nursery.start(transport.serve, server.gateway)
        made = Serving(server, url)
        try:
            with within(10):
                yield made
        finally:
            for stream in made.streams:
                await trio.aclose_forcefully(stream)
            nursery.cancel_scope.cancel()


async def test_two_clients_chat_over_lines(lines: ModuleType, tmp_path: Path) -> None:
    async with serving(lines, tmp_path) as made:
        assert made.scheme == "lines"
        ada, bob = await made.sign_in("Ada"), await made.sign_in("Bob")
        room = (await ada.ask("create_room"))["roomId"]
        for client in (ada, bob):
            assert (await client.ask("join", roomId=room))["type"] == "joined"
        assert (await ada.ask("send", roomId=room, content="one\ntwo"))["type"] == "sent"
        assert (await bob.until("message"))["content"] == "one\ntwo"
        await bob.stream.send_all(b'\xff\n{"type": "ping"}\n{"type": "ping", "ref": 2}\n')  # that come together
        assert (await bob.until("error"))["code"] == "bad_frame"
        assert [(await bob.until("pong")).get("ref") for _ in range(2)] == [None, 2]


async def test_a_client_that_leaves_or_sends_too_long_a_line_is_gone(lines: ModuleType, tmp_path: Path) -> None:
    async with serving(lines, tmp_path) as made:
        ada = await made.sign_in("Ada")
        room = (await ada.ask("create_room"))["roomId"]
        await ada.ask("join", roomId=room)
        await ada.stream.aclose()
        await made.server.hub.drain()
        bob = await made.sign_in("Bob")
        await bob.stream.send_all(b"x" * (FRAME_BYTES + 20_000))
        while await bob.hear() is not None:
            pass


async def test_clients_over_tls(lines: ModuleType, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with serving(lines, tmp_path, certfile="server.pem") as made:
        assert made.scheme == "liness"
        stream = trio.SSLStream(await made.connect(), context, server_hostname="localhost")
        ada = await made.sign_in("Ada", stream)
        assert (await ada.ask("profile"))["displayName"] == "Ada"


async def test_an_address_has_as_many_connections_as_it_may_and_no_more(lines: ModuleType, tmp_path: Path) -> None:
    async with serving(lines, tmp_path) as made:
        clients = [await made.sign_in("Ada") for _ in range(3)]
        with pytest.raises((OSError, trio.BrokenResourceError)):  # the reset may come before `connect` has returned
            await (await made.connect()).receive_some()
        for client in clients:
            assert (await client.ask("ping"))["type"] == "pong"
