"""The contract of transports, for those that speak WebSocket."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from evanesce.interfaces import Transport
from evanesce.testing.contracts import TransportClient, TransportContract
from tests.transports.serving import build
from tests.transports.websocket_client import connected


class WebSocketContract(TransportContract):
    transport: str

    async def make_transport(self, folder: Path, outbox_bytes: int) -> Transport:
        return build(self.transport, folder, outbox_bytes=outbox_bytes)

    def connect(self, url: str) -> AbstractAsyncContextManager[TransportClient]:
        return connected(url)
