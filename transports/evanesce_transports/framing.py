"""The framing of WebSocket messages from a server: not masked, not compressed, so the same bytes for every client."""

from __future__ import annotations

from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage


class WebSocketFraming:
    """Makes one whole text message (RFC 6455, section 5.2).

    Uncompressed is lawful even where permessage-deflate was negotiated (RFC 7692, section 6).
    """

    def __init__(self) -> None:
        self._server = Connection(ConnectionType.SERVER)

    def frame(self, payload: bytes) -> bytes:
        """Wrap `payload`, UTF-8 text."""
        return bytes(self._server.send(TextMessage(data=payload.decode())))


WEBSOCKET = WebSocketFraming()
"""The one framing of all WebSocket connections, so that a frame is framed once for all of them."""
