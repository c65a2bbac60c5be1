"""What the tests of a transport begin with: the transport, listening in front of a gateway, and its clients."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import pytest
import trio

from evanesce.interfaces import Connection, Transport
from evanesce.testing.client import ChatClient
from evanesce.testing.contracts.base import PATIENCE, Contract
from evanesce.testing.frames import frame_of
from evanesce.testing.gateway import ScriptedGateway

FRAME_BYTES = 65_536
"""The largest frame of a client in these tests, in bytes: the default of `limits.frame_bytes`."""

OUTBOX_BYTES = 600_000
"""The limit of the outbox in these tests, in bytes."""

CLOSE_CODES = (1000, 1001, 1011, 1012, 4400, 4401, 4408, 4413)

LARGE = 50_000

MOST_ACCEPTED = 100_000_000
"""How many bytes a transport and two kernels may take before a client that reads nothing is noticed."""


class TransportClient(Protocol):
    """A client of the transport under test. It reads from the network only while `receive` waits, or little more."""

    async def send(self, frame: str) -> None:
        """Send a frame. May raise an `OSError` or `trio.BrokenResourceError` where the server has closed."""
        ...

    async def receive(self) -> str | None:
        """Wait for the next frame; None where the connection has ended."""
        ...

    @property
    def close_code(self) -> int | None:
        """The code with which the server closed the connection; None where none has arrived."""
        ...


class WireClient(ChatClient):
    """A `ChatClient` over a `TransportClient`."""

    def __init__(self, client: TransportClient) -> None:
        super().__init__()
        self._client = client
        self._waiting: list[dict[str, Any]] = []

    async def send_frame(self, frame: str) -> None:
        """See `ChatClient.send_frame`."""
        await self._client.send(frame)

    async def receive_event(self) -> dict[str, Any]:
        """See `ChatClient.receive_event`."""
        while not self._waiting:
            frame = await self._client.receive()
            if frame is None:
                raise AssertionError(f"the connection has ended; {self.describe()}")
            self._waiting += json.loads(frame)
        return self._waiting.pop(0)

    def describe(self) -> str:
        """See `ChatClient.describe`."""
        return f"its close code is {self._client.close_code}"


class Listening:
    """The transport under test, as it serves `gateway` at `url`."""

    def __init__(self, gateway: ScriptedGateway, url: str, contract: TransportParts) -> None:
        self.gateway = gateway
        self.url = url
        self._contract = contract

    def connect(self) -> AbstractAsyncContextManager[TransportClient]:
        """Connect a client."""
        return self._contract.connect(self.url)

    async def check_alive(self) -> None:
        """See that another client is served."""
        self.gateway.handle = self.gateway.echo
        with trio.fail_after(PATIENCE):
            async with self.connect() as client:
                await client.send('{"still":"here"}')
                assert await client.receive() == '{"still":"here"}', "another client has to be served as before"


class TransportParts(Contract):
    """The transport under test. Override `make_transport` and `connect`.

    `has_close_codes` is whether a client receives the code with which the server closes its connection.
    """

    documented = "reference/python-api/interfaces.md#transport"
    has_close_codes: bool = True

    async def make_transport(self, folder: Path, outbox_bytes: int) -> Transport:
        """Return the transport under test, which listens on a free port of this machine. Override this.

        `outbox_bytes` is what `Setup.outbox_bytes` would be; `Setup.frame_bytes` is `FRAME_BYTES`.
        """
        raise NotImplementedError("override make_transport")

    def connect(self, url: str) -> AbstractAsyncContextManager[TransportClient]:
        """Connect a client to one of the transport's URLs. Override this.

        Leaving the context closes the connection at once, whatever the server does.
        """
        raise NotImplementedError("override connect")

    @asynccontextmanager
    async def listening(self, folder: Path, gateway: ScriptedGateway) -> AsyncGenerator[Listening]:
        """Serve a gateway on the transport."""
        transport = await self.make_transport(folder, OUTBOX_BYTES)
        async with trio.open_nursery() as nursery:
            with trio.fail_after(PATIENCE):
                urls = await nursery.start(transport.serve, gateway)
            nursery.start_soon(gateway.watch)
            yield Listening(gateway, urls[0], self)
            nursery.cancel_scope.cancel()

    @pytest.fixture
    async def server(self, contract: Contract, tmp_path: Path) -> AsyncIterator[Listening]:
        """Return the transport, listening in front of a gateway that sends everything back."""
        async with cast(TransportParts, contract).listening(tmp_path, ScriptedGateway()) as server:
            yield server


def fill(connection: Connection) -> None:
    """Write until the outbox has no room for the smallest frame."""
    for payload in (b'["' + b"x" * LARGE + b'"]', b"[]"):
        while connection.write(frame_of(payload)):
            pass
