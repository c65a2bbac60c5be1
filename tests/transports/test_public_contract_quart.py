"""The transport on Quart holds the contract of transports."""

from __future__ import annotations

from tests.transports.contract import WebSocketContract
from tests.transports.serving import QUART


class TestQuart(WebSocketContract):
    transport = QUART
