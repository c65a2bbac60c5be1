"""The transport on trio-websocket holds the contract of transports."""

from __future__ import annotations

from tests.transports.contract import WebSocketContract
from tests.transports.serving import TRIO_WEBSOCKET


class TestTrioWebSocket(WebSocketContract):
    transport = TRIO_WEBSOCKET
