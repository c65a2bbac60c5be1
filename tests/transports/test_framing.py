"""A frame is what wsproto makes of the same text."""

from __future__ import annotations

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from evanesce_transports.websocket import WEBSOCKET


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 262_144])
def test_every_way_to_write_a_length(size: int) -> None:
    payload = "ü".encode() * (size // 2) + b"x" * (size % 2)
    assert len(payload) == size
    assert WEBSOCKET.frame(payload) == Connection(ConnectionType.SERVER).send(TextMessage(data=payload.decode()))
