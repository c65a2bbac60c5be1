"""Both transports that come with Evanesce hold the contract of transports."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from evanesce.interfaces import Transport
from evanesce.testing.contracts import TransportClient, TransportContract
from tests.transports.serving import QUART, TRIO_WEBSOCKET, build
from tests.transports.websocket_client import connected

pytestmark = pytest.mark.slow


class WebSocketContract(TransportContract):
    transport: str

    async def make_transport(self, folder: Path, outbox_bytes: int) -> Transport:
        return build(self.transport, folder, outbox_bytes=outbox_bytes)

    def connect(self, url: str) -> AbstractAsyncContextManager[TransportClient]:
        return connected(url)


class TestQuart(WebSocketContract):
    transport = QUART


class TestTrioWebSocket(WebSocketContract):
    transport = TRIO_WEBSOCKET
